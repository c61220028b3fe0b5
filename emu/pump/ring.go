package pump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is a packet socket on one interface with a ring of fixed frames
// (TPACKET_V2): each packet is visible at once, with the kernel's time of its
// arrival, and takes no system call.
type ring struct {
	fd     int
	memory []byte
	frame  int // size
	next   int
	missed uint64
}

// Offsets in a frame (linux/if_packet.h): struct tpacket2_hdr and, behind it,
// struct sockaddr_ll.
const (
	frameKind = 32 + 10 // sockaddr_ll.sll_pkttype
	// frameHead is what precedes the Ethernet header at most.
	frameHead = 96
	ringBlock = 1 << 16

	// An Ethernet frame: two addresses, and the tag of IEEE 802.1Q behind them.
	addresses     = 12
	vlanTag       = 4
	etherTypeVLAN = 0x8100
)

// frameFor is the frame that a packet of so many bytes needs, the Ethernet
// header included: a power of two, so that frames fill blocks.
func frameFor(bytes int) int {
	size := 256
	for size < bytes+frameHead {
		size *= 2
	}
	return size
}

// newRing opens a ring of so many frames, at least, on an interface of the
// calling thread's namespace. With a filter it sees what leaves too, else only
// what arrives.
func newRing(ifindex, frame, frames int, filter []unix.SockFilter) (*ring, error) {
	// Deaf (protocol 0) until all is set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	r := &ring{fd: fd, frame: frame}
	if err := r.set(ifindex, frames, filter); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *ring) set(ifindex, frames int, filter []unix.SockFilter) error {
	if filter == nil {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return fmt.Errorf("PACKET_IGNORE_OUTGOING: %w", err)
		}
	} else if err := r.filter(filter); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("PACKET_VERSION: %w", err)
	}
	block := max(ringBlock, r.frame)
	size := (frames*r.frame + block - 1) / block * block
	request := &unix.TpacketReq{Block_size: uint32(block), Block_nr: uint32(size / block), Frame_size: uint32(r.frame), Frame_nr: uint32(size / r.frame)}
	if err := unix.SetsockoptTpacketReq(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, request); err != nil {
		return fmt.Errorf("ring of %d bytes: %w", size, err)
	}
	var err error
	if r.memory, err = unix.Mmap(r.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	return bind(r.fd, ifindex, unix.ETH_P_ALL)
}

func (r *ring) filter(code []unix.SockFilter) error {
	err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
	if err != nil {
		return fmt.Errorf("attach filter: %w", err)
	}
	return nil
}

func bind(fd, ifindex int, protocol uint16) error {
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8 | protocol>>8, Ifindex: ifindex}); err != nil {
		return fmt.Errorf("bind to interface %d: %w", ifindex, err)
	}
	return nil
}

// frameAt is what a ring shows of a packet; data is valid until release.
type frameAt struct {
	data    []byte // from the Ethernet header on
	cut     bool   // data is not all of it
	leaving bool   // the interface sent it
	real    int64  // CLOCK_REALTIME of its passing, ns
}

// peek is the next packet, if there is one. It is asked once for each.
func (r *ring) peek() (frameAt, bool) {
	base := r.memory[r.next*r.frame:][:r.frame]
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&base[0]))
	status := atomic.LoadUint32(&h.Status)
	if status&unix.TP_STATUS_USER == 0 {
		return frameAt{}, false
	}
	f := frameAt{
		data:    base[h.Mac:][:h.Snaplen],
		cut:     h.Snaplen != h.Len,
		leaving: base[frameKind] == unix.PACKET_OUTGOING,
		real:    int64(h.Sec)*1e9 + int64(h.Nsec),
	}
	if status&unix.TP_STATUS_VLAN_VALID != 0 {
		// The kernel takes a tag off what arrives. There is room before the frame.
		tagged := base[int(h.Mac)-vlanTag:][:int(h.Snaplen)+vlanTag]
		copy(tagged, f.data[:min(addresses, len(f.data))])
		binary.BigEndian.PutUint16(tagged[addresses:], etherTypeVLAN)
		binary.BigEndian.PutUint16(tagged[addresses+2:], h.Vlan_tci)
		f.data = tagged
	}
	return f, true
}

// release gives the frame of the last peek back.
func (r *ring) release() {
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&r.memory[r.next*r.frame]))
	atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	if r.next++; r.next == len(r.memory)/r.frame {
		r.next = 0
	}
}

// lost is how many packets found no frame so far.
func (r *ring) lost() uint64 {
	if s, err := unix.GetsockoptTpacketStats(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		r.missed += uint64(s.Drops) // since last asked
	}
	return r.missed
}

func (r *ring) close() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
	}
	return errors.Join(err, unix.Close(r.fd))
}
