package probe

import (
	"net"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/internal/need"
)

// A ring that is full drops what comes, and says how many; what it holds is
// right, and once emptied it works on.
func TestFullRingCountsDrops(t *testing.T) {
	need.Root(t)
	h := hosttest.Attach(t, hosttest.Namespace(t, false), "a", netip.MustParseAddr("10.0.1.5"), true)
	r, err := openRing(h.NS, "eth0", markFilter(), blockSize)
	if err != nil {
		t.Fatal(err)
	}
	defer r.file.Close()
	send := func(n int) {
		hosttest.Do(t, h.NS, func() error {
			c, err := net.ListenUDP("udp4", nil)
			if err != nil {
				return err
			}
			defer c.Close()
			mark := append([]byte("hmwd\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x2a"), make([]byte, 1000)...)
			for range n {
				if _, err := c.WriteToUDP(mark, &net.UDPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 7}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const frames = blockSize / frameSize
	send(1000)
	var seen int
	count := func(f frame) {
		seen++
		s, ok := sighted(f.data)
		if !ok || !f.outgoing || s.mark != 42 || s.dst != netip.MustParseAddrPort("203.0.113.9:7") || f.at.IsZero() {
			t.Fatalf("frame %d: %+v, %v", seen, s, ok)
		}
	}
	r.drain(count)
	if got := r.dropped(); seen != frames || got != 1000-frames {
		t.Errorf("%d seen, %d dropped, want %d, %d", seen, got, frames, 1000-frames)
	}
	send(10)
	r.drain(count)
	if got := r.dropped(); seen != frames+10 || got != 1000-frames {
		t.Errorf("%d seen, %d dropped after that, want %d, %d", seen, got, frames+10, 1000-frames)
	}
}

// A tap that has seen more distinct things than it keeps counts the rest as
// missed: its truth is no longer the whole.
func TestTapIsBounded(t *testing.T) {
	tap := &Tap{seen: map[sight]*Observation{}}
	b := make([]byte, snapLen)
	b[eth], b[eth+9] = 0x45, 17
	copy(b[eth+28:], "hmwd\x02")
	if m, ok := host.ParseMark(b[eth+28:]); !ok || !m.Answer {
		t.Fatal("the frame has no mark")
	}
	for i := range maxSights + 5 {
		b[eth+40], b[eth+41], b[eth+42] = byte(i), byte(i>>8), byte(i>>16)
		tap.see(frame{data: b})
	}
	if len(tap.order) != maxSights || tap.over != 5 {
		t.Errorf("%d kept, %d over, want %d, 5", len(tap.order), tap.over, maxSights)
	}
}

// Frames that are too short, or lie about their header, are nobody's.
func TestParseJunk(t *testing.T) {
	b := make([]byte, snapLen)
	b[eth] = 0x45
	for _, proto := range []byte{6, 17, 1} {
		for _, first := range []byte{0x00, 0x41, 0x45, 0x4f} {
			b[eth], b[eth+9] = first, proto
			for n := range b {
				if s, ok := sighted(b[:n]); ok {
					t.Errorf("protocol %d, %d bytes: %+v", proto, n, s)
				}
			}
		}
	}
}

func TestAssembleRefusesWhatCannotJump(t *testing.T) {
	for name, f := range map[string][]insn{
		"nowhere":  {{code: jeq, yes: "gone"}, {code: ret}},
		"backward": {{label: "top", code: jeq, yes: "top"}, {code: ret}},
	} {
		if _, err := assemble(f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
