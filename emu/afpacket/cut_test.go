package afpacket

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

func TestCutterFinishesPackets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var c Cutter
	for _, size := range []int{1, 1000, 1001, 5000} {
		payload := bytesOf(r, size)
		packet := partial(tcpPacket(t, false, payload))
		if !c.Reset(packet, pkt.Offload{Segment: 1000, Partial: true}) {
			t.Fatalf("%d bytes: Reset = false, want true", size)
		}
		var all []byte
		n := 0
		for p := c.Next(); p != nil; p = c.Next() {
			all = append(all, decode(t, p).payload...)
			n++
		}
		if want := (size + 999) / 1000; n != want || !bytes.Equal(all, payload) {
			t.Errorf("%d bytes came in %d packets, equal %v; want %d, true", size, n, bytes.Equal(all, payload), want)
		}
	}
}

func TestCutterPassesSinglePackets(t *testing.T) {
	var c Cutter
	want := udpPacket(t, []byte("whole"))
	packet := partial(bytes.Clone(want))
	if !c.Reset(packet, pkt.Offload{Partial: true}) {
		t.Fatal("Reset = false, want true")
	}
	if got := c.Next(); !bytes.Equal(got, want) {
		t.Errorf("packet is\n%x, want\n%x", got, want)
	}
	if got := c.Next(); got != nil {
		t.Errorf("a second packet %x, want none", got)
	}
	if c.Reset(want, pkt.Offload{Segment: 100}) {
		t.Error("a UDP superpacket: Reset = true, want false")
	}
	if got := c.Next(); got != nil {
		t.Errorf("of what cannot be cut came %x, want nothing", got)
	}
}

func TestCutterDoesNotAllocate(t *testing.T) {
	packet := tcpPacket(t, false, make([]byte, 5000))
	var c Cutter
	cut := func() {
		c.Reset(packet, pkt.Offload{Segment: 1000, Partial: true})
		for c.Next() != nil {
		}
	}
	if n := testing.AllocsPerRun(100, cut); n != 0 {
		t.Errorf("%v allocations per packet, want 0", n)
	}
}
