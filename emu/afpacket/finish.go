package afpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TCP header fields, bytes from its start, and flags.
const (
	tcpSeq, tcpOffset, tcpFlags = 4, 12, 13
	tcpFIN, tcpPSH, tcpCWR      = 0x01, 0x08, 0x80
)

// describe fills the virtio header for a packet whose checksum and
// segmentation are left to the kernel, behind a link header of that size. It
// returns false for headers that do not parse.
func describe(head, packet []byte, off pkt.Offload, link int) bool {
	t, ok := own(packet)
	if !ok {
		return false
	}
	ne := binary.NativeEndian
	head[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	ne.PutUint16(head[6:], uint16(link+t.at))
	ne.PutUint16(head[8:], uint16(t.sum))
	if off.Segment == 0 {
		return true
	}
	size, ok := tcpHeader(packet, t)
	if !ok {
		return false
	}
	head[1] = unix.VIRTIO_NET_HDR_GSO_TCPV4
	if packet[0]>>4 == 6 {
		head[1] = unix.VIRTIO_NET_HDR_GSO_TCPV6
	}
	if packet[t.at+tcpFlags]&tcpCWR != 0 {
		head[1] |= gsoECN
	}
	ne.PutUint16(head[2:], uint16(link+t.at+size))
	ne.PutUint16(head[4:], off.Segment)
	if !off.Partial { // the kernel segments from a partial checksum
		binary.BigEndian.PutUint16(packet[t.at+tcpSum:], pseudo(packet, t, len(packet)-t.at))
	}
	return true
}

// tcpHeader is the size of the TCP header at t.
func tcpHeader(packet []byte, t transport) (size int, ok bool) {
	if t.proto != pkt.ProtoTCP || len(packet) < t.at+tcpMin {
		return 0, false
	}
	size = int(packet[t.at+tcpOffset]>>4) * 4
	return size, size >= tcpMin && t.at+size <= len(packet)
}

// pseudo is the sum of the pseudo header (RFC 9293 3.1, RFC 8200 8.1) for size
// bytes of transport.
func pseudo(packet []byte, t transport, size int) uint16 {
	addresses := packet[12:20]
	if packet[0]>>4 == 6 {
		addresses = packet[8:40]
	}
	return checksum.Combine(checksum.Checksum(addresses, uint16(t.proto)), uint16(size))
}

// fillChecksum completes a checksum field that holds the pseudo header's sum.
func fillChecksum(packet []byte) {
	t, ok := own(packet)
	if !ok {
		return
	}
	sum := ^checksum.Checksum(packet[t.at:], 0)
	if sum == 0 && t.proto == pkt.ProtoUDP { // RFC 768: 0 would mean none
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(packet[t.at+t.sum:], sum)
}

// segmenter cuts a TCP superpacket as a network card would: every segment gets
// the headers with its own length, id, sequence number and checksum; CWR stays
// on the first, FIN and PSH on the last.
type segmenter struct {
	packet  []byte
	t       transport
	headers int // IP and TCP, bytes
	size    int // payload per segment
	at      int // next payload byte, from the start of the payload
	n       uint16
	v6      bool
}

// reset starts on packet and reports whether it can be cut.
func (g *segmenter) reset(packet []byte, off pkt.Offload) bool {
	t, ok := own(packet)
	if !ok {
		return false
	}
	size, ok := tcpHeader(packet, t)
	*g = segmenter{packet: packet, t: t, headers: t.at + size, size: int(off.Segment), v6: packet[0]>>4 == 6}
	return ok && len(packet) > g.headers
}

func (g *segmenter) left() int { return len(g.packet) - g.headers - g.at }

// more reports whether a segment is left.
func (g *segmenter) more() bool { return g.left() > 0 }

// nextLen is the length of the next segment with its headers.
func (g *segmenter) nextLen() int { return g.headers + min(g.size, g.left()) }

// next appends the next segment's headers to head and returns its payload.
func (g *segmenter) next(head []byte) (_, payload []byte) {
	start := len(head)
	head = append(head, g.packet[:g.headers]...)
	ip := head[start:]
	from := g.headers + g.at
	payload = g.packet[from : from+min(g.size, g.left())]
	g.length(ip, g.headers+len(payload))
	tcp := ip[g.t.at:]
	be := binary.BigEndian
	be.PutUint32(tcp[tcpSeq:], be.Uint32(tcp[tcpSeq:])+uint32(g.at))
	if g.at > 0 {
		tcp[tcpFlags] &^= tcpCWR
	}
	g.at += len(payload)
	g.n++
	if g.more() {
		tcp[tcpFlags] &^= tcpFIN | tcpPSH
	}
	be.PutUint16(tcp[tcpSum:], 0)
	sum := checksum.Checksum(tcp, pseudo(ip, g.t, len(tcp)+len(payload)))
	be.PutUint16(tcp[tcpSum:], ^checksum.Combine(sum, checksum.Checksum(payload, 0)))
	return head, payload
}

// length writes the IP header's length, and for IPv4 its id and checksum.
func (g *segmenter) length(ip []byte, n int) {
	be := binary.BigEndian
	if g.v6 {
		be.PutUint16(ip[4:], uint16(n-ipv6Size))
		return
	}
	be.PutUint16(ip[2:], uint16(n))
	be.PutUint16(ip[4:], be.Uint16(ip[4:])+g.n)
	be.PutUint16(ip[10:], 0)
	be.PutUint16(ip[10:], ^checksum.Checksum(ip[:g.t.at], 0))
}
