package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// Arrivals are the flows that look alike, by what they look like: protocol,
// addresses and ports, the same from different places at one moment. Each list is
// in the order in which servers came to know them, those behind the others that
// were dropped for them: at the place that decided they were later.
//
// Of such flows a table whose key leaves the on-ramp out knows the first, and two
// that one host cannot tell apart collide. Which is the first no plan says where
// they start at one moment: it is the network's chance, and all else follows.
type Arrivals map[string][]*record.Flow

// ArrivalsOf a run are of the flows that have rivals.
func ArrivalsOf(r *record.Records) Arrivals {
	all := Arrivals{}
	for i := range r.Flows {
		f := &r.Flows[i]
		all[tuple(f)] = append(all[tuple(f)], f)
	}
	for t, flows := range all {
		if len(flows) < 2 {
			delete(all, t)
		}
	}
	came := make(map[[2]string]instant) // by tuple and on-ramp
	for i := range r.Events {
		e := &r.Events[i]
		k, at := [2]string{e.Flow, e.OnRamp}, instant{e.AtNs, i}
		if old, known := came[k]; decided[e.Kind] && all[e.Flow] != nil && (!known || at.compare(old) < 0) {
			came[k] = at
		}
	}
	place := func(f *record.Flow) instant {
		if at, known := came[[2]string{tuple(f), f.OnRamp}]; known {
			return at
		}
		return instant{math.MaxInt64, 0} // it was taken for another
	}
	for _, flows := range all {
		slices.SortStableFunc(flows, func(x, y *record.Flow) int {
			return cmp.Or(cmp.Compare(dropped(x), dropped(y)), place(x).compare(place(y)))
		})
	}
	return all
}

// dropped is 1 for a flow that was dropped for a reason of the dataplane's, else 0.
func dropped(f *record.Flow) int {
	if f.Result == record.OK || reason(f) == "" {
		return 0
	}
	return 1
}

// instant is when an event was, and the how manieth of the run it is: what came to a
// server in one batch has one time.
type instant struct {
	at int64
	n  int
}

func (t instant) compare(u instant) int {
	return cmp.Or(cmp.Compare(t.at, u.at), cmp.Compare(t.n, u.n))
}

// decided are the events at which a server makes up its mind about a flow.
var decided = map[string]bool{"flow_start": true, "flow_refused": true, "drop": true}

func tuple(f *record.Flow) string { return fmt.Sprintf("%s %s > %s", f.Proto, f.Src, f.Dst) }

// order is in which order rivals came in two runs.
type order [2]Arrivals

func orders(a, b *record.Records) order { return order{ArrivalsOf(a), ArrivalsOf(b)} }

const reordered = "it came in another order of those that look like it: "

// why says that a flow's rivals came in another order; empty if not.
func (o order) why(f *record.Flow) string {
	x, y := keys(o[0][tuple(f)]), keys(o[1][tuple(f)])
	if slices.Equal(x, y) {
		return ""
	}
	return reordered + strings.Join(x, ", ") + " and " + strings.Join(y, ", ")
}

func keys(flows []*record.Flow) (all []string) {
	for _, f := range flows {
		all = append(all, key(f))
	}
	return all
}
