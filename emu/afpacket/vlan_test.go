package afpacket

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// tagged is a veth with senders of several VLANs at one end and listeners of
// the same at the other; 0 is frames without a tag.
func tagged(t *testing.T, vlans []int) (senders []*Sender, listeners []*Receiver) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	add := func(s *Socket, err error) *Socket {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	err = ns.Do(func() error {
		a, b, err := linktest.Pair(1500, linktest.End{Name: "a", MAC: macA}, linktest.End{Name: "b", MAC: macB})
		if err != nil {
			return err
		}
		for _, vlan := range vlans {
			listeners = append(listeners, NewReceiver(add(ListenTagged(b, vlan))))
			senders = append(senders, NewTaggedSender(add(Dial(a)), macA, macB, vlan))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return senders, listeners
}

// Each listener gets the frames of its own VLAN, tag and all taken off, and no
// others; superpackets cross whole.
func TestVLANs(t *testing.T) {
	need.Root(t)
	vlans := []int{0, 1, 7, 4094}
	senders, listeners := tagged(t, vlans)
	want := make([][]byte, len(vlans))
	off := pkt.Offload{Segment: 1424, Partial: true}
	for i, tx := range senders {
		want[i] = partial(tcpPacket(t, false, bytesOf(rand.New(rand.NewPCG(uint64(i), 3)), 20000+i)))
		tx.Whole(want[i], off, 0)
		tx.Finish(udpPacket(t, []byte{byte(i)}), pkt.Offload{}, nil)
		tx.Flush()
		if s := tx.Sent(); s.Packets != 2 || s.Lost() != 0 {
			t.Errorf("VLAN %d: Sent = %+v, want 2 packets", vlans[i], s)
		}
	}
	for i, rx := range listeners {
		got, h := frames(t, rx, 2)
		back, err := h[0].Offload(got[0])
		if err != nil || back != off || !bytes.Equal(got[0], want[i]) {
			t.Errorf("VLAN %d: arrived with %+v, %v and %d bytes, want %+v and %d", vlans[i], back, err, len(got[0]), off, len(want[i]))
		}
		if last := got[1][len(got[1])-1]; last != byte(i) {
			t.Errorf("VLAN %d: got the datagram of %d", vlans[i], vlans[last])
		}
		if err := Wait([]unix.PollFd{{Fd: int32(rx.sockets[0].Fd()), Events: unix.POLLIN}}, 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if n, err := rx.Receive(); err != nil || n != 0 {
			t.Errorf("VLAN %d: %d frames more, %v; want none", vlans[i], n, err)
		}
	}
}
