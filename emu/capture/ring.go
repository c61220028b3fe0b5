package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// blockTimeout is how long the kernel keeps a block that is not full. It looks as
	// often whether one is, by a timer of each ring's, and a lab has a ring for each end
	// of its links.
	blockTimeout = 100 * time.Millisecond
	// ringMemory is shared by the rings of a capture; each has at least
	// minBlocks, because the kernel fills one while we read another.
	ringMemory           = 32 << 20
	minBlocks, maxBlocks = 4, 32
	tinyBlock            = 16 << 10 // where there are very many points
	smallBlock           = 128 << 10
	largeBlock           = 256 << 10 // for packets that are kept whole
	frameSize            = 2048      // only has to divide a block; frames are as long as they need be
)

// Offsets in the shared memory (linux/if_packet.h): tpacket_block_desc, then in
// each frame tpacket3_hdr and behind it, aligned to 16, sockaddr_ll.
const (
	blockStatus  = 8  // tpacket_block_desc.hdr.bh1.block_status
	blockPackets = 12 // .num_pkts
	blockFirst   = 16 // .offset_to_first_pkt

	frameNext   = 0 // tpacket3_hdr.tp_next_offset
	frameSec    = 4
	frameNsec   = 8
	frameSnap   = 12
	frameLen    = 16
	frameStatus = 20
	frameMAC    = 24
	frameTCI    = 32 // the tag that the kernel took out of the frame
	frameTPID   = 36
	frameKind   = 48 + 10 // sockaddr_ll.sll_pkttype
)

// packet is a packet in the ring; data is valid until the reader returns.
type packet struct {
	at      int64 // ns since 1970, the kernel's clock
	length  int   // on the wire
	leaving bool  // sent by the interface; else it arrived
	data    []byte
}

// ring is a packet socket with a ring of blocks (TPACKET_V3) that the kernel
// fills as packets pass: no system call per packet, and the packet itself is
// not held up or referenced.
type ring struct {
	file   *os.File
	memory []byte
	block  int           // size
	idle   chan struct{} // closed when follow has returned

	mu                sync.Mutex
	received, dropped uint64
}

// newRing opens a ring on an interface of the calling thread's namespace, for
// the packets that filter takes; nil takes all.
func newRing(index, snap, points int, filter []unix.SockFilter) (*ring, error) {
	// Deaf (protocol 0) until all is set, so that nothing unfiltered gets in.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	r := &ring{file: os.NewFile(uintptr(fd), "capture"), block: blockFor(snap, points), idle: make(chan struct{})}
	if err := r.set(fd, index, snap, points, filter); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

// blockFor is the size of a block: several packets must fit in.
func blockFor(snap, points int) int {
	switch {
	case snap > smallBlock/4:
		return largeBlock
	case snap <= tinyBlock/16 && ringMemory/points < minBlocks*smallBlock:
		return tinyBlock
	}
	return smallBlock
}

func (r *ring) set(fd, index, snap, points int, filter []unix.SockFilter) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("packet socket version 3: %w", err)
	}
	blocks := min(max(ringMemory/points/r.block, minBlocks), maxBlocks)
	req := unix.TpacketReq3{
		Block_size: uint32(r.block), Block_nr: uint32(blocks),
		Frame_size: frameSize, Frame_nr: uint32(blocks * r.block / frameSize),
		Retire_blk_tov: uint32(blockTimeout / time.Millisecond),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("packet ring: %w", err)
	}
	err := keep(fd, snap, filter)
	if err != nil {
		return err
	}
	all := bits.ReverseBytes16(unix.ETH_P_ALL)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind packet socket: %w", err)
	}
	// Last, so that a failure leaves no memory to give back.
	r.memory, err = unix.Mmap(fd, 0, blocks*r.block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map packet ring: %w", err)
	}
	return nil
}

// keep attaches a filter that takes every packet, or those that filter does, cut
// to snap bytes.
func keep(fd, snap int, filter []unix.SockFilter) error {
	prog := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(snap)}}
	if filter != nil {
		prog = slices.Clone(filter)
		for i := range prog { // what it returns is how much of the packet is kept
			if prog[i].Code == unix.BPF_RET|unix.BPF_K && prog[i].K != 0 {
				prog[i].K = uint32(snap)
			}
		}
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]})
	if err != nil {
		return fmt.Errorf("attach snap filter: %w", err)
	}
	return nil
}

// word is a 32-bit field that the kernel may write at the same time.
func (r *ring) word(block, offset int) *uint32 {
	return (*uint32)(unsafe.Pointer(&r.memory[block*r.block+offset]))
}

func (r *ring) blocks() int { return len(r.memory) / r.block }

// ours says whether the kernel has handed a block over.
func (r *ring) ours(block int) bool {
	return atomic.LoadUint32(r.word(block, blockStatus))&unix.TP_STATUS_USER != 0
}

// pending says whether a block holds packets that were not read yet, handed
// over or not. The count in a block is zeroed when it is given back.
func (r *ring) pending() bool {
	for b := range r.blocks() {
		if r.ours(b) || atomic.LoadUint32(r.word(b, blockPackets)) > 0 {
			return true
		}
	}
	return false
}

// follow gives batches of packets to read, until close. It is called once.
func (r *ring) follow(read func([]packet)) {
	defer close(r.idle)
	raw, err := r.file.SyscallConn()
	if err != nil {
		return // closed already
	}
	next := 0
	var batch []packet
	_ = raw.Read(func(uintptr) bool {
		for r.ours(next) {
			batch = r.parse(next, batch[:0])
			read(batch)
			atomic.StoreUint32(r.word(next, blockPackets), 0)
			atomic.StoreUint32(r.word(next, blockStatus), unix.TP_STATUS_KERNEL)
			next = (next + 1) % r.blocks()
		}
		return false // wait for more, until the deadline that close sets
	})
}

// parse appends the packets of a block that is ours.
func (r *ring) parse(block int, batch []packet) []packet {
	base := r.memory[block*r.block : (block+1)*r.block]
	u32 := func(b []byte, at int) int { return int(binary.NativeEndian.Uint32(b[at:])) }
	at := u32(base, blockFirst)
	for range u32(base, blockPackets) {
		f := base[at:]
		mac := int(binary.NativeEndian.Uint16(f[frameMAC:]))
		p := packet{
			at:      int64(u32(f, frameSec))*int64(time.Second) + int64(u32(f, frameNsec)),
			length:  u32(f, frameLen),
			leaving: f[frameKind] == unix.PACKET_OUTGOING,
			data:    f[mac : mac+u32(f, frameSnap)],
		}
		if u32(f, frameStatus)&unix.TP_STATUS_VLAN_VALID != 0 {
			p.tag(binary.NativeEndian.Uint16(f[frameTPID:]), uint16(u32(f, frameTCI)))
		}
		batch = append(batch, p)
		at += u32(f, frameNext)
	}
	return batch
}

// tag puts an IEEE 802.1Q tag back where it was on the wire, behind both MAC
// addresses. What was cut off stays cut off at the same length.
func (p *packet) tag(tpid, tci uint16) {
	const at, size = 12, 4
	if len(p.data) < at+2 {
		return
	}
	whole := len(p.data) == p.length
	b := make([]byte, 0, len(p.data)+size)
	b = append(b, p.data[:at]...)
	b = binary.BigEndian.AppendUint16(b, tpid)
	b = binary.BigEndian.AppendUint16(b, tci)
	b = append(b, p.data[at:]...)
	if !whole {
		b = b[:len(p.data)]
	}
	p.data, p.length = b, p.length+size
}

// stats are the counts since the ring was opened. The kernel's own restart
// with every question.
func (r *ring) stats() (received, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count()
	return r.received, r.dropped
}

func (r *ring) count() {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// Packets includes those that were dropped.
		if s, err := unix.GetsockoptTpacketStatsV3(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			r.received += uint64(s.Packets)
			r.dropped += uint64(s.Drops)
		}
	})
}

// close ends follow and lets go of the memory and the socket, in this order:
// the kernel takes tens of milliseconds over the last reference of a ring, and
// were it the memory's, nothing else in the process could map any meanwhile.
func (r *ring) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count()
	if err := r.file.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-r.idle
	return errors.Join(unix.Munmap(r.memory), r.file.Close())
}
