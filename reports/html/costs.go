package html

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/record"
)

// cost is what a run's way of dividing egress addresses takes and risks (SEMANTICS
// 5.6), all measured.
type cost struct {
	Run string
	// Used are addresses that flows left by, Announced those of the blocks that the
	// Internet has to know for them.
	Used, Announced int
	// Elsewhere are flows that left from another datacenter than they came in by, of
	// Flows that left. HandedOver of Packets went from one server to another.
	Elsewhere, Flows    int
	HandedOver, Packets int64
	// Pairs are what the backbone carried, the busiest direction first, Bytes in all.
	Pairs []record.Backbone
	Bytes int64
	// RTTNs is the median round trip, ExtraNs how much more that is than of the run
	// that has the least.
	RTTNs, ExtraNs int64
	// Broken are flows that failed of those that were Open when a server first died,
	// Reach the datacenters that they had come in by; Died is that server.
	Died         string
	Open, Broken int
	Reach        []string
}

// costs compares runs; empty where no two datacenters have egress addresses that
// are shared out.
func costs(recs []*record.Records) []cost {
	var all []cost
	least := map[string]int64{}
	for _, rec := range recs {
		if len(rec.Run.Metrics.Backbone) == 0 || len(rec.Run.Blocks) == 0 {
			return nil
		}
		c := costOf(rec)
		c.Run = runName(rec, recs)
		if old := least[rec.Run.Engine]; c.RTTNs > 0 && (old == 0 || c.RTTNs < old) {
			least[rec.Run.Engine] = c.RTTNs
		}
		all = append(all, c)
	}
	for i, rec := range recs {
		if all[i].RTTNs > 0 {
			all[i].ExtraNs = all[i].RTTNs - least[rec.Run.Engine]
		}
	}
	return all
}

func costOf(rec *record.Records) cost {
	var c cost
	used := map[string]bool{}
	var rtt []int64
	for _, f := range rec.Flows {
		if f.EgressIP == "" {
			continue
		}
		c.Flows++
		used[f.EgressIP] = true
		if f.EgressDC != f.IngressDC {
			c.Elsewhere++
		}
		if f.RTTNs > 0 {
			rtt = append(rtt, f.RTTNs)
		}
	}
	c.Used, c.Announced = len(used), check.Announced(&rec.Run, used)
	if slices.Sort(rtt); len(rtt) > 0 {
		c.RTTNs = rtt[(len(rtt)-1)/2]
	}
	for _, counters := range rec.Run.Metrics.Servers {
		c.HandedOver += counters["handed_over"]
		c.Packets += counters["packets"]
	}
	for _, b := range rec.Run.Metrics.Backbone {
		if c.Bytes += b.Bytes; b.Bytes > 0 {
			c.Pairs = append(c.Pairs, b)
		}
	}
	slices.SortStableFunc(c.Pairs, func(x, y record.Backbone) int { return cmp.Compare(y.Bytes, x.Bytes) })
	c.blast(rec)
	return c
}

// blast finds out what the first death of a server took along.
func (c *cost) blast(rec *record.Records) {
	i := slices.IndexFunc(rec.Events, func(e record.Event) bool { return e.Kind == "lost" && e.Node != "" })
	if i < 0 {
		return
	}
	at := rec.Events[i].AtNs
	c.Died = rec.Events[i].Node
	for _, f := range rec.Flows {
		if f.StartNs >= at || f.EndNs <= at {
			continue
		}
		if c.Open++; f.Result != record.OK {
			if c.Broken++; !slices.Contains(c.Reach, f.IngressDC) {
				c.Reach = append(c.Reach, f.IngressDC)
			}
		}
	}
	slices.Sort(c.Reach)
}

// share is a part of a whole, in percent.
func share[N int | int64](part, whole N) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// Forwarded is the share of packets that servers handed to each other.
func (c cost) Forwarded() string { return share(c.HandedOver, c.Packets) }

// Away is the share of flows that left from elsewhere.
func (c cost) Away() string { return share(c.Elsewhere, c.Flows) }
