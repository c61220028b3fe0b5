package probe

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

const (
	frameSize = 256 // a header, an address and snapLen
	blockSize = 1 << 16
	// addressAt is where struct sockaddr_ll follows a frame's header.
	addressAt = 32
)

// ring is a packet socket with a TPACKET_V2 receive ring: fixed frames, each
// visible at once, so that a superpacket costs no more than a SYN and nothing
// has to be flushed at the end. Not for concurrent use, except wait and close.
type ring struct {
	file  *os.File
	raw   syscall.RawConn
	mem   []byte
	next  int
	drops int64
}

// frame is a packet in the ring, valid inside the callback of drain.
type frame struct {
	data     []byte // at most snapLen, from the Ethernet header
	outgoing bool
	at       time.Time
}

// openRing opens a ring of size bytes on an interface of the namespace. It
// misses nothing from its return on.
func openRing(ns *netns.NS, iface string, filter []insn, size int) (*ring, error) {
	code, err := assemble(filter)
	if err != nil {
		return nil, err
	}
	var fd, index int
	err = ns.Do(func() error {
		index, err = netns.Index(iface)
		if err != nil {
			return err
		}
		// Protocol 0: nothing arrives before filter and ring are there.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", iface, err)
	}
	r, err := newRing(fd, index, code, size)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s: %w", iface, err)
	}
	return r, nil
}

func newRing(fd, index int, code []unix.SockFilter, size int) (*ring, error) {
	prog := &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog); err != nil {
		return nil, fmt.Errorf("attach filter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("ask for TPACKET_V2: %w", err)
	}
	req := &unix.TpacketReq{
		Block_size: blockSize, Block_nr: uint32(size / blockSize),
		Frame_size: frameSize, Frame_nr: uint32(size / frameSize),
	}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, req); err != nil {
		return nil, fmt.Errorf("make a ring of %d bytes: %w", size, err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	all := uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8) // network order; only this one sees what leaves
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), unix.Munmap(mem))
	}
	file := os.NewFile(uintptr(fd), "tap")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(mem))
	}
	return &ring{file: file, raw: raw, mem: mem}, nil
}

func (r *ring) header(i int) *unix.Tpacket2Hdr {
	return (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.mem[i*frameSize]))
}

// ready says whether frame next is ours.
func (r *ring) ready() bool {
	return atomic.LoadUint32(&r.header(r.next).Status)&unix.TP_STATUS_USER != 0
}

// drain hands all waiting frames to f.
func (r *ring) drain(f func(frame)) {
	for frames := len(r.mem) / frameSize; r.ready(); {
		base := r.mem[r.next*frameSize:][:frameSize]
		h := r.header(r.next)
		end := min(int(h.Mac)+int(h.Snaplen), frameSize)
		f(frame{
			data:     base[min(int(h.Mac), end):end],
			outgoing: base[addressAt+10] == unix.PACKET_OUTGOING,
			at:       time.Unix(int64(h.Sec), int64(h.Nsec)),
		})
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
		r.next = (r.next + 1) % frames
	}
}

// dropped is how many packets passed the filter and found no frame. Reading
// resets the kernel's count, so it is summed here.
func (r *ring) dropped() int64 {
	r.raw.Control(func(fd uintptr) {
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			r.drops += int64(s.Drops)
		}
	})
	return r.drops
}

// failure is what the socket met since it was last asked: ENETDOWN if the
// interface was down, or is gone.
func (r *ring) failure() (err error) {
	e := r.raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
			err = unix.Errno(n)
		}
	})
	return errors.Join(e, err)
}

// wait blocks until ready returns true; an error means that the ring was
// closed. The poller forgets what came before it is asked, so ready is asked
// first, and after each wake.
func (r *ring) wait(ready func() bool) error {
	return r.raw.Read(func(uintptr) bool { return ready() })
}

// pause between drains: packets come in bursts, and one wake serves many.
const pause = time.Millisecond
