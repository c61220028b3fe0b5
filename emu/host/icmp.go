package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// echo is what differs between ICMP (RFC 792) and ICMPv6 (RFC 4443).
type echo struct {
	proto          int
	request, reply uint8
	// lost are the errors after which a request is not answered.
	lost [2]uint8
	// headed says that a raw socket gets the IP header too.
	headed bool
}

// echoOf is the echo of a's family.
func echoOf(a netip.Addr) echo {
	if a.Is4() {
		return echo{proto: unix.IPPROTO_ICMP, request: 8, reply: 0, lost: [2]uint8{3, 11}, headed: true}
	}
	return echo{proto: unix.IPPROTO_ICMPV6, request: 128, reply: 129, lost: [2]uint8{1, 3}}
}

// filterEcho lets only echo replies with our id and ICMP errors into a raw
// socket: otherwise each of n pinging sockets of a host gets n answers. The
// packet starts with its IP header there, if the socket gets that.
func filterEcho(fd int, e echo, id uint16) error {
	start := unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_IMM, K: 0}
	if e.headed {
		start = unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}
	}
	f := []unix.SockFilter{
		start,
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 0}, // type
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(e.lost[0]), Jt: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(e.lost[1]), Jt: 3},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(e.reply), Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4}, // identifier
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(id), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]})
}

// minMTU6 is what every link of IPv6 passes (RFC 8200 section 5).
const minMTU6 = 1280

// cautious has a socket of datagrams cut what is long into pieces that every
// path passes. In IPv6 only the sender can, and the first datagram too big for
// the path would be lost to teach it the size; name servers do the same (RFC
// 9715). IPv4 is left to the routers.
func cautious(fd int, a netip.Addr) error {
	if a.Is4() {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU, minMTU6); err != nil {
		return fmt.Errorf("set IPV6_MTU to %d: %w", minMTU6, err)
	}
	return nil
}

// header fills the ICMP header of echo request b, checksum included; that of
// ICMPv6, which covers addresses too, is the kernel's.
func (e echo) header(b []byte, id, seq uint16) {
	clear(b[:8])
	b[0] = e.request
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	if e.proto != unix.IPPROTO_ICMP {
		return
	}
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
}

// message is the ICMP message in what a raw socket got.
func (e echo) message(b []byte) ([]byte, bool) {
	if !e.headed {
		return b, len(b) >= 8
	}
	if len(b) == 0 {
		return nil, false
	}
	ihl := int(b[0]&15) * 4
	if len(b) < ihl+8 || ihl < ipv4Header {
		return nil, false
	}
	return b[ihl:], true
}

// IP header sizes, bytes.
const (
	ipv4Header = 20
	ipv6Header = 40
)

// quoted takes the packet that an ICMP error quotes apart, as far as it is an
// echo request: its destination and id.
func (e echo) quoted(q []byte) (dst netip.Addr, id uint16, ok bool) {
	at, proto := ipv6Header, 6
	if e.headed && len(q) > 0 {
		at, proto = int(q[0]&15)*4, 9
	}
	if at < ipv4Header || len(q) < at+8 || int(q[proto]) != e.proto || q[at] != e.request {
		return dst, 0, false
	}
	if e.headed {
		dst = netip.AddrFrom4([4]byte(q[16:20]))
	} else {
		dst = netip.AddrFrom16([16]byte(q[24:40]))
	}
	return dst, binary.BigEndian.Uint16(q[at+4:]), true
}

// reply checks an echo reply in b, what a raw socket got, or an ICMP error about
// one of our requests, which is EHOSTUNREACH.
func (d *session) reply(b []byte) (verdict, error) {
	e := echoOf(d.f.Dst.Addr())
	b, ok := e.message(b)
	if !ok {
		return verdict{}, errNotOurs
	}
	if b[0] == e.lost[0] || b[0] == e.lost[1] {
		if dst, id, ok := e.quoted(b[8:]); ok && dst == d.f.Dst.Addr() && id == d.f.Src.Port() {
			return verdict{}, syscall.EHOSTUNREACH
		}
		return verdict{}, errNotOurs
	}
	m, ok := ParseMark(b[8:])
	switch {
	case b[0] != e.reply || binary.BigEndian.Uint16(b[4:]) != d.f.Src.Port() || !ok:
		return verdict{}, errNotOurs
	case m.Nonce != d.f.Nonce:
		return verdict{}, errForeign
	}
	data := b[8:]
	if len(data) != d.size || requestPattern(d.f.Nonce).Check(data[MinRequest:], offset(m.Seq)) >= 0 {
		return verdict{}, errDamaged
	}
	return verdict{seq: m.Seq, length: len(data), received: len(data), intact: true}, nil
}
