package simbench

import (
	"context"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/asgraph"
)

// Goals.
const (
	goalRoutes   = 1.5 // ms
	goalBatched  = 0.25
	goalFailures = 250
	goalAnnounce = 0.3   // s
	goalFailover = 0.025 // s
)

const (
	anycastSites = 20
	failingSites = 300
)

// internet is AS routing over a graph like the Internet: one anycast prefix, at rest
// and in time, and each of many sites failing. Every state is looked at link by link
// (Unstable) or compared with one that was.
func (b *Bench) internet(ctx context.Context) ([]figure.Row, error) {
	shape := asgraph.Internet()
	if b.Share < 1 {
		shape = shape.Scaled(max(b.work(shape.ASes), 500))
	}
	g, _, err := asgraph.Generate(shape, asgraph.Atlas{}, 1)
	if err != nil {
		return nil, err
	}
	var rows []figure.Row
	for _, measure := range []func(*asgraph.Graph) ([]figure.Row, error){b.asRoutes, b.asFailures, b.asDynamics} {
		if err := ctx.Err(); err != nil {
			return rows, err
		}
		more, err := measure(g)
		if rows = append(rows, more...); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// sites are ASes that announce the prefix, spread over the hierarchy.
func sites(g *asgraph.Graph, n int) []asgraph.Announcement {
	all := make([]asgraph.Announcement, n)
	for i := range all {
		all[i] = asgraph.Announcement{To: asgraph.Node(i * g.Len() / n), Class: asgraph.Own}
	}
	return all
}

// asRoutes is one prefix, alone and eight scenarios at once.
func (b *Bench) asRoutes(g *asgraph.Graph) ([]figure.Row, error) {
	all := sites(g, anycastSites)
	r := asgraph.NewRoutes(g)
	batch, err := asgraph.NewBatch(g, all, 0)
	if err != nil {
		return nil, err
	}
	made := make([]uint64, len(all))
	for i := range made {
		made[i] = asgraph.Every
		if i > 0 && i < asgraph.Lanes { // lane 0 has all
			made[i] &^= asgraph.Lane(i)
		}
	}
	const repeat = 10
	var alone, together []float64
	for range b.Rounds {
		took, err := timed(func() error { return repeated(repeat, func() error { return r.Spread(all, 0) }) })
		if err != nil {
			return nil, err
		}
		alone = append(alone, float64(took)/repeat/1e6)
		took, err = timed(func() error { return repeated(repeat, func() error { batch.Spread(made); return nil }) })
		if err != nil {
			return nil, err
		}
		together = append(together, float64(took)/(repeat*asgraph.Lanes)/1e6)
	}
	equal := r.Unstable(all, 0) == 0
	lane := true
	for v := range asgraph.Node(g.Len()) {
		length, entry, ok := batch.At(v, 0)
		want := r.At(v)
		lane = lane && ok == (want.Class != asgraph.Unreachable) && (!ok || length == want.Length && entry == want.Entry)
	}
	return []figure.Row{
		checked("sim.asroutes_ms", median(alone), "ms", equal).Bound(goalRoutes),
		checked("sim.asroutes_batched_ms", median(together), "ms", lane).Bound(goalBatched),
	}, nil
}

// asFailures is each of many sites failing alone, from the announcements on.
func (b *Bench) asFailures(g *asgraph.Graph) ([]figure.Row, error) {
	all := sites(g, failingSites)
	var times []float64
	var batch *asgraph.Batch
	made := make([]uint64, len(all))
	for range b.Rounds {
		took, err := timed(func() (err error) {
			if batch, err = asgraph.NewBatch(g, all, 0); err != nil {
				return err
			}
			for from := 0; from < len(all); from += asgraph.Lanes {
				for i := range made {
					made[i] = asgraph.Every
					if l := i - from; l >= 0 && l < asgraph.Lanes {
						made[i] &^= asgraph.Lane(l)
					}
				}
				batch.Spread(made)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		times = append(times, float64(took)/1e6)
	}
	// The last site's failure, alone.
	r, last := asgraph.NewRoutes(g), len(all)-1
	if err := r.Spread(all[:last], 0); err != nil {
		return nil, err
	}
	equal := r.Unstable(all[:last], 0) == 0
	for v := range asgraph.Node(g.Len()) {
		length, entry, ok := batch.At(v, last%asgraph.Lanes)
		want := r.At(v)
		equal = equal && ok == (want.Class != asgraph.Unreachable) && (!ok || length == want.Length && entry == want.Entry)
	}
	return []figure.Row{checked("sim.failures300_ms", median(times), "ms", equal).Bound(goalFailures)}, nil
}

// asDynamics announces the prefix everywhere, and then fails the site with most ASes
// behind it; what comes of both is what is stable.
func (b *Bench) asDynamics(g *asgraph.Graph) ([]figure.Row, error) {
	all := sites(g, anycastSites)
	var announce, failover []float64
	equalA, equalF := true, true
	for range b.Rounds {
		d, err := asgraph.NewDynamics(g, all, 0, asgraph.Timing{MRAI: 5 * time.Second, Seed: 1})
		if err != nil {
			return nil, err
		}
		for i := range all {
			d.Announce(0, i)
		}
		rest := func() error { return d.Run(d.Now() + vt.Instant(24*time.Hour)) }
		took, err := timed(rest)
		if err != nil {
			return nil, err
		}
		announce = append(announce, float64(took)/1e9)
		same, most, err := atRest(g, d, all)
		if err != nil {
			return nil, err
		}
		equalA = equalA && same
		d.Withdraw(d.Now()+vt.Instant(time.Hour), most)
		if took, err = timed(rest); err != nil {
			return nil, err
		}
		failover = append(failover, float64(took)/1e9)
		left := append(append([]asgraph.Announcement(nil), all[:most]...), all[most+1:]...)
		if same, _, err = atRest(g, d, left); err != nil {
			return nil, err
		}
		equalF = equalF && same
	}
	return []figure.Row{
		checked("sim.bgp_announce_s", median(announce), "s", equalA).Bound(goalAnnounce),
		checked("sim.bgp_failover_s", median(failover), "s", equalF).Bound(goalFailover),
	}, nil
}

// atRest compares with the static solver, and says which announcement most ASes
// come to.
func atRest(g *asgraph.Graph, d *asgraph.Dynamics, all []asgraph.Announcement) (equal bool, most int, err error) {
	r := asgraph.NewRoutes(g)
	if err := r.Spread(all, 0); err != nil {
		return false, 0, err
	}
	equal = true
	count := make([]int, len(all)+1)
	for v := range asgraph.Node(g.Len()) {
		got, want := d.At(v), r.At(v)
		equal = equal && got.Class == want.Class && got.Length == want.Length && got.Next == want.Next
		if count[want.Entry]++; count[want.Entry] > count[most] {
			most = int(want.Entry)
		}
	}
	return equal, most, nil
}

func checked(id string, value float64, unit string, equal bool) figure.Row {
	return figure.Cost(id, value, unit).Checked(equal)
}

func repeated(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
