package hubbench

import (
	"context"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/reports/figure"
)

const (
	rounds       = 15 // medians of so many, interleaved
	roundBatches = 64
	small        = 1000
	large        = 1 << 20
	// Goals, at a thousand flows.
	goalHit    = 150
	goalAllocs = 0
	baseline   = "plain look-up"
)

// Run measures the hub at a thousand and at a million flows. Ids with _1m are of
// the latter, and there a flow's memory is measured too. Of IPv6, ids with a 6,
// it measures live flows alone: the rest is the same.
func Run(ctx context.Context) ([]figure.Row, error) {
	var rows []figure.Row
	for _, six := range []bool{false, true} {
		for _, at := range []struct {
			flows  int
			suffix string
		}{{small, ""}, {large, "_1m"}} {
			more, err := measure(ctx, at.flows, at.suffix, six)
			if err != nil {
				return rows, err
			}
			rows = append(rows, more...)
		}
	}
	return rows, nil
}

// path is one kind of packet to measure.
type path struct {
	id   string
	fill func()
	run  func()
	// right reports whether the counters moved as they should for n packets.
	right func(before, after hub.Counters, n uint64) bool
	took  []time.Duration
}

func measure(ctx context.Context, flows int, suffix string, six bool) ([]figure.Row, error) {
	l, err := NewLoad(flows, six)
	if err != nil {
		return nil, err
	}
	all := func() { l.Run(Batch) }
	found := 0
	paths := []*path{
		{id: "lookup", fill: l.Hits, run: func() { found += l.Lookups() }},
		{id: "hit", fill: l.Hits, run: all, right: func(b, a hub.Counters, n uint64) bool {
			return a.Forwarded-b.Forwarded == n && a.FlowsStarted == b.FlowsStarted
		}},
		{id: "return", fill: l.Returns, run: all, right: func(b, a hub.Counters, n uint64) bool { return a.Returned-b.Returned == n }},
		{id: "miss", fill: l.Misses, run: all, right: func(b, a hub.Counters, n uint64) bool { return a.FlowsStarted-b.FlowsStarted == n }},
		{id: "drop", fill: l.Drops, run: all, right: func(b, a hub.Counters, n uint64) bool {
			return a.Drops[drop.NoFlow]-b.Drops[drop.NoFlow] == n
		}},
	}
	if six {
		paths = paths[:3]
	}
	equal := make([]bool, len(paths))
	for i := range equal {
		equal[i] = true
	}
	for range rounds {
		for i, p := range paths {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			before := l.Hub.Counters()
			p.took = append(p.took, round(p))
			if p.right != nil && !p.right(before, l.Hub.Counters(), roundBatches*Batch) {
				equal[i] = false
			}
		}
	}
	equal[1] = equal[1] && l.sound()
	equal[0] = found == rounds*roundBatches*Batch
	rows := rowsOf(paths, equal, allocations(l), six, suffix)
	if flows == large {
		rows = append(rows, l.memory(six))
	}
	return rows, nil
}

// round runs a path some batches long and returns the time per packet; making
// the packets is not in it.
func round(p *path) time.Duration {
	var took time.Duration
	for range roundBatches {
		p.fill()
		start := time.Now()
		p.run()
		took += time.Since(start)
	}
	return took * 1000 / (roundBatches * Batch) // thousandths of a nanosecond
}

// sound checks one batch of hits byte by byte: every packet left with its
// flow's own egress address and port.
func (l *Load) sound() bool {
	state := l.state
	l.Hits()
	l.Run(Batch)
	l.state = state
	for i := range l.Out.Send {
		var m pkt.Meta
		m.Parse(l.Out.Send[i].Data)
		if want := l.flows[l.random()]; m.Src != want.Addr() || m.SrcPort != want.Port() {
			return false
		}
	}
	return len(l.Out.Send) == Batch
}

// allocations are the heap objects per hit: those of the round with the fewest,
// because what else the process does can only add.
func allocations(l *Load) float64 {
	var before, after runtime.MemStats
	least := uint64(math.MaxUint64)
	for range roundBatches {
		l.Hits()
		runtime.ReadMemStats(&before)
		l.Run(Batch)
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return float64(least) / Batch
}

func rowName(what string, six bool) string {
	if six {
		what += "6"
	}
	return "hub." + what
}

// memory is the heap that a live flow takes, keys in both directions, state and
// timer, beside a map that knows no more than where a flow left.
func (l *Load) memory(six bool) figure.Row {
	before := heap()
	plain := make(map[flow.Key]netip.AddrPort)
	for i, egress := range l.flows {
		ends := l.ends(i)
		m := pkt.Meta{Src: ends.Src.Addr(), SrcPort: ends.Src.Port(), Dst: ends.Dst.Addr(), DstPort: ends.Dst.Port(), Proto: pkt.ProtoTCP}
		plain[flow.ForwardKey(1, 1, 1, &m)] = egress
	}
	base := float64(heap()-before) / float64(len(plain))
	same := len(plain) == len(l.flows) && l.held == uint64(len(l.flows))
	runtime.KeepAlive(plain)
	return figure.Cost(rowName("flow", six)+"_bytes", l.bytes, "bytes").Beside("plain map", base).Checked(same)
}

// heap is the memory in use, bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func rowsOf(paths []*path, equal []bool, allocs float64, six bool, suffix string) []figure.Row {
	median := func(p *path) float64 {
		slices.Sort(p.took)
		return float64(p.took[len(p.took)/2]) / 1000
	}
	lookup := median(paths[0])
	var rows []figure.Row
	for i, p := range paths[1:] {
		v, same := median(p), equal[i+1] && equal[0]
		name := rowName(p.id, six) + suffix
		r := figure.Cost(name+"_ns", v, "ns").Beside(baseline, lookup).Checked(same)
		if p.id == "hit" && suffix == "" {
			r = r.Bound(goalHit)
		}
		rows = append(rows, r)
		if p.id == "hit" {
			rows = append(rows, figure.Cost(name+"_allocs", allocs, "allocs").Bound(goalAllocs))
		}
	}
	return rows
}
