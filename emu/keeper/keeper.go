// Package keeper owns a lab: every namespace by file descriptor, everything
// wired in them, and every process started in them.
//
// It decides nothing about what a lab contains (the plan does) and moves no
// packet. The law: a lab lives and dies with its keeper. Nothing that it makes
// has a name or a place on the machine, so that when the process ends, in
// whatever way, the kernel takes all of it down; and Close does not merely let
// go, it looks whether everything is gone.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// ErrClosed is returned for what is asked of a lab that is closed or closing.
var ErrClosed = errors.New("lab is closed")

// Lab is a running lab. Its methods are safe for concurrent use.
type Lab struct {
	order   []string // node ids as planned, then wire.Middle if there are impaired links
	nodes   int      // of order, how many are the plan's
	known   sync.RWMutex
	spaces  map[string]*netns.NS // by id, under known; Middle alone may come after Up
	witness *witness
	spawner *spawner
	// patience bounds the wait for the kernel to take the namespaces down.
	patience time.Duration

	mu       sync.Mutex
	children []*child
	closing  bool
	closed   sync.Once
	err      error // of Close
}

// Up brings up everything that the plan says, or nothing: if it fails or ctx
// ends meanwhile, all that was made is gone when it returns, and ctx plays no
// further part once it has succeeded. progress may be nil; it is not called
// concurrently.
//
// Errors: os.ErrPermission where the right to make namespaces is missing, a
// *LimitError where the plan needs more open files than the process may have,
// wire.ErrNoVeth, and what else the kernel refuses.
func Up(ctx context.Context, p *plan.Plan, progress func(stage string, done, total int)) (*Lab, error) {
	if err := wire.Check(p); err != nil {
		return nil, err
	}
	if err := ensureFiles(p, spareFiles); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		l := &Lab{spaces: make(map[string]*netns.NS, len(p.Nodes)), patience: gonePatience}
		err := l.raise(ctx, p, progress)
		if err == nil {
			return l, nil
		}
		err = errors.Join(fmt.Errorf("bring up %s: %w", p.Scenario, err), l.Close())
		if !errors.Is(err, wire.ErrChanged) || try == attempts {
			return nil, err
		}
	}
}

// attempts to bring up a lab while the machine's kernel parameters change.
const attempts = 3

func (l *Lab) raise(ctx context.Context, p *plan.Plan, progress wire.Progress) error {
	var err error
	if l.witness, err = newWitness(); err != nil {
		return privilege(err)
	}
	if l.spawner, err = newSpawner(); err != nil {
		return err
	}
	for i := range p.Nodes {
		l.order = append(l.order, p.Nodes[i].ID)
	}
	if l.nodes = len(l.order); len(wire.Cuts(p)) > 0 {
		l.order = append(l.order, wire.Middle)
	}
	return privilege(wire.Build(ctx, p, l.inhabit, progress))
}

// inhabit makes the namespace of the i-th node, or that of the middle of impaired links.
func (l *Lab) inhabit(t *netns.Thread, i int) (*netns.NS, error) {
	ns, err := t.New()
	if err != nil {
		return nil, err
	}
	l.known.Lock()
	l.spaces[l.order[i]] = ns
	l.known.Unlock()
	return ns, l.witness.watch(ns, i)
}

// privilege adds to a lack of permission what can be done about it.
func privilege(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run as root (sudo) or see `homeward doctor`", err)
	}
	return err
}

// NS is the namespace of a node, or of wire.Middle; nil if the lab has none such. It belongs
// to the lab: callers close it only to let the node vanish as in a power cut,
// and close whatever sockets they opened in it before they close the lab.
func (l *Lab) NS(node string) *netns.NS {
	l.known.RLock()
	defer l.known.RUnlock()
	return l.spaces[node]
}

// Middle makes the namespace wire.Middle of a lab that came up without impaired
// links. It is no error if there is one.
func (l *Lab) Middle() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		return ErrClosed
	case l.NS(wire.Middle) != nil:
		return nil
	}
	ns, err := netns.New()
	if err == nil {
		if err = errors.Join(l.witness.watch(ns, len(l.order)), wire.Prepare(ns)); err != nil {
			err = errors.Join(err, ns.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("namespace of impaired links: %w", privilege(err))
	}
	l.known.Lock()
	defer l.known.Unlock()
	l.order, l.spaces[wire.Middle] = append(l.order, wire.Middle), ns
	return nil
}

// Nodes are the ids of all nodes, in the plan's order.
func (l *Lab) Nodes() []string { return append([]string(nil), l.order[:l.nodes]...) }
