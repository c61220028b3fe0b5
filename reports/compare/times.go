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
// Where no link of a flow's has a delay or a rate its times are what the machine
// took for its work, which no plan says; such traffic is named and not compared.
func (r *Result) times(a, b *record.Records) {
	other := make(map[string]*record.Flow, len(b.Flows))
	for i := range b.Flows {
		other[key(&b.Flows[i])] = &b.Flows[i]
	}
	asked := timed(a, b)
	type sample struct{ rtt, took [2][]time.Duration }
	samples := make(map[string]*sample)
	var order []string
	for i := range a.Flows {
		x := &a.Flows[i]
		y := other[key(x)]
		if y == nil || x.Result != record.OK || y.Result != record.OK {
			continue
		}
		if !asked.of(x) {
			if !slices.Contains(r.Untimed, x.Traffic+untimed) {
				r.Untimed = append(r.Untimed, x.Traffic+untimed)
			}
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
	busy := [2]string{busy(a), busy(b)}
	for _, traffic := range order {
		s := samples[traffic]
		r.within(traffic, "rtt", s.rtt, RTTShare, busy)
		r.within(traffic, "completion", s.took, TimeShare, busy)
	}
}

// busyShare of the traffic's time with processes that wait for a processor is
// more than a lab makes by itself of a machine that is its own.
const busyShare = 0.5

// busy says why the times of a run may be longer than those of its network: by
// what it measured of itself, and not by its times. Empty if nothing tells so.
func busy(r *record.Records) string {
	m := &r.Run.Metrics
	for i := range m.Wires {
		if w := &m.Wires[i]; w.Saturated != "" {
			return fmt.Sprintf("%s to %s was not the wire that was asked for: %s", w.From, w.To, w.Saturated)
		}
	}
	if m.Waited > busyShare {
		return fmt.Sprintf("processes of the machine of %s waited for a processor for %.0f %% of the time", r.Run.Engine, m.Waited*100)
	}
	return ""
}

const untimed = ": no link that it can have crossed has a delay or a rate"

// places are where links with a delay or a rate are.
type places struct {
	// node by id, and whose site it is of.
	site map[string]string
	// at are the nodes, sites among them, that have such a link of their own; in
	// is true if one is inside the network or the Internet, which all flows share.
	at map[string]bool
	in bool
}

// timed are the places where wires of either run had delays or rates.
func timed(runs ...*record.Records) places {
	p := places{site: map[string]string{}, at: map[string]bool{}}
	private := map[string]bool{} // of one site; what nobody knows of is everybody's
	for _, r := range runs {
		for _, n := range r.Run.Topology.Nodes {
			p.site[n.ID] = n.Site
			private[n.ID] = !slices.Contains([]string{"transit", "edge", "server"}, n.Kind)
		}
	}
	for _, r := range runs {
		for _, w := range r.Run.Metrics.Wires {
			switch {
			case w.Asked.P50Ns == 0:
			case !private[w.From] && !private[w.To]:
				p.in = true
			default:
				for _, node := range []string{w.From, w.To} {
					if private[node] {
						p.at[node], p.at[p.site[node]] = true, true
					}
				}
			}
		}
	}
	delete(p.at, "")
	return p
}

// of reports whether a flow can have crossed such a link: one inside, or one of
// its own ends or of their sites.
func (p *places) of(f *record.Flow) bool {
	return p.in || p.at[f.Client] || p.at[f.Server] || p.at[p.site[f.Client]] || p.at[p.site[f.Server]]
}

// within compares the medians of two samples. Times that are too long on a machine
// that was busy prove nothing; too short ones do on any.
func (r *Result) within(traffic, what string, of [2][]time.Duration, share float64, busy [2]string) {
	a, b := median(of[0]), median(of[1])
	allowed := max(RTTFloor, time.Duration(share*float64(min(a, b))))
	d := max(a-b, b-a)
	if d <= allowed {
		return
	}
	x := Difference{Traffic: traffic, What: what, A: a.String(), B: fmt.Sprintf("%v, %v apart where %v is allowed", b, d, allowed)}
	x.Why = busy[0]
	if b > a {
		x.Why = busy[1]
	}
	if x.Why != "" {
		r.Unjudged = append(r.Unjudged, x)
		return
	}
	r.add(x)
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
