package tcp

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestWindowOfLinux: a receiver that is given what a kernel was given, at the same
// times, acknowledges what the kernel did and offers the windows that it offered, to a
// hundredth: of what came early the kernel counts the memory, not the bytes.
//
// testdata/window.txt is what Linux 6.18 did in a capture of an upload over 4 Mbit/s
// and 40 ms, with losses: "> µs seq length echo" came, "< µs ack window" it said.
func TestWindowOfLinux(t *testing.T) {
	f, err := os.Open("testdata/window.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := func(us int64) vt.Instant { return vt.Instant(us * int64(time.Microsecond)) }
	c := Accept(0, Config{}, &Segment{Flags: pkt.SYN, MSS: 1436, Scale: 7, SACKPermitted: true, HasTime: true})
	if s, ok := c.Next(at(2)); !ok || s.Window != 0xffff {
		t.Fatalf("SYN-ACK with window %d", s.Window)
	}
	windows, said := 0, 0
	var now, seq, length, echo, ack, window int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "> %d %d %d %d", &now, &seq, &length, &echo); err == nil {
			c.Receive(at(now), &Segment{Seq: uint32(seq), Ack: 1, Len: int(length), Flags: pkt.ACK, Window: 63, Scale: -1, HasTime: true, Time: uint32(now), Echo: uint32(echo)})
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "< %d %d %d", &now, &ack, &window); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		windows++
		s, ok := c.Next(at(now))
		if !ok {
			continue
		}
		said++
		if int64(s.Ack) != ack {
			t.Errorf("at %v: acknowledges %d, the kernel %d", at(now), s.Ack, ack)
		}
		got := int64(s.Window) << scale
		off := float64(max(got-window, window-got)) / float64(window)
		if off > 0.006 {
			t.Errorf("at %v: window %d after %d, the kernel's %d", at(now), got, ack, window)
		}
	}
	if said < windows*99/100 || windows < 100 {
		t.Errorf("of the kernel's %d acknowledgements %d were sent", windows, said)
	}
}
