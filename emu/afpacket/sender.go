package afpacket

import (
	"encoding/binary"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// headMax is the room for everything in front of a payload: virtio, Ethernet,
// outer IPv6 with keyed GRE, and inner IP and TCP headers with options.
const headMax = 256

// Sent counts what became of packets given to a Sender.
type Sent struct {
	// Packets went to the link; a superpacket counts once.
	Packets uint64
	// Superpackets among them.
	Superpackets uint64
	// Unsendable were superpackets whose headers do not parse.
	Unsendable uint64
	// Refused by the kernel, by errno: too long for the link is EMSGSIZE.
	Refused map[unix.Errno]uint64
}

// Lost is how many packets were not sent, for whatever reason.
func (s *Sent) Lost() uint64 {
	n := s.Unsendable
	for _, refused := range s.Refused {
		n += refused
	}
	return n
}

// Sender collects packets and sends them in batches. Packets are not copied:
// they must stay untouched until Flush.
type Sender struct {
	socket   *Socket
	frames   Frames // instead of socket
	sent     Sent
	ethernet []byte // its last two bytes are the EtherType
	n        int
	heads    [Batch][headMax]byte
	super    [Batch]bool
	iov      [Batch][2]unix.Iovec
	marks    [Batch]markMessage
	msgs     [Batch]mmsghdr
}

// markMessage is the control message that sets SO_MARK for one packet.
type markMessage struct {
	hdr  unix.Cmsghdr
	mark uint32
	_    uint32
}

// Frames take frames that need nothing more from a kernel, each in two pieces,
// which they copy; Flush sends them.
type Frames interface {
	Put(head, payload []byte)
	Flush()
}

// NewFramesSender is NewSender for a way to send that knows nothing of packets:
// it is for Finish alone. What becomes of them the way counts itself.
func NewFramesSender(f Frames, from, to net.HardwareAddr) *Sender {
	t := NewSender(nil, from, to)
	t.frames = f
	return t
}

// NewSender makes a sender of frames from one MAC address to another.
func NewSender(s *Socket, from, to net.HardwareAddr) *Sender {
	return NewTaggedSender(s, from, to, 0)
}

// NewTaggedSender is NewSender for frames with an IEEE 802.1Q tag; VLAN 0 means
// no tag.
func NewTaggedSender(s *Socket, from, to net.HardwareAddr, vlan int) *Sender {
	t := &Sender{socket: s, sent: Sent{Refused: make(map[unix.Errno]uint64)}, ethernet: make([]byte, EthernetHeader)}
	if vlan != 0 {
		t.ethernet = make([]byte, EthernetHeader+tagSize)
		binary.BigEndian.PutUint16(t.ethernet[12:], EtherTypeVLAN)
		binary.BigEndian.PutUint16(t.ethernet[14:], uint16(vlan))
	}
	copy(t.ethernet[:6], to)
	copy(t.ethernet[6:12], from)
	for i := range t.msgs {
		t.msgs[i].hdr.Iov = &t.iov[i][0]
		t.marks[i].hdr.Level, t.marks[i].hdr.Type = unix.SOL_SOCKET, unix.SO_MARK
		t.marks[i].hdr.SetLen(unix.CmsgLen(4))
	}
	return t
}

// Sent is what was sent so far. The map is the sender's own.
func (t *Sender) Sent() *Sent { return &t.sent }

// Whole sends a packet with what is undone in it left to the kernel. A mark
// that is not 0 is for programs on the link's egress.
func (t *Sender) Whole(packet []byte, off pkt.Offload, mark uint32) {
	i := t.next()
	head := t.heads[i][:vnetSize]
	clear(head)
	if (off.Partial || off.Segment != 0) && !describe(head, packet, off, len(t.ethernet)) {
		t.sent.Unsendable++
		return
	}
	t.super[i] = off.Segment != 0
	t.commit(t.link(head, packet), packet, mark)
}

// Finish sends a packet that needs nothing more from a kernel: cut into
// segments, checksums filled in, each behind the outer header of e if that is
// not zero. The packet is changed.
func (t *Sender) Finish(packet []byte, off pkt.Offload, e *tunnel.Encap) {
	if off.Segment != 0 {
		t.segments(packet, off, e)
		return
	}
	if off.Partial {
		fillChecksum(packet)
	}
	i := t.next()
	head := t.heads[i][:vnetSize]
	clear(head)
	head = t.link(head, packet)
	t.super[i] = false
	t.commit(t.wrap(head, packet, e), packet, 0)
}

// segments is Finish for a superpacket.
func (t *Sender) segments(packet []byte, off pkt.Offload, e *tunnel.Encap) {
	var g segmenter
	if !g.reset(packet, off) {
		t.sent.Unsendable++
		return
	}
	for g.more() {
		i := t.next()
		head := t.heads[i][:vnetSize]
		clear(head)
		head = t.link(head, packet)
		head = t.wrap(head, packet[:g.nextLen()], e)
		head, payload := g.next(head)
		t.super[i] = false
		t.commit(head, payload, 0)
	}
}

// next is the index of a free slot.
func (t *Sender) next() int {
	if t.n == Batch {
		t.Flush()
	}
	return t.n
}

// link appends the Ethernet header for packet.
func (t *Sender) link(head, packet []byte) []byte {
	head = append(head, t.ethernet...)
	ethertype := uint16(EtherTypeIPv4)
	if packet[0]>>4 == 6 {
		ethertype = EtherTypeIPv6
	}
	binary.BigEndian.PutUint16(head[len(head)-2:], ethertype)
	return head
}

// wrap appends the outer header for inner, and says IPv4 or IPv6 by its family.
func (t *Sender) wrap(head, inner []byte, e *tunnel.Encap) []byte {
	if e == nil || e.IsZero() {
		return head
	}
	at := len(head)
	head = e.AppendHeader(head, inner)
	ethertype := uint16(EtherTypeIPv4)
	if head[at]>>4 == 6 {
		ethertype = EtherTypeIPv6
	}
	binary.BigEndian.PutUint16(head[at-2:], ethertype)
	return head
}

// commit puts the frame into the slot that next returned.
func (t *Sender) commit(head, payload []byte, mark uint32) {
	if t.frames != nil {
		t.frames.Put(head[vnetSize:], payload)
		return
	}
	i := t.n
	t.n++
	v := &t.iov[i]
	v[0].Base = &head[0]
	v[0].SetLen(len(head))
	v[1].Base = unsafe.SliceData(payload)
	v[1].SetLen(len(payload))
	m := &t.msgs[i].hdr
	m.SetIovlen(2)
	m.Control = nil
	m.SetControllen(0)
	if mark != 0 {
		t.marks[i].mark = mark
		m.Control = (*byte)(unsafe.Pointer(&t.marks[i]))
		m.SetControllen(unix.CmsgSpace(4))
	}
}

// Flush hands the batch to the kernel. A packet that the kernel refuses is
// counted and skipped.
func (t *Sender) Flush() {
	if t.frames != nil {
		t.frames.Flush()
		return
	}
	for at := 0; at < t.n; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(t.socket.fd),
			uintptr(unsafe.Pointer(&t.msgs[at])), uintptr(t.n-at), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN { // the link holds all that the socket may have sent
			n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(t.socket.fd),
				uintptr(unsafe.Pointer(&t.msgs[at])), uintptr(t.n-at), 0, 0, 0)
		}
		switch errno {
		case 0:
			for i := at; i < at+int(n); i++ {
				if t.super[i] {
					t.sent.Superpackets++
				}
			}
			t.sent.Packets += uint64(n)
			at += int(n)
		case unix.EINTR:
		default:
			t.sent.Refused[errno]++
			at++
		}
	}
	t.n = 0
}
