package wire

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// ErrChanged says that the machine's kernel parameters, of which namespaces begin with
// copies, were changed while namespaces were made.
var ErrChanged = errors.New("kernel parameters of this machine changed while the lab came up")

// parameters gives many fresh namespaces their kernel parameters.
//
// Each file takes an opening and a write, and most have in a fresh namespace what
// they are to have. All fresh ones are equal: so the first node of a class is looked
// at, and the others get what it lacked, in the same order, as a write may change
// other parameters (ip_forward does). Namespaces copy values of the host's, and
// those may change meanwhile: check finds that out.
type parameters struct {
	mu    sync.Mutex
	kinds map[class]*kind
	now   *instance      // nil before the first use
	all   sync.WaitGroup // instances that are not closed yet
}

// class is what the parameters of a node hang on.
type class struct {
	forward, multipath, v6 bool
	sockets                bool // programs open some there
	ecn                    string
}

func classOf(n *plan.Node, v6 bool) class {
	return class{
		forward: n.Forward, multipath: n.Multipath, v6: v6, ecn: n.TCPECN,
		sockets: n.Kind == plan.KindHost || n.Kind == plan.KindOrigin || n.Kind == plan.KindDevice || n.Kind == plan.KindServer,
	}
}

// kind is nodes of one class.
type kind struct {
	nodes  []*place
	first  sync.Once
	wanted []setting
	lacked []bool // of wanted, what the first node had otherwise
	err    error  // of the first node
}

// instance is one of procfs.
type instance struct {
	root, uses int
	users      sync.WaitGroup
}

// usesOfProcfs is how many nodes are set through one instance of procfs: taking
// one down waits for other processors, and each opening passes by all namespaces
// that the instance has seen.
const usesOfProcfs = 32

// instance finds an instance of procfs for a node; the caller tells its users when
// it is done with it.
func (p *parameters) instance() (*instance, error) {
	if p.now == nil || p.now.uses == usesOfProcfs {
		root, err := procfs()
		if err != nil {
			return nil, err
		}
		p.close()
		p.now = &instance{root: root}
	}
	p.now.uses++
	p.now.users.Add(1)
	return p.now, nil
}

// close lets go of the instance in use. What was looked up in it goes in the background.
func (p *parameters) close() {
	if old := p.now; old != nil {
		p.now = nil
		p.all.Go(func() {
			old.users.Wait()
			unix.Close(old.root)
		})
	}
}

// begin finds the kind of a node, and an instance of procfs.
func (p *parameters) begin(pl *place) (k *kind, in *instance, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in, err = p.instance(); err != nil {
		return nil, nil, err
	}
	c := classOf(pl.plan, pl.v6)
	if k = p.kinds[c]; k == nil {
		k = &kind{wanted: settings(c)}
		p.kinds[c] = k
	}
	k.nodes = append(k.nodes, pl)
	return k, in, nil
}

// write gives a node, in whose namespace the calling thread is, what it is to have.
func (p *parameters) write(pl *place) error {
	k, in, err := p.begin(pl)
	if err != nil {
		return err
	}
	defer in.users.Done()
	f := openFiles(in.root)
	looked := false
	k.first.Do(func() {
		looked = true
		k.err = k.look(pl, f)
	})
	err = k.err
	for i, s := range k.wanted {
		if err == nil && k.lacked[i] && !looked {
			err = s.unexcused(f.set(s.key, s.of(pl)))
		}
	}
	if err == nil {
		pl.switch6, err = f.open(disable6, unix.O_WRONLY)
		if s := (setting{disable6, off6(pl.v6), true}); err != nil {
			pl.switch6, err = -1, s.unexcused(err)
		}
	}
	return errors.Join(err, f.close())
}

// of is the setting's value in a node.
func (s setting) of(pl *place) string {
	if s.key == multipathSeed {
		return strconv.FormatUint(uint64(pl.plan.MultipathSeed()), 10)
	}
	return s.value
}

// look sets what the first node of a kind does not have yet, and notes what that was.
func (k *kind) look(pl *place, f files) error {
	k.lacked = make([]bool, len(k.wanted))
	for i, s := range k.wanted {
		if had, err := f.get(s.key); err == nil && had == s.of(pl) && s.key != multipathSeed {
			continue
		}
		switch err := f.set(s.key, s.of(pl)); {
		case err == nil:
			for j := range i { // an attempt that this one replaces
				k.lacked[j] = k.lacked[j] && k.wanted[j].key != s.key
			}
			k.lacked[i] = true
		case s.unexcused(err) != nil:
			return s.unexcused(err)
		}
	}
	return nil
}

// check looks whether the last node of each kind has what the first one has; the error
// is ErrChanged where not.
func (p *parameters) check() error {
	in, err := p.instance()
	if err != nil {
		return err
	}
	defer in.users.Done()
	return netns.Tour(func(t *netns.Thread) error {
		for _, k := range p.kinds {
			first, err := k.has(t, k.nodes[0], in.root)
			if err != nil {
				return err
			}
			last, err := k.has(t, k.nodes[len(k.nodes)-1], in.root)
			if err != nil {
				return err
			}
			if !maps.Equal(first, last) {
				return ErrChanged
			}
		}
		return nil
	})
}

// has is what a node has of all that is the same in its kind.
func (k *kind) has(t *netns.Thread, pl *place, root int) (all map[string]string, err error) {
	if err := t.Enter(pl.space); err != nil {
		return nil, err
	}
	f := openFiles(root)
	all = make(map[string]string)
	for _, s := range k.wanted {
		if s.key == multipathSeed {
			continue
		}
		if v, e := f.get(s.key); e == nil {
			all[s.key] = v
		} else if !s.optional {
			err = errors.Join(err, fmt.Errorf("read %s: %w", s.key, e))
		}
	}
	return all, errors.Join(err, f.close())
}
