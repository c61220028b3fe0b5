package branch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/wire"
)

// A packet of a tunnel that is too big for its way is reported to the router, as
// an ICMP error that quotes the outer header; the kernel knows no such tunnel
// and takes no notice. So the router listens itself, and gives the tunnel's
// interface the MTU that the way leaves: who sends through it is then told by
// the kernel. A WAN whose own MTU is less is heard of, too.

// paths are the ways of a router's tunnels.
type paths struct {
	icmp  *os.File
	links *wire.Watch
	birth time.Time
	wait  sync.WaitGroup

	mu      sync.Mutex
	known   pathmtu.Table
	wan     map[int]int // MTUs by interface
	tunnels []*way
	closed  bool
	err     error
}

// way is a tunnel whose path may be less than it was made for.
type way struct {
	bpf.BranchOptions
	name  string
	encap tunnel.Encap
	least int // what its interface must have
	// force is the MTU that its interface was given last.
	force int
	// clamp has TCP's first packets tell the segments that an MTU leaves.
	clamp func(mtu int) error
}

// watch begins to listen, in the calling thread's namespace.
func watch(tunnels []*way) (*paths, error) {
	p := &paths{birth: time.Now(), wan: map[int]int{}, tunnels: tunnels}
	var err error
	if p.icmp, err = unreachables(); err != nil {
		return nil, err
	}
	if p.links, err = wire.OpenWatch(); err != nil {
		return nil, errors.Join(err, p.icmp.Close())
	}
	p.wait.Go(func() { p.fail(p.hear()) })
	p.wait.Go(func() { p.fail(p.follow()) })
	return p, nil
}

// icmpFilter is ICMP_FILTER of linux/icmp.h: a bit for each type to leave out.
const icmpFilter = 1

// unreachables opens a socket that gets the ICMP errors of type 3.
func unreachables() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, fmt.Errorf("raw ICMP socket: %w", err)
	}
	const unreachable = 3
	if err := unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << unreachable)); err != nil {
		return nil, errors.Join(fmt.Errorf("raw ICMP socket: filter: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "icmp"), nil
}

func (p *paths) now() vt.Instant { return vt.Instant(time.Since(p.birth)) }

// fail notes what ended a listener before Close did.
func (p *paths) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.err = errors.Join(p.err, err)
	}
}

// hear reads ICMP errors, and forgets what is too old.
func (p *paths) hear() error {
	buf := make([]byte, 2048)
	for {
		n, err := p.icmp.Read(buf)
		p.mu.Lock()
		now := p.now()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.known.Expire(now)
			err = p.apply()
		case err == nil:
			err = p.report(now, buf[:n])
		}
		next := p.known.NextWake()
		p.mu.Unlock()
		if err != nil {
			return err
		}
		deadline := time.Time{}
		if next != vt.Never {
			deadline = p.birth.Add(time.Duration(next))
		}
		if err := p.icmp.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
}

// report takes an ICMP error, if it is about a packet of a tunnel's. The lock is
// held.
func (p *paths) report(now vt.Instant, packet []byte) error {
	r, ok := pathmtu.Read(packet)
	if !ok {
		return nil
	}
	for _, t := range p.tunnels {
		if r.Of(&t.encap) {
			p.known.Learn(now, r.Dst, r.MTU)
			return p.apply()
		}
	}
	return nil
}

// follow hears of the WANs' MTUs.
func (p *paths) follow() error {
	for {
		index, mtu, err := p.links.Next()
		if errors.Is(err, wire.ErrMissed) {
			continue // the next change, or an ICMP error, will tell
		}
		if err != nil {
			return err
		}
		p.mu.Lock()
		err = nil
		for _, t := range p.tunnels {
			if t.WAN == index && p.wan[index] != mtu {
				p.wan[index] = mtu
				err = p.apply()
				break
			}
		}
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// apply gives every tunnel what its way leaves. The lock is held.
func (p *paths) apply() error {
	var errs []error
	for _, t := range p.tunnels {
		most := t.MTU
		if wan := p.wan[t.WAN]; wan > 0 {
			most = min(most, t.encap.InnerMTU(wan))
		}
		if path := p.known.MTU(pkt.NumberOf(t.encap.Dst)); path > 0 {
			most = min(most, t.encap.InnerMTU(path))
		}
		errs = append(errs, p.give(t, max(most, t.least)))
	}
	return errors.Join(errs...)
}

// give lends a tunnel's interface an MTU.
func (p *paths) give(t *way, mtu int) error {
	if mtu == t.force {
		return nil
	}
	conn, err := p.icmp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) { failed = wire.LendMTU(int(fd), t.name, t.force, mtu) })
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	t.force = mtu
	return t.clamp(mtu)
}

// Close ends both listeners and returns what had ended one before.
func (p *paths) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := errors.Join(p.icmp.Close(), p.links.Close())
	p.wait.Wait()
	return errors.Join(err, p.err)
}
