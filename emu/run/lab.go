package run

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Lab is a plan that is up, for as long as its owner wants: Run in pieces. Its
// methods are safe for concurrent use.
type Lab struct {
	r *runner

	// busy is held while traffic runs: witnesses tell one round at a time.
	busy   sync.Mutex
	rounds uint64
	// flows, sources and ports of the plan may change while the lab is up.
	mu   sync.Mutex
	plan *plan.Plan
}

// Up brings the plan up and sends nothing. On an error nothing of it is left.
func Up(ctx context.Context, p *plan.Plan, sink record.Sink, o Options) (*Lab, error) {
	if refused := Refused(p); len(refused) > 0 {
		return nil, fmt.Errorf("%s: this engine cannot do it", refused[0].Word)
	}
	r := newRunner(p, sink, o)
	r.open = true
	if err := r.up(ctx); err != nil {
		return nil, errors.Join(err, r.down())
	}
	r.manifest.Metrics.UpMs = time.Since(r.start).Milliseconds()
	r.event(record.Event{Kind: "run", Text: fmt.Sprintf("the lab is up: %d nodes, %d links", len(p.Nodes), len(p.Links))})
	return &Lab{r: r, plan: p}, nil
}

// Down ends the servers, which write their last sessions, and takes everything
// down. It returns when all of it is gone.
func (l *Lab) Down() error { return errors.Join(l.r.stop(), l.r.down()) }

// Plan is what the lab is now; it is not to be changed.
func (l *Lab) Plan() *plan.Plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.plan
}

// NS is the namespace of a node, nil if there is no such node.
func (l *Lab) NS(node string) *netns.NS { return l.r.lab.NS(node) }

// Spawn starts a program inside a node (keeper.Lab.Spawn).
func (l *Lab) Spawn(node string, cmd *exec.Cmd) error { return l.r.lab.Spawn(node, cmd) }

// UpMs is how long it took to bring the lab up.
func (l *Lab) UpMs() int64 { return l.r.manifest.Metrics.UpMs }

// ReapOrphans is keeper.Lab.ReapOrphans.
func (l *Lab) ReapOrphans() { l.r.lab.ReapOrphans() }

// TrafficError says that the file has no such traffic.
type TrafficError struct {
	ID  string
	Has []string
}

// Error names what there is.
func (e *TrafficError) Error() string {
	return fmt.Sprintf("no traffic %q (there is: %s)", e.ID, strings.Join(e.Has, ", "))
}

// Round says which flows are sent.
type Round struct {
	// IDs of traffic; none means all.
	IDs []string
	// Begin, if not nil, is told when the traffic starts, shortly before.
	Begin func(start time.Time)
	// Progress, if not nil, is told how many flows are over, one call at a time.
	Progress func(done, total int)
}

// Traffic sends flows now, and returns what became of each. Every round has nonces of its own, so that a late
// reply of an earlier one is nobody's. Rounds wait for each other.
func (l *Lab) Traffic(ctx context.Context, round Round) ([]record.Flow, error) {
	p := l.Plan()
	for _, id := range round.IDs {
		if !slices.Contains(p.Traffic, id) {
			return nil, &TrafficError{id, p.Traffic}
		}
	}
	l.busy.Lock()
	defer l.busy.Unlock()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var flows []plan.Flow
	for _, f := range p.Flows {
		if len(round.IDs) == 0 || slices.Contains(round.IDs, f.Traffic) {
			f.Nonce ^= l.rounds << roundShift
			flows = append(flows, f)
		}
	}
	l.rounds++
	for _, t := range l.r.taps {
		t.Forget()
	}
	if err := l.forgetHalves(p); err != nil {
		return nil, err
	}
	tell := round.Progress
	if tell == nil {
		tell = func(int, int) {}
	}
	l.r.onBegin = round.Begin
	_ = l.r.watching() // what was between rounds is nobody's concern
	sent := l.r.traffic(ctx, flows, tell)
	broken := l.r.watching()
	_, late := l.Look(ctx) // and so has every server's account
	lines, err := l.r.collect(sent)
	return lines, errors.Join(err, broken, late, context.Cause(ctx))
}

// forgetHalves ends what an earlier round has left half open: its flows may ask
// again with the same ports.
func (l *Lab) forgetHalves(p *plan.Plan) error {
	done := map[string]bool{}
	for i := range p.Services {
		node := p.Services[i].Node
		if done[node] {
			continue
		}
		done[node] = true
		if err := host.DropHalfOpen(l.r.lab.NS(node)); err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
	}
	return nil
}

// roundShift puts the number of the round where it meets few bits of a plan's nonces.
const roundShift = 40

// lookLimit bounds the wait for a server's account of itself.
const lookLimit = 20 * time.Second

// Look asks every server, by node, but for those that a fault has paused,
// stopped or killed. Of a server that is gone by itself or does not answer the
// error says so, and the others are told all the same.
func (l *Lab) Look(ctx context.Context) (map[string]agent.Look, error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	agents := l.r.fleet.all()
	looks := make([]agent.Look, len(agents))
	errs := make([]error, len(looks))
	var wait sync.WaitGroup
	asked := make([]bool, len(agents))
	for i, a := range agents {
		if asked[i] = l.r.fleet.condition(i) == running; asked[i] {
			wait.Go(func() { looks[i], errs[i] = a.Look(ctx) })
		}
	}
	wait.Wait()
	out := map[string]agent.Look{}
	for i := range looks {
		if asked[i] && errs[i] == nil {
			out[l.r.plan.Servers[i].Node] = looks[i]
		}
	}
	return out, errors.Join(errs...)
}

// Sessions writes a server's live sessions as records, the oldest first.
func (l *Lab) Sessions(server string, live []hub.Session) []record.Session {
	out := make([]record.Session, 0, len(live))
	for i := range live {
		out = append(out, l.r.journal.Session(server, &live[i]))
	}
	slices.SortStableFunc(out, func(a, b record.Session) int { return int(a.StartNs - b.StartNs) })
	return out
}

// Manifest is the lab's run.json so far, with the totals of the servers that
// answer.
func (l *Lab) Manifest(ctx context.Context) record.Run {
	l.r.raising.Lock()
	m := l.r.manifest
	l.r.raising.Unlock()
	describe(&m, l.Plan()) // which Apply may have changed
	m.WallMs = time.Since(l.r.start).Milliseconds()
	m.Metrics.Servers, m.Metrics.ReturnRouteLookups = map[string]map[string]int64{}, 0
	m.Metrics.PortsSeen, m.Metrics.PortOutsideSlice = 0, 0
	looks, err := l.Look(ctx)
	var unknown error
	m.Metrics.Wires, unknown = l.r.measured()
	m.Partial = err != nil || unknown != nil
	for i, s := range l.r.plan.Servers {
		ports := l.r.egress[i].Count()
		m.Metrics.PortsSeen, m.Metrics.PortOutsideSlice = m.Metrics.PortsSeen+ports.Checked, m.Metrics.PortOutsideSlice+ports.Outside
		if look, ok := looks[s.Node]; ok {
			m.Metrics.Servers[s.Node] = Totals(look.Final)
			m.Metrics.ReturnRouteLookups += m.Metrics.Servers[s.Node]["route_lookups"]
		}
	}
	return m
}

// Lost are the servers whose process has ended, and the hosts whose program has
// failed, each with why.
func (l *Lab) Lost() map[string]error {
	lost := map[string]error{}
	for i, a := range l.r.fleet.all() {
		select {
		case <-a.Done():
			lost[l.r.plan.Servers[i].Node] = a.Err()
		default:
		}
	}
	for _, p := range l.r.programs {
		if how, failed := p.lost(); failed {
			lost[p.node] = errors.New(how)
		}
	}
	return lost
}

// Pids are the servers' processes, by node.
func (l *Lab) Pids() map[string]int {
	pids := map[string]int{}
	for i, a := range l.r.fleet.all() {
		pids[l.r.plan.Servers[i].Node] = a.Pid()
	}
	return pids
}

// Logs are what servers have said on stderr, and hosts' programs at all, by node.
func (l *Lab) Logs() map[string]string {
	logs := map[string]string{}
	for i, a := range l.r.fleet.all() {
		logs[l.r.plan.Servers[i].Node] = a.Log()
	}
	for _, p := range l.r.programs {
		logs[p.node] = p.said.String()
	}
	return logs
}

// Totals names a server's counters, drops and driver's counts as run.json does.
func Totals(f agent.Final) map[string]int64 {
	m := journal.Counters(f.Counters)
	for reason, n := range f.Drops {
		m[journal.CounterOfDrop(reason)] = int64(n)
	}
	for name, n := range f.IO {
		m["io."+name] = int64(n)
	}
	return m
}
