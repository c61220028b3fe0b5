package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	// lead is how long before its instant a flow's socket is opened and bound,
	// so that at the instant nothing is left but to send.
	lead = 250 * time.Millisecond
	// batch is how many sockets are opened for one round of namespaces entered.
	batch = 256
)

// runner is one call of Run.
type runner struct {
	cfg      Config
	flows    []plan.Flow
	outcomes []Outcome
	slots    chan struct{}
	signers  sync.Pool // *signer
	buffers  buffers
	running  sync.WaitGroup
}

// Run starts each flow at its planned instant, and returns when all are over:
// outcome i is flow i's. When ctx ends, flows that are not over become errors.
func Run(ctx context.Context, flows []plan.Flow, cfg Config) []Outcome {
	if cfg.MaxLive <= 0 {
		cfg.MaxLive = maxLive()
	}
	r := &runner{
		cfg:      cfg,
		flows:    flows,
		outcomes: make([]Outcome, len(flows)),
		slots:    make(chan struct{}, cfg.MaxLive),
	}
	r.signers.New = func() any { return newSigner(cfg.Key) }
	order := make([]int, len(flows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(flows[a].Start, flows[b].Start) })
	for len(order) > 0 {
		n := r.admit(ctx, order)
		if n == 0 {
			break
		}
		r.launch(ctx, order[:n])
		order = order[n:]
	}
	for _, i := range order {
		r.finish(i, r.unstarted(i, ctx.Err()))
	}
	r.running.Wait()
	return r.outcomes
}

// maxLive leaves two thirds of the free descriptors to the origins' ends of the
// same flows and to whatever else begins meanwhile.
func maxLive() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	free := lim.Cur
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		free -= min(free, uint64(len(open)))
	}
	return int(min(max(free/3, 16), 8192))
}

// admit waits until the first flow's time and a slot are near, and returns how
// many flows have both; 0 when ctx is done.
func (r *runner) admit(ctx context.Context, order []int) int {
	if !sleep(ctx, r.at(order[0]).Add(-lead)) {
		return 0
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	horizon := time.Now().Add(lead)
	for n := 1; n < min(batch, len(order)); n++ {
		if r.at(order[n]).After(horizon) {
			return n
		}
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
	return min(batch, len(order))
}

func (r *runner) at(i int) time.Time { return r.cfg.Base.Add(r.flows[i].Start) }

// launch opens the sockets, entering each client's namespace once, and starts
// one goroutine per flow.
func (r *runner) launch(ctx context.Context, round []int) {
	byClient := slices.Clone(round)
	slices.SortStableFunc(byClient, func(a, b int) int { return cmp.Compare(r.flows[a].Client, r.flows[b].Client) })
	for len(byClient) > 0 {
		client := r.flows[byClient[0]].Client
		n := slices.IndexFunc(byClient, func(i int) bool { return r.flows[i].Client != client })
		if n < 0 {
			n = len(byClient)
		}
		fds, errs := r.openAll(client, byClient[:n])
		for k, i := range byClient[:n] {
			if errs[k] != nil {
				r.finish(i, r.unstarted(i, errs[k]))
				<-r.slots
				continue
			}
			r.running.Go(func() {
				r.finish(i, r.one(ctx, i, fds[k]))
				<-r.slots
			})
		}
		byClient = byClient[n:]
	}
}

func (r *runner) openAll(client string, flows []int) (fds []int, errs []error) {
	fds, errs = make([]int, len(flows)), make([]error, len(flows))
	fail := func(err error) {
		for k := range errs {
			errs[k] = err
		}
	}
	ns := r.cfg.Namespace(client)
	if ns == nil {
		fail(fmt.Errorf("no namespace for %s", client))
		return fds, errs
	}
	err := ns.Do(func() error {
		for k, i := range flows {
			fds[k], errs[k] = open(&r.flows[i])
		}
		return nil
	})
	if err != nil { // before f ran: nothing is open
		fail(err)
	}
	return fds, errs
}

// one runs flow i on fd, which it takes over.
func (r *runner) one(ctx context.Context, i, fd int) Outcome {
	f := &r.flows[i]
	if !sleep(ctx, r.at(i)) {
		unix.Close(fd)
		return r.unstarted(i, ctx.Err())
	}
	asked := time.Now()
	f, o := r.find(ctx, f)
	if o.Result != "" {
		unix.Close(fd)
		o.End, o.Late = time.Now(), max(o.Start.Sub(r.at(i)), 0)
		return o
	}
	s := r.signers.Get().(*signer)
	defer r.signers.Put(s)
	if f.Proto == plan.TCP {
		buf, put := r.buffers.get(int64(max(f.Request, f.Response)))
		defer put()
		o = r.untilBreak(ctx, f, func(ctx context.Context) Outcome { return tcp(ctx, f, fd, s, buf, time.Now(), r.late(f)) })
	} else {
		o = datagrams(ctx, f, fd, s, time.Now(), r.late(f))
	}
	if o.End.IsZero() { // else the client waited on, with the result known
		o.End = time.Now()
	}
	if o.Flow = f; f.Query != nil {
		o.Found, o.Start = o.Start.Sub(asked), asked
	}
	o.Late = max(o.Start.Sub(r.at(i)), 0)
	return o
}

// late is what a flow tells what its client does late.
func (r *runner) late(f *plan.Flow) func(due time.Time) {
	return func(due time.Time) { r.cfg.Late.due(f.Client, due) }
}

var errBroken = errors.New("its client's tunnel began anew")

// untilBreak runs a flow until its client breaks it off, if that comes first.
func (r *runner) untilBreak(ctx context.Context, f *plan.Flow, run func(context.Context) Outcome) Outcome {
	now := time.Now()
	for _, b := range r.cfg.Breaks[f.Client] {
		at := r.cfg.Base.Add(b)
		if at.Before(now) {
			continue
		}
		ctx, cancel := context.WithDeadlineCause(ctx, at, errBroken)
		defer cancel()
		o := run(ctx)
		if context.Cause(ctx) == errBroken {
			o.Result, o.Reason, o.End = record.Reset, errBroken.Error(), time.Now()
		}
		return o
	}
	return run(ctx)
}

func (r *runner) unstarted(i int, err error) Outcome {
	now := time.Now()
	o := Outcome{Result: record.Failed, Reason: "interrupted before it started", Start: r.at(i), End: now}
	if err != nil && err != context.Canceled && err != context.DeadlineExceeded {
		o.Reason = err.Error()
	}
	return o
}

func (r *runner) finish(i int, o Outcome) {
	r.outcomes[i] = o
	if r.cfg.Done != nil {
		r.cfg.Done(i, o)
	}
}

// sleep until t; false if ctx is done first.
func sleep(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
