// Package afpacket moves packets between userspace and a link in batches:
// packet sockets with virtio headers, so that superpackets and unfinished
// checksums pass through as they are, and the software that finishes them where
// no kernel will.
//
// It decides nothing about a packet but how to get it across the system call.
// Its law: a packet that was not sent is counted with the reason, never lost in
// silence; nothing is allocated per packet.
package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// Batch is how many packets one system call moves at most.
	Batch = 64
	// EthernetHeader is destination, source and EtherType, bytes.
	EthernetHeader = 14
	// frameMax is the largest frame received, virtio and Ethernet headers
	// included; longer ones are counted and dropped. IPv4 cannot be longer.
	frameMax = vnetSize + EthernetHeader + 1<<16
	// bufferSize is asked for the socket's queues: a burst of superpackets.
	bufferSize = 32 << 20
)

// EtherTypes.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeIPv6 = 0x86dd
	// EtherTypeVLAN is that of an IEEE 802.1Q tag; tagSize is what it adds, bytes.
	EtherTypeVLAN = 0x8100
	tagSize       = 4
)

// Packet is the IP packet in a received frame, its fixed header complete; ok is
// false for all else.
func Packet(frame []byte) (packet []byte, ok bool) {
	if len(frame) < EthernetHeader+ipv4Min {
		return nil, false
	}
	packet = frame[EthernetHeader:]
	switch binary.BigEndian.Uint16(frame[EthernetHeader-2:]) {
	case EtherTypeIPv4:
		return packet, true
	case EtherTypeIPv6:
		return packet, len(packet) >= ipv6Size
	}
	return nil, false
}

// Socket is a packet socket on one link. It is safe for one receiver and one
// Sender at a time.
type Socket struct {
	fd int
}

// Listen opens a socket on the link with that index in the calling thread's
// network namespace and receives everything that arrives there, but nothing
// that the link sends. It needs CAP_NET_RAW.
func Listen(ifindex int) (*Socket, error) { return open(ifindex, unix.ETH_P_ALL) }

// ListenBehind opens sockets that receive what programs at the link's ingress
// pass on, and not what they keep: IPv4 and IPv6 packets.
func ListenBehind(ifindex int) ([]*Socket, error) {
	var all []*Socket
	for _, protocol := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} {
		s, err := open(ifindex, protocol)
		if err != nil {
			for _, s := range all {
				err = errors.Join(err, s.Close())
			}
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Dial opens a socket that only sends.
func Dial(ifindex int) (*Socket, error) { return open(ifindex, 0) }

func open(ifindex int, protocol uint16) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	s := &Socket{fd: fd}
	if err := s.configure(ifindex, protocol); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Socket) configure(ifindex int, protocol uint16) error {
	for _, o := range []struct {
		name       string
		level, opt int
		value      int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
	} {
		if err := unix.SetsockoptInt(s.fd, o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	// Beyond the limits of sysctl where allowed, up to them where not.
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, force, bufferSize) == nil {
			continue
		}
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, plain, bufferSize); err != nil {
			return fmt.Errorf("socket buffer of %d bytes: %w", bufferSize, err)
		}
	}
	return s.bind(ifindex, protocol)
}

func (s *Socket) bind(ifindex int, protocol uint16) error {
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: ifindex}); err != nil {
		return fmt.Errorf("bind to interface %d: %w", ifindex, err)
	}
	return nil
}

// Fd is the descriptor, for Wait.
func (s *Socket) Fd() int { return s.fd }

// Overflows is how many packets the kernel dropped because the queue was full,
// since the last call.
func (s *Socket) Overflows() (uint64, error) {
	st, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, fmt.Errorf("packet statistics: %w", err)
	}
	return uint64(st.Drops), nil
}

// Close closes the socket. It is idempotent.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return nil
	}
	err := unix.Close(s.fd)
	s.fd = -1
	return err
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// Receiver is the memory for one batch of received frames.
type Receiver struct {
	sockets []*Socket
	// turn is the socket that is read next.
	turn   int
	frames [Batch][]byte
	iov    [Batch]unix.Iovec
	msgs   [Batch]mmsghdr
	// stamp is the kernel's time of the first frame; stamped says that it tells.
	stamp   stampMessage
	stamped bool
	// Truncated counts frames that were longer than any IPv4 packet.
	Truncated uint64
}

// NewReceiver allocates a receiver for sockets, which have their turns.
func NewReceiver(sockets ...*Socket) *Receiver {
	r := &Receiver{sockets: sockets}
	slab := make([]byte, Batch*frameMax)
	for i := range r.frames {
		r.frames[i], slab = slab[:frameMax:frameMax], slab[frameMax:]
		r.iov[i].Base = &r.frames[i][0]
		r.iov[i].SetLen(frameMax)
		r.msgs[i].hdr.Iov = &r.iov[i]
		r.msgs[i].hdr.SetIovlen(1)
	}
	return r
}

// Receive fills the batch with what is there now, without waiting, and returns
// how many frames that is; 0 means none.
func (r *Receiver) Receive() (n int, err error) {
	for range r.sockets {
		s := r.sockets[r.turn]
		r.turn = (r.turn + 1) % len(r.sockets)
		if n, err = r.from(s); n > 0 || err != nil {
			break
		}
	}
	return n, err
}

func (r *Receiver) from(s *Socket) (int, error) {
	for {
		if r.stamped {
			r.askStamp()
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&r.msgs[0])), Batch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR, unix.ENETDOWN: // ENETDOWN tells once that the link went down
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return 0, fmt.Errorf("receive: %w", errno)
	}
}

// Frame is the i-th frame of the batch, from its Ethernet header on, and what
// the kernel left undone in it; nil if it was cut off. It is valid until the
// next Receive.
func (r *Receiver) Frame(i int) ([]byte, Header) {
	m := &r.msgs[i]
	if m.hdr.Flags&unix.MSG_TRUNC != 0 || m.len < vnetSize {
		r.Truncated++
		return nil, Header{}
	}
	frame := r.frames[i][:m.len]
	return frame[vnetSize:], parseVnet(frame)
}

// Wait sleeps until one of the descriptors is ready or the timeout has passed;
// negative means no timeout. Being interrupted counts as waking up.
func Wait(fds []unix.PollFd, timeout time.Duration) error {
	var limit *unix.Timespec
	if timeout >= 0 {
		ts := unix.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	if _, err := unix.Ppoll(fds, limit, nil); err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}
