package compare

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/reports/lateness"
	"github.com/homeward-lab/homeward/reports/record"
)

// times compares round trips and completion, traffic by traffic: medians, of the
// flows that are ok in both.
//
// Where no link of a flow's has a delay or a rate its times are what the machine
// took for its work, which no plan says; such traffic is named and not compared.
func (r *Result) times(a, b *record.Records, chance Chance) {
	asked := timed(a, b)
	first, order := samples(a, b, &asked, &[2]*lateness.Run{lateness.Of(a), lateness.Of(b)})
	all := []map[string]*sample{first}
	for _, c := range slices.Concat(chance.Moments, chance.Slower) {
		more, _ := samples(c, b, &asked, nil)
		all = append(all, more)
	}
	whole := [2]string{Busy(a), Busy(b)}
	for _, traffic := range order {
		var rtt, took span
		s := first[traffic]
		if s.untimed > 0 {
			r.Untimed = append(r.Untimed, traffic+": "+s.why())
		}
		if len(s.rtt[0]) == 0 {
			continue
		}
		for i, samples := range all {
			one := samples[traffic]
			if one == nil || len(one.rtt[0]) == 0 {
				continue
			}
			trip := median(one.rtt[0])
			if slower := i > len(chance.Moments); slower && trip > rtt.from {
				if apart(median(s.rtt[0]), trip, RTTShare) > 0 {
					continue // slower than any round trip may be
				}
			} else {
				rtt.add(trip) // if slower, it has found less of a queue
			}
			took.add(median(one.took[0]))
		}
		trips := [2]string{cmp.Or(whole[0], s.delayed(0, &rtt), s.belated(0, &rtt)), cmp.Or(whole[1], s.delayed(1, &rtt), s.belated(1, &rtt))}
		r.within(traffic, whatRTT, rtt, median(s.rtt[1]), RTTShare, trips)
		ends := [2]string{cmp.Or(whole[0], s.hindered(0, &took)), cmp.Or(whole[1], s.hindered(1, &took))}
		r.within(traffic, whatCompletion, took, median(s.took[1]), TimeShare, ends)
	}
}

// What times are called in a Difference.
const whatRTT, whatCompletion = "rtt", "completion"

// sample is the times of a traffic's flows in two runs, and how late the flows began;
// free are the round trips less the lateness that they can have met, worst is the flow
// that met most; prompt is how long those took that met next to none while they lasted,
// hindrance what the others met, the one that met most; untimed is of how many flows
// times say nothing.
type sample struct {
	rtt, took, late, free, prompt [2][]time.Duration
	worst, hindrance              [2]met
	untimed                       int
}

// why says of how many of the flows times are not compared, and why.
func (s *sample) why() string {
	const no, has = "no link that ", " can have crossed has a delay or a rate"
	if timed := len(s.rtt[0]); timed > 0 {
		return fmt.Sprintf("of %d of %d flows %sthey%s", s.untimed, s.untimed+timed, no, has)
	}
	return no + "it" + has
}

type met struct {
	flow string
	lateness.Met
}

// delayed says that one run's round trips are too long by no more than the lateness that
// parts of its lab measured of themselves while they lasted, flow by flow. Empty if not.
func (s *sample) delayed(side int, first *span) string {
	mine := median(s.rtt[1])
	other := first.nearest(mine)
	if side == 0 {
		mine, other = other, mine
	}
	free := median(s.free[side])
	if mine < other || free > other && apart(free, other, RTTShare) > 0 {
		return ""
	}
	return fmt.Sprintf("too long by no more than its lab came late by its own measure: of %s, %v", s.worst[side].flow, s.worst[side].Met)
}

// hindered says that one run's transfers are too long, but not those that met no
// lateness, by the lab's own measure, by which a round trip would be too long. What a
// transfer loses by that has no bound: segments that come together after a wait are
// marked or dropped where they would not have been, and a wait ends slow start (HyStart,
// RFC 9406). In virtual time, too, some of marked_path's take more than a tenth longer
// where its servers once stand still for a millisecond. Empty if not.
func (s *sample) hindered(side int, first *span) string {
	mine := median(s.took[1])
	other := first.nearest(mine)
	if side == 0 {
		mine, other = other, mine
	}
	if mine < other || s.hindrance[side].Part == "" {
		return ""
	}
	spared := slices.Clone(s.prompt[side])
	for range len(s.took[side]) - len(spared) {
		spared = append(spared, other)
	}
	if apart(median(spared), other, TimeShare) > 0 {
		return ""
	}
	return fmt.Sprintf("too long where its lab came late by its own measure: of %s, %v", s.hindrance[side].flow, s.hindrance[side].Met)
}

// belated says that one run's round trips are too long by no more than its flows were
// late to begin, by its own measure, while the shortest is as it should be: what kept
// half of them does not keep all, and is the machine's. Empty if not.
func (s *sample) belated(side int, first *span) string {
	mine := median(s.rtt[1])
	other := first.nearest(mine)
	if side == 0 {
		mine, other = other, mine
	}
	over, late := apart(mine, other, RTTShare), median(s.late[side])
	if mine < other || over <= 0 || late < over || apart(slices.Min(s.rtt[side]), other, RTTShare) > 0 {
		return ""
	}
	return fmt.Sprintf("half of its flows began %v or more later than planned, and the shortest round trip was %v", late, slices.Min(s.rtt[side]))
}

// samples are the times of what can be compared, by traffic, and the order of the
// traffics; late is what both runs know of their lateness, nil where nobody asks for it.
func samples(a, b *record.Records, asked *places, late *[2]*lateness.Run) (all map[string]*sample, order []string) {
	other := make(map[string]*record.Flow, len(b.Flows))
	for i := range b.Flows {
		other[key(&b.Flows[i])] = &b.Flows[i]
	}
	all = make(map[string]*sample)
	for i := range a.Flows {
		x := &a.Flows[i]
		y := other[key(x)]
		if y == nil || x.Result != record.OK || y.Result != record.OK {
			continue
		}
		s := all[x.Traffic]
		if s == nil {
			s = &sample{}
			all[x.Traffic] = s
			order = append(order, x.Traffic)
		}
		if !asked.of(x) {
			s.untimed++
			continue
		}
		for side, f := range []*record.Flow{x, y} {
			s.rtt[side] = append(s.rtt[side], time.Duration(f.RTTNs))
			s.took[side] = append(s.took[side], time.Duration(f.EndNs-f.StartNs))
			s.late[side] = append(s.late[side], time.Duration(f.LateNs))
			if late == nil {
				continue
			}
			m := late[side].Met(f)
			s.free[side] = append(s.free[side], time.Duration(f.RTTNs)-m.InAll)
			if m.InAll >= s.worst[side].InAll {
				s.worst[side] = met{key(f), m}
			}
			s.follow(side, f, met{key(f), late[side].Throughout(f)})
		}
	}
	return all, order
}

// follow notes how long a flow took that met m while it lasted.
func (s *sample) follow(side int, f *record.Flow, m met) {
	trip := time.Duration(f.RTTNs)
	if apart(trip+m.For, trip, RTTShare) <= 0 {
		s.prompt[side] = append(s.prompt[side], time.Duration(f.EndNs-f.StartNs))
		return
	}
	if m.For >= s.hindrance[side].For {
		s.hindrance[side] = m
	}
}

// span is the range of what was added to it.
type span struct {
	from, to time.Duration
	any      bool
}

func (s *span) add(d time.Duration) {
	if !s.any {
		*s = span{d, d, true}
	}
	s.from, s.to = min(s.from, d), max(s.to, d)
}

// nearest is what of the range is nearest to d.
func (s *span) nearest(d time.Duration) time.Duration { return min(max(d, s.from), s.to) }

func (s *span) String() string {
	if s.from == s.to {
		return s.from.String()
	}
	return fmt.Sprintf("%v to %v", s.from, s.to)
}

// busyShare of the traffic's time with processes that wait for a processor is
// more than a lab makes by itself of a machine that is its own.
const busyShare = 0.5

// Busy says why the times of a run may be longer than those of its network: by
// what it measured of itself, and not by its times. Empty if nothing tells so.
func Busy(r *record.Records) string {
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

// within compares a median with the range of those that it may have. What is too long
// on a machine that was busy proves nothing, nor does a transfer that was too short:
// what came later may have spared it a timeout. A round trip that was too short is a
// difference on any machine.
func (r *Result) within(traffic, what string, of span, b time.Duration, share float64, busy [2]string) {
	a := of.nearest(b)
	over := apart(a, b, share)
	if over <= 0 {
		return
	}
	d := max(a-b, b-a)
	x := Difference{Traffic: traffic, What: what, A: of.String(), B: fmt.Sprintf("%v, %v apart where %v is allowed", b, d, d-over)}
	late := busy[0]
	if b > a {
		late = busy[1]
	}
	if x.Why = late; what == whatCompletion {
		x.Why = cmp.Or(late, busy[0], busy[1])
	}
	r.add(x)
}

// apart is by how much two times differ more than they may.
func apart(a, b time.Duration, share float64) time.Duration {
	return max(a-b, b-a) - max(RTTFloor, time.Duration(share*float64(min(a, b))))
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
