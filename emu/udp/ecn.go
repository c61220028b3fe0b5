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

// heard is what a received message with so many bytes of control messages says.
func (s *says) heard(control uint64) pkt.ECN {
	c := &s[0]
	if control < uint64(unix.CmsgLen(1)) || c.head.Type != unix.IP_TOS && c.head.Type != unix.IPV6_TCLASS {
		return pkt.NotECT
	}
	return pkt.ECN(c.value) & pkt.CE // of a TOS the first byte alone is written
}

// call sends or receives a datagram with its control messages. It is written out here
// so that nothing of it leaves the stack.
func call(trap uintptr, fd int, datagram []byte, s *says) (n int, control uint64, err error) {
	v := unix.Iovec{Base: unsafe.SliceData(datagram), Len: uint64(len(datagram))}
	m := unix.Msghdr{Iov: &v, Iovlen: 1, Control: (*byte)(unsafe.Pointer(s)), Controllen: uint64(unsafe.Sizeof(*s))}
	r, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return int(r), m.Controllen, nil
}

// write is write(2) with an ECN field.
func write(fd int, datagram []byte, e pkt.ECN) error {
	if e == pkt.NotECT {
		_, err := unix.Write(fd, datagram)
		return err
	}
	var s says
	s.set(e)
	_, _, err := call(unix.SYS_SENDMSG, fd, datagram, &s)
	return err
}

// read is read(2), and says what the datagram's header said.
func read(fd int, b []byte) (int, pkt.ECN, error) {
	var s says
	n, control, err := call(unix.SYS_RECVMSG, fd, b, &s)
	if err != nil {
		return 0, pkt.NotECT, err
	}
	return n, s.heard(control), nil
}
