package loop_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/loop"
)

// reader reads a datagram a turn; one of them keeps it for a while.
type reader struct {
	fd   int
	read chan byte
}

const keeps, kept = 'k', 40 * time.Millisecond

func (r *reader) Descriptors(fds []int) []int { return append(fds, r.fd) }

func (r *reader) Patience() time.Duration { return -1 }

func (r *reader) Turn() error {
	var b [1]byte
	if n, err := unix.Read(r.fd, b[:]); err != nil || n != 1 {
		return nil // nothing is there
	}
	r.read <- b[0]
	if b[0] == keeps {
		time.Sleep(kept)
	}
	return nil
}

// What a worker was late with, because it kept it, too, is told, with when and by how much; what was there before
// anybody watched, and turns that read nothing, are not.
func TestWatch(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
		t.Fatal(err)
	}
	r := &reader{fd: int(file.Fd()), read: make(chan byte, 9)}
	l, err := loop.Start(r)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	log, zero := late.New(), time.Now()
	l.Watch(log, zero)
	send := func(b byte) {
		if _, err := c.WriteToUDP([]byte{b}, c.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
	}
	got := func() {
		select {
		case <-r.read:
		case <-time.After(5 * time.Second):
			t.Fatal("nothing was read within 5s")
		}
	}
	waited := func() bool {
		for _, m := range log.Told().Moments {
			if m.At < 0 || m.At > int64(time.Since(zero)) {
				t.Fatalf("at %v, which is not in the test", time.Duration(m.At))
			}
			if m.For > int64(kept/2) {
				return true
			}
		}
		return false
	}
	send('a') // asks the kernel, which begins to tell a little later
	got()
	for range 50 {
		send(keeps)
		got()
		time.Sleep(2 * kept) // nothing else comes that could wait
		if waited() {
			return
		}
	}
	t.Errorf("told %+v, want that one datagram was kept for %v", log.Told(), kept)
}
