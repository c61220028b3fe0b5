package simbench

import (
	"context"
	"runtime"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/engine"
)

const (
	holdPending = 100_000
	holdEvents  = 2_000_000
)

// holder is the hold model: as many events as there are wait, each that happens
// schedules another. ns3/ns3.cc has the same, with the same chance.
type holder struct {
	engine *engine.Engine
	x      uint64
	left   int
}

func newHolder(pending, events int) *holder {
	h := &holder{engine: engine.New(engine.Options{}), x: 1, left: events}
	for range pending {
		h.engine.At(h.gap(), 0, 0, 0, 0)
	}
	return h
}

// gap is up to about a millisecond.
func (h *holder) gap() vt.Instant {
	h.x = h.x*6364136223846793005 + 1442695040888963407
	return 1 + vt.Instant(h.x>>44)
}

// Handle implements engine.World.
func (h *holder) Handle(ev engine.Event) {
	if h.left > 0 {
		h.left--
		h.engine.At(ev.At+h.gap(), 0, 0, 0, 0)
	}
}

// hold is the queue of events beside ns-3's default one.
func (b *Bench) hold(ctx context.Context, judge *Judge) ([]figure.Row, error) {
	pending, events := b.work(holdPending), b.work(holdEvents)
	var own, other []float64
	equal := true
	for range b.Rounds {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		h := newHolder(pending, events)
		took, err := timed(func() error { return h.engine.Run(h, engine.Horizon) })
		if err != nil {
			return nil, err
		}
		n := h.engine.Handled()
		own = append(own, float64(took)/float64(n))
		if judge.Absent != "" {
			continue
		}
		got, err := judge.Run(ctx, "hold", pending, events)
		if err != nil {
			return nil, err
		}
		other = append(other, float64(got["cpu_ns"])/float64(got["events"]))
		equal = equal && got["events"] == n && got["last"] == uint64(h.engine.Now())
	}
	row := beside(figure.Cost("sim.hold1e5_vs_ns3", median(own), "ns"), judge, other, goalHold, equal)
	memory := figure.Cost("sim.hold1e5_bytes", allocated(newHolder(pending, events), events), "bytes")
	return []figure.Row{row, memory.Bound(goalEventBytes)}, nil
}

// allocated are the bytes per event of a queue that is warm, over half of the
// events.
func allocated(h *holder, events int) float64 {
	var before, after runtime.MemStats
	_, _ = h.engine.Steps(h, engine.Horizon, uint64(events/2))
	runtime.ReadMemStats(&before)
	_, _ = h.engine.Steps(h, engine.Horizon, uint64(events/2))
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(events/2)
}
