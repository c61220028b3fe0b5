package afpacket

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/internal/need"
)

// The first frame of a batch has waited since the kernel had it, which is longest.
func TestStamp(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	if err := rx.Stamp(); err != nil {
		t.Fatal(err)
	}
	const early, late = 20 * time.Millisecond, 30 * time.Millisecond
	var waited time.Duration
	for range 50 { // the kernel begins to stamp a little after it was asked to
		for _, after := range []time.Duration{early, late} {
			tx.Whole(udpPacket(t, []byte("x")), pkt.Offload{}, 0)
			tx.Flush()
			time.Sleep(after)
		}
		n, err := rx.Receive()
		if n != 2 || err != nil {
			t.Fatalf("%d frames, %v, want 2", n, err)
		}
		if waited = rx.Waited(time.Now()); waited >= early {
			break
		}
	}
	if waited < early+late || waited > stampTrust {
		t.Errorf("the first waited %v, want %v or more", waited, early+late)
	}
	if d := rx.Waited(time.Now().Add(-time.Hour)); d != 0 {
		t.Errorf("by a clock that was set back it waited %v, want 0: nobody knows", d)
	}
}

// Without stamps nobody knows.
func TestNoStamp(t *testing.T) {
	need.Root(t)
	tx, rx := pair(t)
	tx.Whole(udpPacket(t, []byte("x")), pkt.Offload{}, 0)
	tx.Flush()
	if n, err := rx.Receive(); n != 1 || err != nil || rx.Waited(time.Now()) != 0 {
		t.Errorf("%d frames, %v, waited %v, want 1 and 0", n, err, rx.Waited(time.Now()))
	}
}

// BenchmarkStamp is what stamps cost: batches of 1 and of 32 frames sent and received,
// without and with.
func BenchmarkStamp(b *testing.B) {
	need.Root(b)
	for _, frames := range []int{1, 32} {
		for _, stamped := range []bool{false, true} {
			name := map[bool]string{false: "without", true: "with"}[stamped]
			b.Run(name+"/"+map[int]string{1: "1", 32: "32"}[frames], func(b *testing.B) {
				tx, rx := pair(b)
				if stamped {
					if err := rx.Stamp(); err != nil {
						b.Fatal(err)
					}
				}
				packet := udpPacket(b, make([]byte, 100))
				fds := []unix.PollFd{{Fd: int32(rx.sockets[0].Fd()), Events: unix.POLLIN}}
				var sink time.Duration
				for b.Loop() {
					for range frames {
						tx.Whole(packet, pkt.Offload{}, 0)
					}
					tx.Flush()
					for got := 0; got < frames; {
						n, err := rx.Receive()
						if err != nil {
							b.Fatal(err)
						}
						if got += n; n == 0 {
							_ = Wait(fds, time.Millisecond)
						} else if stamped {
							sink += rx.Waited(time.Now())
						}
					}
				}
			})
		}
	}
}
