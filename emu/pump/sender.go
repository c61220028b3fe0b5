package pump

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// sender is a packet socket that sends frames in batches, past queueing
// disciplines: a pump's interface has none.
type sender struct {
	fd      int
	n       int
	iov     [batch]unix.Iovec
	msgs    [batch]mmsghdr
	sent    uint64
	refused uint64
}

func newSender(ifindex int) (*sender, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	s := &sender{fd: fd}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("PACKET_QDISC_BYPASS: %w", err), s.close())
	}
	// Beyond the limit of sysctl where allowed; a batch fits in either.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20)
	if err := bind(fd, ifindex, 0); err != nil {
		return nil, errors.Join(err, s.close())
	}
	for i := range s.msgs {
		s.msgs[i].hdr.Iov = &s.iov[i]
		s.msgs[i].hdr.SetIovlen(1)
	}
	return s, nil
}

// add puts a frame into the batch; it must stay as it is until flush. There has
// to be room.
func (s *sender) add(frame []byte) {
	s.iov[s.n].Base = &frame[0]
	s.iov[s.n].SetLen(len(frame))
	s.n++
}

func (s *sender) full() bool { return s.n == batch }

// flush sends the batch. What the kernel refuses is counted, not tried again:
// its time is now.
func (s *sender) flush() {
	for at := 0; at < s.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs[at])), uintptr(s.n-at), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			at += int(n)
			s.sent += uint64(n)
		case unix.EINTR:
		default:
			at++
			s.refused++
		}
	}
	s.n = 0
}

func (s *sender) close() error { return unix.Close(s.fd) }
