package probe

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pump empties a ring in the background and on demand, into see.
type pump struct {
	mu     sync.Mutex // guards ring's frames, and all that see touches
	ring   *ring
	see    func(frame)
	closed bool
	drops  int64
	done   chan struct{}
}

func startPump(r *ring, see func(frame)) *pump {
	p := &pump{ring: r, see: see, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for p.ring.wait(p.ready) == nil {
			time.Sleep(pause)
			p.locked(func() {})
		}
	}()
	return p
}

func (p *pump) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && p.ring.ready()
}

// locked runs f after everything that has arrived was seen.
func (p *pump) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.ring.drain(p.see)
		p.drops = p.ring.dropped()
	}
	f()
}

// close stops after a last drain. It is idempotent.
func (p *pump) close() error {
	last := false
	p.locked(func() { last, p.closed = !p.closed, true })
	if !last {
		<-p.done
		return nil
	}
	// Not under the lock, which the goroutine's ready takes.
	if err := p.ring.file.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	<-p.done
	// The memory first: the kernel takes tens of milliseconds over the last
	// reference of a ring, and were it the memory's, nothing else in the process
	// could map or unmap any meanwhile.
	return errors.Join(unix.Munmap(p.ring.mem), p.ring.file.Close())
}

// errEnded is the end of a tap that nobody asked to end.
var errEnded = errors.New("it has ended")

// err says why not everything that passed since it was last asked was seen: the
// tap has ended, or its interface was down.
func (p *pump) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	select {
	case <-p.done:
		return errEnded
	default:
		return p.ring.failure()
	}
}
