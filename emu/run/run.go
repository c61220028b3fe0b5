// Package run turns a plan into a lab, sends its traffic, and writes what
// happened as records.
//
// It joins what four kinds of witnesses saw: clients (was the answer mine?),
// origins (what address asked?), taps (whose reply was on whose wire?) and
// servers (which session, which hand-over, why dropped?). It judges no check.
// Its law: a run ends with every record written or an error, and with nothing
// of the lab left.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/emu/capture"
	"github.com/homeward-lab/homeward/emu/cpe"
	"github.com/homeward-lab/homeward/emu/fault"
	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/emu/thread"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Dataplane is what the lab's servers are.
type Dataplane string

const (
	// Hub is the Go hub on every packet: the zero value's meaning.
	Hub Dataplane = "hub"
	// EBPF is that hub, whose flows a program in the kernel carries once they are
	// set up.
	EBPF Dataplane = "ebpf"
	// NFTables is no server of ours at all, but what Options.Script makes of the
	// kernel's own parts: the baseline.
	NFTables Dataplane = "nftables"
)

// agents is what agents call it.
func (d Dataplane) agents() agent.Dataplane {
	if d == EBPF {
		return agent.EBPF
	}
	return agent.Hub
}

// Engine is the engine's name in results.
func (d Dataplane) Engine() string { return "emu-" + string(cmp.Or(d, Hub)) }

// Options say how to run. Only AgentArgs is required, and PumpArgs for a plan
// with impaired links.
type Options struct {
	// Exe is the program that serves as an agent when called with AgentArgs;
	// empty means this one.
	Exe       string
	AgentArgs []string
	// PumpArgs have the same program serve as the pump of impaired links.
	PumpArgs []string
	// Wire is who has impaired links do what they are asked to; empty means Pump.
	Wire WireEngine
	// Dataplane is what servers are; empty means Hub.
	Dataplane Dataplane
	// Script is what makes servers and edges of NFTables, with a node's name as
	// its argument.
	Script []byte
	// SpeakerArgs have the same program speak BGP for a router, and Speaker is who
	// does; empty means GoBGP, which is in the program.
	SpeakerArgs []string
	Speaker     speaker.Kind
	// IO is how servers and branches send; empty means the best that works here.
	IO agent.IO
	// FirstArgs make Exe the first process of a namespace of processes in which a
	// host's own program runs (emu/first); empty starts that directly.
	FirstArgs []string
	// Capture is the file that the last packets of the whole lab are written
	// to; empty means none is made.
	Capture string
	// Evidence is the directory that flow tables and logs are written to when the
	// traffic is over (record.Evidence); empty means none are.
	Evidence string
	// Versions go into run.json beside those of Go and the kernel.
	Versions map[string]string
	// Unwatched does without taps, which cost every packet something: nobody sees
	// then whose reply went where. It is for benches.
	Unwatched bool
	// Peer lets EBPF pass by the queues of servers' links, which must be plain
	// wires then; what leaves a server is seen at the other end alone.
	Peer bool
	// Turn, if not nil, is called when the lab is up, and its traffic begins when that
	// returns. What it returned is called when the traffic is over and the servers have
	// stopped, and the lab goes down when that returns. So labs beside each other have
	// none of them come up or go down, which takes all that a machine has, during the
	// traffic of another.
	Turn func(ctx context.Context) (over func())
	// Keep, if not nil, is called when the traffic is over and the lab still
	// up; the lab goes down when it returns.
	Keep func(ctx context.Context, doors []Door)
}

// Door is the way into a node of a running lab.
type Door struct {
	Node string
	Path string // of the namespace, for nsenter
	// Spawn starts a program inside; it ends with the lab at the latest
	// (keeper.Lab.Spawn).
	Spawn func(cmd *exec.Cmd) error
}

// StageFlows is the stage of progress in which traffic runs.
const StageFlows = "flows"

// settle is how long after the last flow the lab waits for what is still on
// its way: last acknowledgements, and replies to somebody else.
const settle = 300 * time.Millisecond

// lead is how long before traffic the clients open their first sockets.
const lead = 500 * time.Millisecond

// stopLimit bounds how long a server may take to write its last sessions.
const stopLimit = 20 * time.Second

// Run runs the plan on this machine and writes everything to sink. When ctx
// ends, what is known is written and marked as partial, and the error is ctx's cause.
func Run(ctx context.Context, p *plan.Plan, sink record.Sink, o Options) (err error) {
	if refused := Refused(p); len(refused) > 0 {
		return fmt.Errorf("%s: this engine cannot do it", refused[0].Word)
	}
	r := newRunner(p, sink, o)
	r.open = o.Keep != nil
	err = r.lifetime(ctx)
	r.manifest.WallMs = time.Since(r.start).Milliseconds()
	r.manifest.Partial = err != nil
	sink.Run(r.manifest)
	return err
}

// runner is one run.
type runner struct {
	plan    *plan.Plan
	sink    record.Sink
	options Options
	start   time.Time // instant 0 of all records
	base    int64     // the same moment by CLOCK_MONOTONIC, for other processes
	open    bool      // others than the plan may send through the lab

	key     host.Key
	journal *journal.Journal

	lab       *keeper.Lab
	raising   sync.Mutex     // while much is brought up at once: of closers, taps, connected and Features
	closers   []func() error // in reverse
	fleet     fleet
	faults    *fault.Engine
	faulted   []error // what went wrong with faults by themselves; the fleet's lock guards it
	store     *store
	branches  bpf.Branches // programs of all branch routers
	connected []attached
	onBegin   func(start time.Time) // told when traffic begins; may be nil
	first     time.Time             // start of the first traffic
	taps      map[string]*probe.Tap
	egress    []*probe.Egress // of each server, empty if nobody watches
	chooser   *cpe.Chooser    // nil where no router has a choice
	capture   *capture.Capture
	programs  []*program
	carrier   carrier // nil without impaired links
	meter     *pump.Meter
	speakers  *speaker.Fleet // nil where no router speaks BGP
	atRest    atomic.Bool    // routing was, once
	// relaying hears what customers' routers tell; nil before it can.
	relaying atomic.Pointer[fault.Engine]
	asked    asked
	spliced  spliced
	stood    stood    // servers that faults had stand still
	timed    bool     // some link has a delay or a rate: times count
	logs     lateLogs // of packets that come late in this process
	hostLogs lateLogs // of its clients and origins that do
	hands    hands

	manifest record.Run
}

func newRunner(p *plan.Plan, sink record.Sink, o Options) *runner {
	thread.Room()
	r := &runner{plan: p, sink: sink, options: o, start: time.Now(), base: monotonic(), taps: map[string]*probe.Tap{}, key: host.NewKey()}
	r.journal = journal.New(p, sink, r.start)
	r.asked.follow(p)
	r.timed = slices.ContainsFunc(p.Links, func(l plan.Link) bool { return l.Impaired() })
	for i := range p.Servers {
		r.fleet.owned = append(r.fleet.owned, journal.NewSlices(&p.Servers[i].Config))
	}
	if o.Dataplane == NFTables {
		r.plan = withTunnels(p)
	} else {
		r.fleet.room(len(p.Servers))
	}
	if !o.Unwatched {
		r.egress = make([]*probe.Egress, len(p.Servers))
	}
	delays := map[string]time.Duration{}
	for _, d := range p.Datacenters {
		delays[d.Name] = d.Propagation
	}
	r.store = newStore(delays, func(err error) { r.event(record.Event{Kind: "error", Text: err.Error()}) })
	r.manifest = record.Run{
		Engine: o.Dataplane.Engine(), Started: r.start, Versions: r.versions(), Features: map[string]string{"wire": "veth"},
		Metrics: record.Metrics{Servers: map[string]map[string]int64{}, Late: map[string]*record.Late{}, LateHosts: map[string]*record.Late{}},
	}
	describe(&r.manifest, p)
	return r
}

// describe has a manifest say what the plan is.
func describe(m *record.Run, p *plan.Plan) {
	m.Scenario, m.Variant, m.Title, m.Seed, m.Fingerprint = p.Scenario, p.Variant, p.Title, p.Seed, p.Fingerprint()
	m.Topology, m.Traffic, m.Blocks, m.Metrics.Config = journal.Topology(p), p.Traffic, journal.Blocks(p), p.Objects.ByKind()
}

// lifetime is up, traffic, collect, down. Down happens whatever else does.
func (r *runner) lifetime(ctx context.Context) (err error) {
	defer func() {
		began := time.Now()
		err = errors.Join(err, r.down())
		r.manifest.Metrics.DownMs = time.Since(began).Milliseconds()
		r.event(record.Event{Kind: "run", Text: "the lab is down"})
	}()
	r.event(record.Event{Kind: "run", Text: "bringing the lab up"})
	if err := r.up(ctx); err != nil {
		return err
	}
	r.manifest.Metrics.UpMs = time.Since(r.start).Milliseconds()
	r.event(record.Event{Kind: "run", Text: fmt.Sprintf("the lab is up: %d nodes, %d links", len(r.plan.Nodes), len(r.plan.Links))})

	over := func() {}
	if r.options.Turn != nil {
		over = r.options.Turn(ctx)
	}
	healed := func() error { return nil }
	r.onBegin = func(start time.Time) { healed = r.schedule(ctx, start) }
	sent := r.traffic(ctx, r.plan.Flows, func(done, total int) { r.sink.Progress(StageFlows, done, total) })
	broken := errors.Join(healed(), r.outlived())
	// Once the lab is kept, the end of ctx is the user's goodbye and no interruption.
	kept := r.options.Keep != nil && ctx.Err() == nil
	if kept {
		r.options.Keep(ctx, r.doors())
	}
	stopped := errors.Join(r.saveTables(), r.stop())
	_, collected := r.collect(sent)
	stopped = errors.Join(broken, stopped, collected)
	over() // from here on nothing counts what happens inside
	r.event(record.Event{Kind: "run", Text: "the lab goes down"})
	if err := errors.Join(r.saveLogs(), r.saveCapture()); err != nil {
		return errors.Join(stopped, err)
	}
	if !kept {
		stopped = errors.Join(stopped, context.Cause(ctx))
	}
	return stopped
}

// round is flows that were sent, and what their clients know of them.
type round struct {
	flows    []plan.Flow
	outcomes []host.Outcome
	began    time.Time
}

// traffic sends flows; tell is told how many are over.
func (r *runner) traffic(ctx context.Context, flows []plan.Flow, tell func(done, total int)) round {
	began := time.Now().Add(lead)
	r.journal.Begin(flows)
	r.event(record.Event{Kind: "traffic", Text: fmt.Sprintf("traffic begins: %d flows", len(flows))})
	starved := r.starving()
	breaks := r.begin(began)
	if r.onBegin != nil {
		r.onBegin(began)
	}
	var mu sync.Mutex
	done := 0
	tell(0, len(flows))
	waited := pressure(began)
	outcomes := host.Run(ctx, flows, host.Config{
		Namespace: r.lab.NS, Key: r.key, Base: began, Breaks: breaks, Late: r.lateHost,
		Done: func(int, host.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			done++
			tell(done, len(flows))
		},
	})
	r.manifest.Metrics.Waited = waited()
	r.event(record.Event{Kind: "traffic", Text: "traffic ends"})
	starved()
	select {
	case <-time.After(r.settling()):
	case <-ctx.Done():
	}
	return round{flows, outcomes, began}
}

// stop ends the servers, which write their last sessions, and the taps.
func (r *runner) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	r.store.close()
	var errs []error
	if r.faults != nil {
		errs = append(errs, r.faults.Close())
	}
	errs = append(errs, r.quieten())
	errs = append(errs, r.stopServers(ctx))
	r.lateInside()
	errs = append(errs, r.countScripted())
	for i, t := range r.egress {
		node := r.plan.Servers[i].Node
		errs = append(errs, r.slices(node, t.Count(), r.journal.LeftBy(node)))
	}
	errs = append(errs, r.faulted...)
	return errors.Join(append(errs, r.measure())...)
}

// stopServers ends the servers that are there, at once, and counts what they counted.
func (r *runner) stopServers(ctx context.Context) error {
	agents := r.fleet.all()
	finals, errs := make([]*agent.Final, len(agents)), make([]error, len(agents))
	var all sync.WaitGroup
	for i, a := range agents {
		is := r.fleet.condition(i)
		if is == stopped || is == killed {
			continue
		}
		all.Go(func() {
			if is == paused {
				errs[i] = a.Resume()
			}
			final, err := a.Stop(ctx)
			finals[i], errs[i] = &final, errors.Join(errs[i], err)
		})
	}
	all.Wait()
	for i, f := range finals {
		if f != nil {
			r.count(r.plan.Servers[i].Node, *f)
		}
	}
	return errors.Join(errs...)
}

// slices notes what the tap beside a server saw of its ports (SU-3). A tap that
// did not see every packet proves nothing: that is an error.
func (r *runner) slices(server string, c probe.EgressCount, flows int) error {
	r.manifest.Metrics.PortsSeen += c.Checked
	r.manifest.Metrics.PortOutsideSlice += c.Outside
	if c.Outside > 0 {
		r.event(record.Event{Kind: "error", Node: server, Count: c.Outside, Text: fmt.Sprintf("%d packets left with a port outside the server's slices, the first from %s", c.Outside, c.First)})
	}
	const unknown = "whether all left by their own slice is unknown"
	switch {
	case c.Dropped > 0:
		return fmt.Errorf("the tap beside %s missed %d packets: %s", server, c.Dropped, unknown)
	case c.Checked == 0 && flows > 0:
		return fmt.Errorf("the tap beside %s saw none of the packets of %d flows: %s", server, flows, unknown)
	}
	return nil
}

func (r *runner) count(server string, f agent.Final) {
	r.lateNode(server, &f.Late)
	m := Totals(f)
	for reason, n := range f.Drops {
		r.journal.Drops(server, reason, int64(n), r.since(time.Now()))
	}
	if r.manifest.Metrics.Servers[server] == nil {
		r.manifest.Metrics.Servers[server] = map[string]int64{}
	}
	for name, n := range m { // of all its lives
		r.manifest.Metrics.Servers[server][name] += n
	}
	r.manifest.Metrics.ReturnRouteLookups += m["route_lookups"]
	r.manifest.Metrics.MaxRSSKiB = max(r.manifest.Metrics.MaxRSSKiB, int64(f.MaxRSS)/1024)
}

// down closes everything in reverse order, the lab last.
func (r *runner) down() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}

func (r *runner) saveCapture() error {
	if r.capture == nil {
		return nil
	}
	return r.capture.WriteFile(r.options.Capture)
}

func (r *runner) doors() []Door {
	var all []Door
	for _, n := range r.plan.Nodes {
		all = append(all, Door{
			Node:  n.ID,
			Path:  fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.lab.NS(n.ID).Fd()),
			Spawn: func(cmd *exec.Cmd) error { return r.lab.Spawn(n.ID, cmd) },
		})
	}
	return all
}

// event writes e now, unless it says when.
func (r *runner) event(e record.Event) {
	if e.AtNs == 0 {
		e.AtNs = r.since(time.Now())
	}
	r.sink.Event(e)
}

func (r *runner) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Sub(r.start).Nanoseconds()
}

func (r *runner) versions() map[string]string {
	v := map[string]string{"go": runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		v["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	for name, version := range r.options.Versions {
		v[name] = version
	}
	return v
}

// monotonic is the machine's clock, the same in every process.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // cannot fail: the clock always exists
	}
	return ts.Nano()
}

// manyBranches is how many tunnels are carried in userspace unless something else is
// asked for: to bring the tunnels of very many up in the kernel takes longer than all
// else of their lab.
const manyBranches = 200

// branchIO is the branches' engine that goes with the servers'.
func branchIO(io agent.IO, branches int) branch.IO {
	switch io {
	case agent.IOPlain:
		return branch.IOPlain
	case agent.IOVnet:
		return branch.IOKernel
	}
	if branches > manyBranches {
		return branch.IOPlain
	}
	return branch.IOAuto
}
