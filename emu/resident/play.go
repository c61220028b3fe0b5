package resident

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// play is the file's faults of one round of traffic.
type play struct {
	k    *keeper
	lab  *run.Lab
	wait sync.WaitGroup

	mu   sync.Mutex
	mine []*broken // those that the round began
	errs []error
}

// begin has the file's faults happen at their times, counted from start, until
// ctx ends. What is broken already is left to who broke it.
func (p *play) begin(ctx context.Context, start time.Time) {
	for _, f := range p.lab.Plan().Faults {
		p.wait.Go(func() {
			if !sleep(ctx, start.Add(f.At.D())) {
				return
			}
			b, err := p.k.once(p.lab, f.Fault)
			p.mu.Lock()
			if b != nil {
				p.mine = append(p.mine, b)
			}
			if err != nil {
				p.errs = append(p.errs, fmt.Errorf("fault %s: %w", f.ID, err))
			}
			p.mu.Unlock()
			if f.For > 0 {
				sleep(ctx, start.Add(f.At.D()+f.For.D()))
			}
		})
	}
}

// once has a fault happen unless it is broken already, which the time line tells.
func (k *keeper) once(lab *run.Lab, f spec.Fault) (*broken, error) {
	k.damage.mu.Lock()
	defer k.damage.mu.Unlock()
	if k.damage.has(f.ID) {
		k.store.Event(record.Event{AtNs: time.Since(k.began).Nanoseconds(), Node: f.On, Kind: "step", Fault: f.ID, Text: "it is broken already, by hand: traffic leaves it so"})
		return nil, nil
	}
	return k.happen(lab, f, "")
}

// end waits for the last fault, and mends what the round broke and nobody has
// mended: without `for` a fault lasts as long as the traffic, as in a run.
func (p *play) end() error {
	p.wait.Wait()
	for _, b := range p.mine {
		if p.k.damage.forget(b) {
			p.errs = append(p.errs, p.lab.Mend(b.handle, ""))
		}
	}
	return errors.Join(p.errs...)
}

// sleep is false if ctx ends first.
func sleep(ctx context.Context, until time.Time) bool {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
