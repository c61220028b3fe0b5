package compare

import (
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// times compares round trips and completion, traffic by traffic: medians, of the
// flows that are ok in both.
//
// Where no link has a delay or a rate the times are what the machine took for
// its work, which no plan says; those are named and not compared.
func (r *Result) times(a, b *record.Records) {
	other := make(map[string]*record.Flow, len(b.Flows))
	for i := range b.Flows {
		other[key(&b.Flows[i])] = &b.Flows[i]
	}
	type sample struct{ rtt, took [2][]time.Duration }
	samples := make(map[string]*sample)
	var order []string
	for i := range a.Flows {
		x := &a.Flows[i]
		y := other[key(x)]
		if y == nil || x.Result != record.OK || y.Result != record.OK {
			continue
		}
		s := samples[x.Traffic]
		if s == nil {
			s = &sample{}
			samples[x.Traffic] = s
			order = append(order, x.Traffic)
		}
		for side, f := range []*record.Flow{x, y} {
			s.rtt[side] = append(s.rtt[side], time.Duration(f.RTTNs))
			s.took[side] = append(s.took[side], time.Duration(f.EndNs-f.StartNs))
		}
	}
	if !timed(a) && !timed(b) {
		for _, traffic := range order {
			r.Untimed = append(r.Untimed, traffic+": no link has a delay or a rate")
		}
		return
	}
	for _, traffic := range order {
		s := samples[traffic]
		x, y := median(s.rtt[0]), median(s.rtt[1])
		allowed := max(RTTFloor, share(RTTShare, x, y))
		r.within(traffic, "rtt", x, y, allowed)
		x, y = median(s.took[0]), median(s.took[1])
		r.within(traffic, "completion", x, y, max(RTTFloor, share(TimeShare, x, y)))
	}
}

// timed reports whether a run had wires with delays or rates.
func timed(r *record.Records) bool {
	return slices.ContainsFunc(r.Run.Metrics.Wires, func(w record.Wire) bool { return w.Asked.P50Ns > 0 })
}

func share(of float64, a, b time.Duration) time.Duration {
	return time.Duration(of * float64(min(a, b)))
}

func (r *Result) within(traffic, what string, a, b, allowed time.Duration) {
	if d := max(a-b, b-a); d > allowed {
		r.add(Difference{Traffic: traffic, What: what, A: a.String(), B: fmt.Sprintf("%v, %v apart where %v is allowed", b, d, allowed)})
	}
}

// median of a sample that is not empty.
func median(s []time.Duration) time.Duration {
	slices.Sort(s)
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}
