package afpacket

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Wait ends when a descriptor is ready, at once, soon or late, and not before its
// timeout otherwise.
func TestWait(t *testing.T) {
	const brief, late = 2 * time.Millisecond, 20 * time.Millisecond
	for _, c := range []struct {
		name           string
		rings, timeout time.Duration // negative: never
	}{
		{"ready", 0, -1}, {"ready soon", brief / 2, -1}, {"ready late", late, -1},
		{"no patience", -1, 0}, {"little patience", -1, brief / 2}, {"much patience", -1, late},
	} {
		t.Run(c.name, func(t *testing.T) {
			bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(bell)
			began := time.Now()
			ring := func() { unix.Write(bell, []byte{7: 1}) }
			if c.rings == 0 {
				ring()
			} else if c.rings > 0 {
				defer time.AfterFunc(c.rings, ring).Stop()
			}
			fds := []unix.PollFd{{Fd: int32(bell), Events: unix.POLLIN}}
			// To be interrupted is to wake up: whoever waits asks again.
			for fds[0].Revents == 0 && (c.timeout < 0 || time.Since(began) < c.timeout) {
				if err := Wait(fds, c.timeout); err != nil {
					t.Fatal(err)
				}
				if c.timeout == 0 {
					break
				}
			}
			took := time.Since(began)
			if ready := fds[0].Revents != 0; ready != (c.rings >= 0) || took < max(c.rings, c.timeout) || took > 5*time.Second {
				t.Errorf("ready %v after %v, want %v after %v", ready, took, c.rings >= 0, max(c.rings, c.timeout))
			}
		})
	}
	if err := Wait([]unix.PollFd{{Fd: -1}}, brief/2); err != nil {
		t.Errorf("a descriptor that is passed over: %v", err)
	}
}
