// Package afxdp moves frames between userspace and a link by AF_XDP: rings in
// memory shared with the kernel, so that frames come in without a system call and
// leave by one for many.
//
// It is for packet rates. What arrives is what an XDP program redirects to the
// socket (bpf.AttachSocket), frames as on a wire: no superpackets, no checksums
// left to fill in. Its law: a frame that was not sent is counted, and nothing is
// allocated per frame.
package afxdp

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// Batch is how many frames Receive returns at most.
	Batch = 64
	// chunk holds a frame and, in front, the kernel's headroom: a page, as no
	// frame that XDP takes in one piece is longer.
	chunk = 2048
	// ringSize is entries of each ring, and chunks of each direction: more than a
	// burst between two turns of a busy hub.
	ringSize = 2048
	// sendBuffer bounds, bytes, what the link holds of ours.
	sendBuffer = 32 << 20
	// kicks bounds the system calls of one Flush: each sends maxBudget frames, or
	// 32 before Linux 6.17.
	kicks     = 2*ringSize/32 + 1
	maxBudget = 256
	// xdpMaxTxBudget is the socket option (Linux 6.17).
	xdpMaxTxBudget = 9
)

// Socket is an AF_XDP socket on the first queue of a link, in copy mode. It is
// not safe for concurrent use.
type Socket struct {
	fd       int
	memory   []byte
	fill     *ring[uint64]
	complete *ring[uint64]
	rx, tx   *ring[unix.XDPDesc]
	received [Batch]unix.XDPDesc
	n        int      // of received, whose chunks are not given back yet
	free     []uint64 // chunks to send from
	// Sent and Unsent count frames given to Put.
	Sent, Unsent uint64
}

// Open opens a socket on the link with that index in the calling thread's network
// namespace. It needs CAP_NET_RAW.
func Open(ifindex int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("AF_XDP socket: %w", err)
	}
	s := &Socket{fd: fd}
	if err := s.configure(ifindex); err != nil {
		return nil, errors.Join(fmt.Errorf("AF_XDP: %w", err), s.Close())
	}
	return s, nil
}

func (s *Socket) configure(ifindex int) (err error) {
	if s.memory, err = unix.Mmap(-1, 0, 2*ringSize*chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	area := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&s.memory[0]))), Len: uint64(len(s.memory)), Size: chunk}
	if err := setsockopt(s.fd, unix.XDP_UMEM_REG, unsafe.Pointer(&area), unsafe.Sizeof(area)); err != nil {
		return fmt.Errorf("register memory: %w", err)
	}
	if err := s.mapRings(); err != nil {
		return err
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil { // beyond the limit where allowed
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
			return fmt.Errorf("socket buffer of %d bytes: %w", sendBuffer, err)
		}
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_XDP, xdpMaxTxBudget, maxBudget) // fewer system calls where it exists
	for i := range uint64(ringSize) {
		s.fill.put(i * chunk)
		s.free = append(s.free, (ringSize+i)*chunk)
	}
	s.fill.publish()
	if err := unix.Bind(s.fd, &unix.SockaddrXDP{Ifindex: uint32(ifindex), Flags: unix.XDP_COPY}); err != nil {
		return fmt.Errorf("bind to interface %d: %w", ifindex, err)
	}
	return nil
}

// mapRings makes the four rings.
func (s *Socket) mapRings() error {
	var at unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(at))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return fmt.Errorf("offsets of rings: %w", errno)
	}
	var errs [4]error
	s.fill, errs[0] = mapRing[uint64](s.fd, unix.XDP_UMEM_FILL_RING, ringSize, at.Fr, unix.XDP_UMEM_PGOFF_FILL_RING)
	s.complete, errs[1] = mapRing[uint64](s.fd, unix.XDP_UMEM_COMPLETION_RING, ringSize, at.Cr, unix.XDP_UMEM_PGOFF_COMPLETION_RING)
	s.rx, errs[2] = mapRing[unix.XDPDesc](s.fd, unix.XDP_RX_RING, ringSize, at.Rx, unix.XDP_PGOFF_RX_RING)
	s.tx, errs[3] = mapRing[unix.XDPDesc](s.fd, unix.XDP_TX_RING, ringSize, at.Tx, unix.XDP_PGOFF_TX_RING)
	return errors.Join(errs[:]...)
}

func setsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Fd is the descriptor: to wait for, and for the program that redirects to it.
func (s *Socket) Fd() int { return s.fd }

// Receive takes what is there now, without waiting, and returns how many frames
// that is. Those of the last time are not valid any more.
func (s *Socket) Receive() int {
	if s.n > 0 {
		for _, d := range s.received[:s.n] {
			s.fill.put(d.Addr &^ (chunk - 1))
		}
		s.fill.publish()
	}
	s.n = int(min(s.rx.there(), Batch))
	for i := range s.n {
		s.received[i] = s.rx.take()
	}
	if s.n > 0 {
		s.rx.release()
	}
	return s.n
}

// Frame is the i-th frame that Receive took. It may be written to.
func (s *Socket) Frame(i int) []byte {
	d := &s.received[i]
	return s.memory[d.Addr:][:d.Len:d.Len]
}

// Put takes a frame in two pieces, which it copies, for the next Flush. One that
// is too long, or finds no room because the link does not take any, is counted.
func (s *Socket) Put(head, payload []byte) {
	if len(s.free) == 0 {
		s.reclaim()
		if len(s.free) == 0 {
			s.Flush()
			s.reclaim()
		}
	}
	size := len(head) + len(payload)
	if len(s.free) == 0 || size > chunk {
		s.Unsent++
		return
	}
	last := len(s.free) - 1
	at := s.free[last]
	s.free = s.free[:last]
	frame := s.memory[at:][:size]
	copy(frame[copy(frame, head):], payload)
	s.tx.put(unix.XDPDesc{Addr: at, Len: uint32(size)})
	s.Sent++
}

// Flush has the kernel send what was put. What it does not take at once, as while
// the link is down, goes with the next Flush.
func (s *Socket) Flush() {
	s.tx.publish()
	for range kicks {
		if s.tx.unread() == 0 {
			break
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0, unix.EAGAIN, unix.EBUSY, unix.EINTR: // EAGAIN: there is more than goes at a time
		default:
			return
		}
	}
	s.reclaim()
}

// reclaim takes back the chunks of frames that have left.
func (s *Socket) reclaim() {
	n := s.complete.there()
	for range n {
		s.free = append(s.free, s.complete.take())
	}
	if n > 0 {
		s.complete.release()
	}
}

// Dropped is how many frames the kernel had no place for since the socket was
// opened.
func (s *Socket) Dropped() (uint64, error) {
	var st unix.XDPStatistics
	size := uint32(unsafe.Sizeof(st))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_XDP, unix.XDP_STATISTICS,
		uintptr(unsafe.Pointer(&st)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return 0, fmt.Errorf("statistics: %w", errno)
	}
	return st.Rx_dropped + st.Rx_ring_full, nil
}

// Close closes the socket. It is idempotent.
func (s *Socket) Close() error {
	if s.fd < 0 {
		return nil
	}
	errs := []error{unix.Close(s.fd), s.fill.close(), s.complete.close(), s.rx.close(), s.tx.close()}
	s.fd = -1
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
	}
	return errors.Join(errs...)
}
