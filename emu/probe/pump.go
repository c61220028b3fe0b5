package probe

import (
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
		for p.ring.wait() == nil {
			time.Sleep(pause)
			p.locked(func() {})
		}
	}()
	return p
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
func (p *pump) close() (err error) {
	p.locked(func() {
		if p.closed {
			return
		}
		p.closed = true
		err = p.ring.file.Close()
	})
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ring.mem != nil {
		unix.Munmap(p.ring.mem) // only now does the socket go
		p.ring.mem = nil
	}
	return err
}
