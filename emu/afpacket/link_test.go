package afpacket

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
)

// pair is a veth in a namespace of its own: what a sends arrives at b.
func pair(t testing.TB) (a *Sender, b *Receiver) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	var from, to *Socket
	err = ns.Do(func() error {
		a, b, err := linktest.Pair(1500, linktest.End{Name: "a", MAC: macA}, linktest.End{Name: "b", MAC: macB})
		if err != nil {
			return err
		}
		if to, err = Listen(b); err != nil {
			return err
		}
		from, err = Dial(a)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range []*Socket{from, to, from, to} {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return NewSender(from, macA, macB), NewReceiver(to)
}

// frames waits for n frames, all of which must be IPv4 to b.
func frames(t *testing.T, r *Receiver, n int) (packets [][]byte, headers []Header) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for len(packets) < n && time.Now().Before(deadline) {
		got, err := r.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			f, h := r.Frame(i)
			if !bytes.Equal(f[:6], macB) || binary.BigEndian.Uint16(f[12:]) != EtherTypeIPv4 {
				t.Fatalf("got the frame %x, which nobody here sent", f)
			}
			packets, headers = append(packets, bytes.Clone(f[EthernetHeader:])), append(headers, h)
		}
		if err := Wait([]unix.PollFd{{Fd: int32(r.sockets[0].Fd()), Events: unix.POLLIN}}, 10*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if len(packets) != n {
		t.Fatalf("got %d frames, want %d", len(packets), n)
	}
	return packets, headers
}

// A superpacket crosses whole, with what is undone in it still undone.
func TestWholeArrivesWhole(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	packet := partial(tcpPacket(t, false, bytesOf(rand.New(rand.NewPCG(3, 3)), 40000)))
	off := pkt.Offload{Segment: 1424, Partial: true}
	tx.Whole(packet, off, 0)
	tx.Flush()
	got, h := frames(t, rx, 1)
	back, err := h[0].Offload(got[0])
	if err != nil || back != off || !bytes.Equal(got[0], packet) {
		t.Errorf("arrived with %+v, %v and %d bytes, want %+v and %d", back, err, len(got[0]), off, len(packet))
	}
	if s := tx.Sent(); s.Packets != 1 || s.Superpackets != 1 || len(s.Refused) != 0 {
		t.Errorf("Sent = %+v, want one superpacket", s)
	}
}

// Finish leaves nothing to a kernel: complete segments, each in its own outer
// header; more of them than one batch holds.
func TestFinishArrivesFinished(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	e := tunnel.Encap{Src: netip.MustParseAddr("198.18.0.1"), Dst: netip.MustParseAddr("192.0.2.2"), HasKey: true, Key: 5}
	payload := bytesOf(rand.New(rand.NewPCG(4, 4)), 60000)
	const size = 500
	const n = 60000 / size
	tx.Finish(partial(tcpPacket(t, false, payload)), pkt.Offload{Segment: size, Partial: true}, &e)
	tx.Flush()
	got, headers := frames(t, rx, n)
	var all []byte
	for i, p := range got {
		if off, err := headers[i].Offload(p); off != (pkt.Offload{}) || err != nil {
			t.Fatalf("segment %d arrived with %+v, %v, want nothing undone", i, off, err)
		}
		head := e.AppendHeader(nil, p[e.Overhead():])
		if !bytes.Equal(p[:e.Overhead()], head) {
			t.Fatalf("segment %d has outer header %x, want %x", i, p[:e.Overhead()], head)
		}
		all = append(all, decode(t, p[e.Overhead():]).payload...)
	}
	if !bytes.Equal(all, payload) {
		t.Error("the segments' payload is not the superpacket's")
	}
}

// What the kernel refuses is counted by errno, and the rest of the batch goes.
func TestRefusedIsCounted(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	long := udpPacket(t, make([]byte, 2000)) // more than the link's 1500
	short := udpPacket(t, []byte("short"))
	for _, p := range [][]byte{short, long, short, long, long, short} {
		tx.Finish(p, pkt.Offload{}, nil)
	}
	tx.Flush()
	frames(t, rx, 3)
	s := tx.Sent()
	if s.Packets != 3 || s.Refused[unix.EMSGSIZE] != 3 {
		t.Errorf("Sent = %+v, want 3 packets and 3 refused by EMSGSIZE", s)
	}
	tx.Whole(udpPacket(t, []byte("x")), pkt.Offload{Segment: 100}, 0)
	if tx.Flush(); s.Unsendable != 1 {
		t.Errorf("Unsendable = %d after a UDP superpacket, want 1", s.Unsendable)
	}
}

// Moving packets allocates nothing, nor does asking how long they waited.
func TestNoAllocations(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	if err := rx.Stamp(); err != nil {
		t.Fatal(err)
	}
	packet := partial(tcpPacket(t, false, make([]byte, 3000)))
	e := tunnel.Encap{Src: netip.MustParseAddr("198.18.0.1"), Dst: netip.MustParseAddr("192.0.2.2")}
	fds := []unix.PollFd{{Fd: int32(rx.sockets[0].Fd()), Events: unix.POLLIN}}
	got := testing.AllocsPerRun(200, func() {
		tx.Whole(packet, pkt.Offload{Segment: 1000, Partial: true}, 0)
		tx.Finish(packet, pkt.Offload{Segment: 1000, Partial: true}, &e)
		tx.Flush()
		if err := Wait(fds, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		n, err := rx.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			f, h := rx.Frame(i)
			h.Offload(f[EthernetHeader:])
		}
		rx.Waited(time.Now())
	})
	if got != 0 {
		t.Errorf("%v allocations per batch, want 0", got)
	}
}
