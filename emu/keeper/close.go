package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
)

const (
	// termPatience is how long children have after SIGTERM.
	termPatience = 2 * time.Second
	// killPatience bounds the wait for what nothing can refuse.
	killPatience = 5 * time.Second
	// gonePatience bounds the wait for the kernel to take namespaces down: one thread
	// does, of all labs that end.
	gonePatience = time.Minute
)

// LeftoverError says what of a lab is still there after Close.
type LeftoverError struct {
	Nodes   []string // whose namespaces exist
	Holders []string // who seems to hold them, for a human
}

// Error names the nodes and the holders.
func (e *LeftoverError) Error() string {
	holders := "nobody that can be seen"
	if len(e.Holders) > 0 {
		holders = strings.Join(e.Holders, ", ")
	}
	return fmt.Sprintf("lab not gone: the namespaces of %s still exist, held by %s", strings.Join(e.Nodes, ", "), holders)
}

// Close ends the lab: children first (SIGTERM, and SIGKILL after two seconds),
// then whatever else still runs in the lab's namespaces, then the namespaces.
// It returns when the kernel has taken everything down, or with a
// *LeftoverError when that did not happen in time. It is idempotent; every call
// returns the same.
func (l *Lab) Close() error {
	l.closed.Do(func() { l.err = l.close() })
	return l.err
}

func (l *Lab) close() error {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	err := l.endChildren()
	if l.spawner != nil {
		l.spawner.close()
	}
	inodes := make(map[uint64]string, len(l.spaces))
	for id, ns := range l.spaces {
		// A namespace that is closed already, to let the node vanish, has none.
		if ino, e := inode(ns); e == nil {
			inodes[ino] = id
		}
	}
	// Children of children: nobody else can be in a namespace without a name.
	err = errors.Join(err, killInside(inodes))
	all := slices.Collect(maps.Values(l.spaces))
	err = errors.Join(err, wire.Each(context.Background(), len(all), func(t *netns.Thread, i int) error {
		hastenGoodbyes(t, all[i])
		return nil
	}, func(int) {}))
	for _, ns := range all {
		err = errors.Join(err, ns.Close())
	}
	if l.witness == nil {
		return err
	}
	return errors.Join(err, l.gone(inodes), l.witness.close())
}

// endChildren ends and reaps every child.
func (l *Lab) endChildren() error {
	for _, c := range l.children {
		_ = c.signal(unix.SIGTERM) // an error says that it has ended
	}
	var errs []error
	soft := time.Now().Add(termPatience)
	for _, c := range l.children {
		if !c.ended(soft) {
			_ = c.signal(unix.SIGKILL)
		}
	}
	hard := time.Now().Add(killPatience)
	var over []*child
	for _, c := range l.children {
		if c.ended(hard) {
			over = append(over, c)
		} else {
			errs = append(errs, fmt.Errorf("process %d survives SIGKILL", c.pid))
		}
	}
	waited := time.Now().Add(reapPatience)
	for _, c := range over {
		c.reap(waited)
	}
	for _, c := range l.children {
		c.pidfd.Close()
	}
	l.children = nil
	return errors.Join(errs...)
}

// killInside kills every process that is inside one of the namespaces.
func killInside(inodes map[uint64]string) error {
	found, err := inside(inodes)
	if err != nil {
		return err
	}
	var victims []*child
	for _, pid := range found {
		c, err := newChild(pid)
		if err != nil {
			continue // it has ended
		}
		// The number may have passed on before the descriptor was there.
		if _, ok := inodes[processNet(pid)]; ok {
			_ = c.signal(unix.SIGKILL)
			victims = append(victims, c)
		} else {
			c.pidfd.Close()
		}
	}
	deadline := time.Now().Add(killPatience)
	for _, c := range victims {
		if !c.ended(deadline) {
			err = errors.Join(err, fmt.Errorf("process %d survives SIGKILL", c.pid))
		}
		c.pidfd.Close()
	}
	return err
}

// gone waits until the kernel has taken down every namespace.
func (l *Lab) gone(inodes map[uint64]string) error {
	left, err := l.witness.drained(l.patience)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		e := &LeftoverError{Holders: holders(inodes)}
		for _, i := range left {
			e.Nodes = append(e.Nodes, l.order[i])
		}
		return e
	}
	return l.witness.settled(len(l.order))
}

// drained waits until no watched namespace is alive, and returns those that
// are after the patience.
func (w *witness) drained(patience time.Duration) ([]int, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left, err := w.alive()
		if err != nil || len(left) == 0 || time.Now().After(deadline) {
			slices.Sort(left)
			return left, err
		}
	}
}

// settled waits until the kernel's clean-up, which takes a namespace's number
// back when it begins, has finished with every namespace drained so far. A
// namespace that goes now is cleaned up in a later round, and rounds do not
// overlap: when its number goes, the earlier rounds are over.
func (w *witness) settled(id int) error {
	last, err := netns.New()
	if err != nil {
		return err
	}
	if err := errors.Join(w.watch(last, id), last.Close()); err != nil {
		return err
	}
	left, err := w.drained(gonePatience)
	if err == nil && len(left) > 0 {
		err = errors.New("lab gone, but the kernel is still cleaning up")
	}
	return err
}
