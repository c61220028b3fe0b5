package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

// parameters gives many fresh namespaces their kernel parameters.
//
// Each file takes an opening and a write, and most have in a fresh namespace what
// they are to have. All fresh ones are equal: so the first node of a kind is looked
// at, and the others get what it lacked, in the same order, as a write may change
// other parameters (ip_forward does). Namespaces copy values of the host's, and
// those may change meanwhile: where the last node of a kind is not as the first one
// in the end, every node of it is written whole.
type parameters struct {
	mu    sync.Mutex
	kinds map[string]*kind // by what its nodes are to have
	roots []int            // instances of procfs, the last one in use
	uses  int              // of the last one
	turn  sync.Mutex       // held by the worker that wants the kernel's routing lock
}

// kind is nodes with the same parameters.
type kind struct {
	nodes  []*place
	first  sync.Once
	lacked []bool // of the settings, those that the first node had otherwise
	err    error  // of the first node
}

// usesOfProcfs is how many nodes are set through one instance of procfs: taking
// one down waits for other processors, and each opening passes by all namespaces
// that the instance has seen.
const usesOfProcfs = 32

func (p *parameters) close() {
	for _, root := range p.roots {
		unix.Close(root)
	}
}

// begin finds the kind of a node, and an instance of procfs.
func (p *parameters) begin(pl *place, ss []setting) (k *kind, root int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.roots) == 0 || p.uses == usesOfProcfs {
		if root, err = procfs(); err != nil {
			return nil, -1, err
		}
		p.roots, p.uses = append(p.roots, root), 0
	}
	p.uses++
	name := kindOf(ss)
	if k = p.kinds[name]; k == nil {
		k = &kind{}
		p.kinds[name] = k
	}
	k.nodes = append(k.nodes, pl)
	return k, p.roots[len(p.roots)-1], nil
}

// write gives a node, in whose namespace the calling thread is, what it is to have.
func (p *parameters) write(pl *place) error {
	ss := settings(pl.plan, pl.v6)
	k, root, err := p.begin(pl, ss)
	if err != nil {
		return err
	}
	looked := false
	k.first.Do(func() {
		looked = true
		k.lacked, k.err = p.look(pl, root, ss)
	})
	if looked || k.err != nil {
		return k.err
	}
	for i, s := range ss {
		if !k.lacked[i] {
			continue
		}
		if err := s.unexcused(p.set(pl, root, s)); err != nil {
			return err
		}
	}
	return nil
}

// kindOf is the same for nodes that are to have the same.
func kindOf(ss []setting) string {
	var b strings.Builder
	for _, s := range ss {
		b.WriteString(s.key)
		if s.key != multipathSeed {
			b.WriteString("=" + s.value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// look sets what a node does not have yet, and says what that was.
func (p *parameters) look(pl *place, root int, ss []setting) (lacked []bool, err error) {
	lacked = make([]bool, len(ss))
	for i, s := range ss {
		if had, err := get(root, s.key); err == nil && had == s.value && s.key != multipathSeed {
			continue
		}
		switch err := p.set(pl, root, s); {
		case err == nil:
			for j := range i { // an attempt that this one replaces
				lacked[j] = lacked[j] && ss[j].key != s.key
			}
			lacked[i] = true
		case s.unexcused(err) != nil:
			return nil, s.unexcused(err)
		}
	}
	return lacked, nil
}

// set writes one parameter of a node.
func (p *parameters) set(pl *place, root int, s setting) error {
	if s.key != impatient {
		return set(root, s.key, s.value)
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	// A question that the kernel answers under its routing lock sleeps as long as
	// somebody else has that.
	if _, err := pl.conn.Ask(unix.RTM_GETLINK, 0, ifinfo(loopback)); err != nil {
		return err
	}
	return set(root, s.key, s.value)
}

// check looks whether the last node of each kind has what the first one has, and
// writes all of them whole where not.
func (p *parameters) check(context.Context) error {
	return netns.Tour(func(t *netns.Thread) error {
		for _, name := range slices.Sorted(maps.Keys(p.kinds)) {
			if err := p.kinds[name].check(t, p.roots[len(p.roots)-1]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *kind) check(t *netns.Thread, root int) error {
	first, err := k.nodes[0].parameters(t, root)
	if err != nil {
		return err
	}
	last, err := k.nodes[len(k.nodes)-1].parameters(t, root)
	if err != nil || maps.Equal(first, last) {
		return err
	}
	for _, pl := range k.nodes {
		err := t.Enter(pl.space)
		if err == nil {
			err = apply(settings(pl.plan, pl.v6))
		}
		if err != nil {
			return fmt.Errorf("node %s: %w", pl.plan.ID, err)
		}
	}
	return nil
}

// parameters reads what a node has, of all that is the same in its kind.
func (p *place) parameters(t *netns.Thread, root int) (all map[string]string, err error) {
	if err := t.Enter(p.space); err != nil {
		return nil, err
	}
	all = make(map[string]string)
	for _, s := range settings(p.plan, p.v6) {
		if s.key == multipathSeed {
			continue
		}
		if v, e := get(root, s.key); e == nil {
			all[s.key] = v
		} else if !s.optional {
			err = errors.Join(err, fmt.Errorf("read %s: %w", s.key, e))
		}
	}
	return all, err
}
