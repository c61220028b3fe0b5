package run

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/fault"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// condition of a server, which faults change.
type condition int

const (
	running condition = iota
	paused
	stopped // in order: its counters are counted
	killed  // with what it knew
)

// fleet is the servers of a lab, as faults leave them. Safe for concurrent use.
type fleet struct {
	mu     sync.Mutex
	agents []*agent.Agent
	is     []condition
	// configs are those in force, or that will be when a server runs again.
	configs []hub.Config
	// lives counts how often a server began.
	lives []uint64
	// owned are the ports that each may send from, for the taps beside them.
	owned []*journal.Slices
}

// all are the servers' processes, the latest of each.
func (f *fleet) all() []*agent.Agent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.agents)
}

// room makes room for n servers.
func (f *fleet) room(n int) {
	f.agents, f.is, f.configs, f.lives = make([]*agent.Agent, n), make([]condition, n), make([]hub.Config, n), make([]uint64, n)
}

func (f *fleet) add(i int, a *agent.Agent, c hub.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.agents[i], f.is[i], f.configs[i], f.lives[i] = a, running, c, 1
}

func (f *fleet) condition(i int) condition {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.is[i]
}

// configure puts a configuration in force on a server that runs.
func (f *fleet) configure(ctx context.Context, i int, c hub.Config) error {
	f.mu.Lock()
	a, was := f.agents[i], f.configs[i]
	c.Epoch, c.Life = was.Epoch+1, was.Life
	f.configs[i] = c
	f.mu.Unlock()
	f.owned[i].Change(&c)
	err := a.Reconfigure(ctx, c)
	if err != nil {
		f.mu.Lock()
		f.configs[i] = was
		f.mu.Unlock()
		f.owned[i].Change(&was)
	}
	f.owned[i].Changed(time.Now())
	return err
}

// learn passes news on to a server, unless it is not there to learn.
func (f *fleet) learn(i int, news []hub.Attachment) error {
	f.mu.Lock()
	a, is := f.agents[i], f.is[i]
	f.mu.Unlock()
	if is == stopped || is == killed {
		return nil
	}
	return a.Learn(news)
}

// configLimit bounds how long a server may take to put a configuration in force.
const configLimit = 30 * time.Second

// faulty is the runner as the faults see it (fault.Lab).
type faulty struct{ r *runner }

// NS implements fault.Lab.
func (l faulty) NS(node string) *netns.NS { return l.r.lab.NS(node) }

// Event implements fault.Lab.
func (l faulty) Event(e record.Event) {
	e.By = l.r.hands.of(e.Fault)
	l.r.event(e)
}

// Degrade implements fault.Lab.
func (l faulty) Degrade(link string, d impair.Direction, c *impair.Config) error {
	return l.r.degrade(link, d, c)
}

// change has a server that is in one of the conditions be in another, by do.
func (l faulty) change(server string, from []condition, to condition, do func(i int) error) error {
	i := slices.IndexFunc(l.r.plan.Servers, func(s plan.Server) bool { return s.Node == server })
	if i < 0 {
		return fmt.Errorf("no server %q", server)
	}
	f := &l.r.fleet
	is := f.condition(i)
	if !slices.Contains(from, is) {
		return fmt.Errorf("server %s is paused, stopped or killed already, or runs", server)
	}
	if err := do(i); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.is[i] = to
	return nil
}

// Pause implements fault.Lab.
func (l faulty) Pause(server string) error {
	return l.change(server, []condition{running}, paused, func(i int) error {
		l.r.stood.begin(server, l.r.since(time.Now()))
		return l.r.fleet.all()[i].Pause()
	})
}

// Resume implements fault.Lab.
func (l faulty) Resume(server string) error {
	err := l.change(server, []condition{paused}, running, func(i int) error { return l.r.fleet.all()[i].Resume() })
	if err != nil {
		return err
	}
	l.r.stood.end(server, l.r.since(time.Now()))
	return l.Reconfigure(nil)
}

// Kill implements fault.Lab.
func (l faulty) Kill(server string) error {
	return l.change(server, []condition{running}, killed, func(i int) error {
		l.r.fleet.all()[i].Kill()
		n := l.r.journal.Lose(server, "the server was killed", l.r.since(time.Now()))
		l.r.manifest.Metrics.Lost = append(l.r.manifest.Metrics.Lost, server)
		l.r.event(record.Event{Node: server, Kind: "lost", Count: int64(n), Text: fmt.Sprintf("its counters and the ends of %d sessions are unknown", n)})
		return nil
	})
}

// Stop implements fault.Lab.
func (l faulty) Stop(server string) error {
	return l.change(server, []condition{running}, stopped, func(i int) error {
		ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
		defer cancel()
		final, err := l.r.fleet.all()[i].Stop(ctx)
		l.r.count(server, final)
		return err
	})
}

// Revive implements fault.Lab.
func (l faulty) Revive(server string) error {
	var id ident.Server
	err := l.change(server, []condition{stopped, killed}, running, func(i int) error {
		f := &l.r.fleet
		f.mu.Lock()
		f.lives[i]++
		s := l.r.plan.Servers[i]
		// So that no session of this life is taken for one of another.
		f.configs[i].Life = f.lives[i]
		s.Config = f.configs[i]
		f.mu.Unlock()
		a, err := l.r.serve(i, s)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.agents[i] = a
		f.mu.Unlock()
		id = s.Config.Self
		return nil
	})
	if err == nil {
		l.r.store.restart(id)
	}
	return err
}

// Sessions implements fault.Lab.
func (l faulty) Sessions(server string) ([]hub.Session, error) {
	i := slices.IndexFunc(l.r.plan.Servers, func(s plan.Server) bool { return s.Node == server })
	if i < 0 || l.r.fleet.condition(i) != running {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), configLimit)
	defer cancel()
	look, err := l.r.fleet.all()[i].Look(ctx)
	return look.Sessions, err
}

// Reconfigure implements fault.Lab. Without a change it puts in force what a
// server missed. All that it changes something for learn at once, and wait for no other.
func (l faulty) Reconfigure(change func(*hub.Config)) error {
	f := &l.r.fleet
	f.mu.Lock()
	changed := make([]bool, len(f.configs))
	for i := range f.configs {
		c := &f.configs[i]
		if changed[i] = change == nil; changed[i] {
			continue
		}
		was := *c
		if change(c); !reflect.DeepEqual(was, *c) {
			c.Epoch++
			changed[i] = true
		}
	}
	agents, is, configs := slices.Clone(f.agents), slices.Clone(f.is), slices.Clone(f.configs)
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), configLimit)
	defer cancel()
	errs := make([]error, len(agents))
	var all sync.WaitGroup
	for i, a := range agents {
		if !changed[i] {
			continue
		}
		if change != nil {
			f.owned[i].Change(&configs[i])
		}
		all.Go(func() {
			if is[i] == running {
				errs[i] = a.Reconfigure(ctx, configs[i])
			}
			if is[i] != paused { // which may yet send as before
				f.owned[i].Changed(time.Now())
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// breakable makes the engine of faults.
func (r *runner) breakable() {
	r.faults = fault.New(r.plan, faulty{r}, func(err error) {
		r.fleet.mu.Lock()
		defer r.fleet.mu.Unlock()
		r.faulted = append(r.faulted, err)
	})
	r.relaying.Store(r.faults)
	r.closers = append(r.closers, r.faults.Close)
}

// schedule has the plan's faults happen from the start of traffic on. The
// function returned waits until all that have an end have healed.
func (r *runner) schedule(ctx context.Context, start time.Time) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- r.faults.Run(ctx, r.plan.Faults, start) }()
	return func() error { return <-done }
}
