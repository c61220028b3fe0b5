package udp

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// A tunnel's datagrams say of congestion what its packets say (RFC 6040), each by
// itself: in control messages, cmsg(3).

// class is a control message with a TOS or a traffic class.
type class struct {
	head  unix.Cmsghdr
	value int32
	_     int32
}

// says is the control messages of a datagram with an ECN field, for either family:
// the kernel passes over the other one's.
type says [2]class

func (s *says) set(e pkt.ECN) {
	s[0].head.Level, s[0].head.Type = unix.IPPROTO_IP, unix.IP_TOS
	s[1].head.Level, s[1].head.Type = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	for i := range s {
		s[i].head.SetLen(unix.CmsgLen(4))
		s[i].value = int32(e)
	}
}

// heard is what a received message says.
func (s *says) heard(m *unix.Msghdr) pkt.ECN {
	c := &s[0]
	if m.Controllen < uint64(unix.CmsgLen(1)) || c.head.Type != unix.IP_TOS && c.head.Type != unix.IPV6_TCLASS {
		return pkt.NotECT
	}
	return pkt.ECN(c.value) & pkt.CE // of a TOS the first byte alone is written
}

// message is a datagram with its control messages.
func message(m *unix.Msghdr, v *unix.Iovec, datagram []byte, s *says) {
	v.Base = unsafe.SliceData(datagram)
	v.SetLen(len(datagram))
	m.Iov, m.Control = v, (*byte)(unsafe.Pointer(s))
	m.SetIovlen(1)
	m.SetControllen(int(unsafe.Sizeof(*s)))
}

// write is write(2) with an ECN field.
func write(fd int, datagram []byte, e pkt.ECN) error {
	if e == pkt.NotECT {
		_, err := unix.Write(fd, datagram)
		return err
	}
	var m unix.Msghdr
	var v unix.Iovec
	var s says
	s.set(e)
	message(&m, &v, datagram, &s)
	if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0); errno != 0 {
		return errno
	}
	return nil
}

// read is read(2), and says what the datagram's header said.
func read(fd int, b []byte) (int, pkt.ECN, error) {
	var m unix.Msghdr
	var v unix.Iovec
	var s says
	message(&m, &v, b, &s)
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0)
	if errno != 0 {
		return 0, pkt.NotECT, errno
	}
	return int(n), s.heard(&m), nil
}
