package speaker

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Options say how Start runs speakers. All but Kind and the functions that are
// told are required.
type Options struct {
	// Kind of every router's speaker; empty means GoBGP.
	Kind Kind
	// Exe and Args are a command that calls Main.
	Exe  string
	Args []string
	// Spawn starts a program inside a node, NS is a node's namespace (keeper.Lab).
	Spawn func(node string, cmd *exec.Cmd) error
	NS    func(node string) *netns.NS
	// Session is told of sessions that begin and end, Moved of routes that change.
	// Both may be nil; they are not called at the same time.
	Session func(Change)
	Moved   func(Move)
	// Heard is told of what datacenters learn of customers' routers, by each in order;
	// it may be nil.
	Heard func(Heard)
}

// Fleet is the speakers of a lab. Its methods are safe for concurrent use.
type Fleet struct {
	plan    *plan.Plan
	kind    Kind
	fibs    map[string]*fib
	mu      sync.Mutex
	running map[string]process
	// heard is what each datacenter learns of customers' routers, with priorities.
	heard map[string]map[plan.Learned]int
	// telling is held while Session or Moved is called.
	telling sync.Mutex
}

// Possible says whether this machine has the kind of speaker.
func Possible(k Kind) error {
	if k != BIRD {
		return nil
	}
	if _, err := exec.LookPath(birdProgram); err != nil {
		return fmt.Errorf("--speaker bird needs %s (apt-get install bird2): %w", birdProgram, err)
	}
	return nil
}

// Start starts the speaker of every router that has one. Sessions come up later:
// see Settled. On an error nothing is left running.
func Start(p *plan.Plan, o Options) (*Fleet, error) {
	f := &Fleet{plan: p, kind: o.Kind, fibs: map[string]*fib{}, running: map[string]process{}, heard: map[string]map[plan.Learned]int{}}
	session := func(c Change) { f.changed(o.Session, c) }
	moved := func(m Move) {
		if f.telling.Lock(); o.Moved != nil {
			o.Moved(m)
		}
		f.telling.Unlock()
	}
	begin := o.Kind.begin()
	for i := range p.Speakers {
		s := &p.Speakers[i]
		watched, err := watch(s, o.NS(s.Node), moved)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("routes of %s: %w", s.Node, err), f.Close())
		}
		f.fibs[s.Node] = watched
		x, err := begin(&o, s, p.Hold, session)
		if err := f.add(s.Node, x, err); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// add notes a process that was started, or partly so.
func (f *Fleet) add(name string, x process, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x != nil {
		f.running[name] = x
	}
	if err != nil {
		return fmt.Errorf("speaker of %s: %w", name, err)
	}
	return nil
}

// changed tells of a session.
func (f *Fleet) changed(tell func(Change), c Change) {
	f.telling.Lock()
	defer f.telling.Unlock()
	if tell != nil {
		tell(c)
	}
}

// Settled waits until every router's kernel has what the plan says, and nothing
// else that it learned. The error names the first route that it has not, or a
// speaker that has ended and will never learn it.
func (f *Fleet) Settled(ctx context.Context) error { return f.until(ctx, f.differs) }

// until waits until nothing differs.
func (f *Fleet) until(ctx context.Context, differs func() error) error {
	late := time.Now().Add(settleLimit)
	for {
		err := differs()
		if err == nil {
			return nil
		}
		if node := f.lost(); node != "" {
			return fmt.Errorf("the speaker of %s has ended before routing had settled: %w", node, err)
		}
		if time.Now().After(late) {
			return fmt.Errorf("routing has not settled after %v: %w", settleLimit, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(settlePoll):
		}
	}
}

const (
	settleLimit = time.Minute
	settlePoll  = 10 * time.Millisecond
)

// lost is a router whose speaker has ended, if there is one.
func (f *Fleet) lost() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for node, x := range f.running {
		select {
		case <-x.over():
			return node
		default:
		}
	}
	return ""
}

func (f *Fleet) differs() error {
	for i := range f.plan.Speakers {
		s := &f.plan.Speakers[i]
		n, _ := f.plan.Node(s.Node)
		want := map[string]string{}
		for _, r := range n.Routes {
			if !r.Learned {
				continue
			}
			want[r.To.String()] = s.Sessions[s.By(r.Hops[0].Via)].Node
		}
		if err := f.fibs[s.Node].differs(want); err != nil {
			return fmt.Errorf("%s: %w", s.Node, err)
		}
	}
	return nil
}

// Announce makes these the origins of a router from now on.
func (f *Fleet) Announce(node string, origins []bgp.Origin) error {
	f.mu.Lock()
	x := f.running[node]
	f.mu.Unlock()
	if x == nil {
		return fmt.Errorf("%s speaks no BGP", node)
	}
	if err := x.announce(origins); err != nil {
		return fmt.Errorf("speaker of %s: %w", node, err)
	}
	return nil
}

// Routes are what a router's kernel has learned: neighbours by prefix.
func (f *Fleet) Routes(node string) map[string]string {
	if b := f.fibs[node]; b != nil {
		return b.routes()
	}
	return nil
}

// Pids are the speakers' processes, by node.
func (f *Fleet) Pids() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]int{}
	for node, x := range f.running {
		all[node] = x.pid()
	}
	return all
}

// Close ends all speakers. It is idempotent.
func (f *Fleet) Close() error {
	f.mu.Lock()
	running := f.running
	f.running = map[string]process{}
	f.mu.Unlock()
	errs := make(chan error, len(running))
	// What a router still learns while others go is nobody's concern.
	for _, b := range f.fibs {
		b.close()
	}
	for node, x := range running {
		go func() {
			err := x.stop()
			if err != nil {
				err = fmt.Errorf("speaker of %s: %w", node, err)
			}
			errs <- err
		}()
	}
	var all error
	for range running {
		all = errors.Join(all, <-errs)
	}
	return all
}
