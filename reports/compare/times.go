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
	for _, traffic := range order {
		s := samples[traffic]
		x, y := median(s.rtt[0]), median(s.rtt[1])
		allowed := max(RTTFloor, share(RTTShare, x, y))
		r.within(traffic, "rtt", x, y, allowed)
		x, y = median(s.took[0]), median(s.took[1])
		r.within(traffic, "completion", x, y, max(RTTFloor, share(TimeShare, x, y)))
	}
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
