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

// What a worker was late with, because it kept it, too, is told, with when and by how much,
// and of the first datagram too; turns that read nothing are not.
func TestWatch(t *testing.T) {
	for range 50 { // the kernel begins to tell a little after it was asked
		moments := keptFirst(t)
		for _, m := range moments {
			if m.For > int64(kept/2) {
				if len(moments) > 1 {
					t.Errorf("told %+v, want one", moments)
				}
				return
			}
		}
	}
	t.Errorf("nothing is told of a first datagram that was kept for %v", kept)
}

// keptFirst is what a loop tells whose worker keeps the first datagram that it reads.
func keptFirst(t *testing.T) []late.Moment {
	t.Helper()
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
	fd := int(file.Fd()) // which blocks from now on
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	r := &reader{fd: fd, read: make(chan byte, 9)}
	l, err := loop.Start(r)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	log, zero := late.New(), time.Now()
	l.Watch(log, zero)
	time.Sleep(kept / 2)
	if _, err := c.WriteToUDP([]byte{keeps}, c.LocalAddr().(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.read:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was read within 5s")
	}
	l.Ring() // a turn that reads nothing
	time.Sleep(2 * kept)
	moments := log.Told().Moments
	for _, m := range moments {
		if m.At < 0 || m.At > int64(time.Since(zero)) {
			t.Fatalf("at %v, which is not in the test", time.Duration(m.At))
		}
	}
	return moments
}
