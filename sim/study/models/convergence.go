package models

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Convergence makes models of BGP in time: every datacenter announces the prefix;
// when all is at rest, those of the point withdraw it at once, and later they announce
// it again.
type Convergence struct {
	Study   *spec.Study
	Resolve Resolve

	worlds worlds
}

// Measures implements study.Maker.
func (c *Convergence) Measures() []record.StudyMeasure {
	return []record.StudyMeasure{
		{Name: "fail_s", Unit: "s", Text: "until the last network has found another way after the withdrawal"},
		{Name: "fail_p95_s", Unit: "s", Text: "until 95 % of the users whose route changed have their last one"},
		{Name: "return_s", Unit: "s", Text: "until the last network has come to rest after the announcement"},
		{Name: "changed", Unit: "share", Text: "of users whose network chose another route"},
		{Name: "lost_user_s", Unit: "user-s", Text: "that users had no route before they found another, in thousands"},
		{Name: "hunting", Unit: "routes", Text: "that a network whose route changed tried, on average over users"},
		{Name: "messages", Unit: "messages", Text: "of BGP for the withdrawal"},
		{Name: "announce_s", Unit: "s", Text: "from the first announcement until all is at rest"},
	}
}

// Limits implements study.Maker.
func (c *Convergence) Limits() []string {
	return append(Limits(), "BGP messages take 5 to 95 ms from one AS to the next, drawn for each session; what routers need to change their forwarding tables is not in it.")
}

// Model implements study.Maker.
func (c *Convergence) Model(_ context.Context, p study.Point) (study.Model, error) {
	in, err := internet(c.Study, p)
	if err != nil {
		return nil, err
	}
	s, err := c.Resolve(p)
	if err != nil {
		return nil, err
	}
	l := &landing{internet: in}
	if l.ids, l.places, err = where(s); err != nil {
		return nil, err
	}
	if l.down, err = downOf(l.ids, p.Down); err != nil {
		return nil, err
	}
	only := in.Announcers
	if k := slices.Index(l.ids, only); only != "" && only != "all" {
		if k < 0 {
			return nil, fmt.Errorf("internet.announcers: no datacenter %s, want all or one of the scenario's", only)
		}
		l.ids, l.places, l.down = l.ids[k:k+1], l.places[k:k+1], l.down[k:k+1]
	}
	return &converging{c, l}, nil
}

type converging struct {
	*Convergence
	at *landing
}

// Run implements study.Model.
func (m *converging) Run(ctx context.Context, r study.Replica) (*study.Outcome, error) {
	in := m.at.internet
	w, err := m.worlds.of(in.ASes, study.Draw(m.Study.Seed, "topology", r.Topology))
	if err != nil {
		return nil, err
	}
	sites, err := w.Attach(m.at.ids, m.at.places, catchment.Attach{Seed: study.Draw(m.Study.Seed, "neighbours", r.Topology)})
	if err != nil {
		return nil, err
	}
	// Sites that say the same to the same neighbour are one announcement, which lasts
	// as long as one of them is up.
	var all []asgraph.Announcement
	var by [][]int
	at := map[asgraph.Announcement]int{}
	for i, s := range sites {
		for _, n := range s.Sessions {
			a := asgraph.Announcement{To: n.To, Class: n.Class, Length: 1 + n.Prepend}
			k, ok := at[a]
			if !ok {
				k = len(all)
				at[a], all, by = k, append(all, a), append(by, nil)
			}
			by[k] = append(by[k], i)
		}
	}
	guess := asgraph.Preference(study.Draw(m.Study.Seed, "guesses", r.Seed)<<1 | 1)
	d, err := asgraph.NewDynamics(w.Graph, all, guess, asgraph.Timing{MRAI: in.MRAI.D(), Seed: study.Draw(m.Study.Seed, "timing", r.Seed)})
	if err != nil {
		return nil, err
	}
	o := &study.Outcome{Measures: map[string]float64{}, Tables: map[string]record.StudyTable{}, Why: map[string][]string{}}
	for i := range all {
		d.Announce(0, i)
	}
	if err := d.Run(vt.Never); err != nil {
		return nil, err
	}
	o.Measures["announce_s"] = time.Duration(d.Now()).Seconds()
	var lost []int
	for k, of := range by {
		if !slices.ContainsFunc(of, func(s int) bool { return !m.at.down[s] }) {
			lost = append(lost, k)
		}
	}
	if len(lost) == 0 {
		return o, ctx.Err()
	}
	began, before := d.Now(), d.Messages()
	d.Reset()
	for _, k := range lost {
		d.Withdraw(began, k)
	}
	if err := d.Run(vt.Never); err != nil {
		return nil, err
	}
	m.measure(o, w, d, began)
	o.Measures["messages"] = float64(d.Messages() - before)
	began = d.Now()
	d.Reset()
	for _, k := range lost {
		d.Announce(began, k)
	}
	if err := d.Run(vt.Never); err != nil {
		return nil, err
	}
	o.Measures["return_s"] = time.Duration(d.Now() - began).Seconds()
	return o, ctx.Err()
}

// changed is a network whose route changed.
type changed struct {
	last  time.Duration
	users float64
	node  asgraph.Node
}

// measure looks at what a withdrawal did to each network.
func (m *converging) measure(o *study.Outcome, w *catchment.World, d *asgraph.Dynamics, began vt.Instant) {
	var list []changed
	everybody, moved, without, tried, end := 0.0, 0.0, 0.0, 0.0, time.Duration(0)
	for v := range asgraph.Node(w.Graph.Len()) {
		u := w.Users[v]
		everybody += u
		c := d.Churn(v)
		if c.Changes == 0 {
			continue
		}
		last := time.Duration(c.Last - began)
		end = max(end, last)
		moved += u
		tried += float64(c.Changes) * u
		if d.At(v).Class != asgraph.Unreachable {
			without += c.Lost.Seconds() * u
		}
		list = append(list, changed{last, u, v})
	}
	o.Measures["fail_s"] = end.Seconds()
	o.Measures["changed"] = moved / everybody
	o.Measures["lost_user_s"] = without / 1000
	if moved == 0 {
		return
	}
	o.Measures["hunting"] = tried / moved
	slices.SortStableFunc(list, func(a, b changed) int { return int(a.last - b.last) })
	o.Tables["convergence"] = timeline(list, moved, end)
	settled := 0.0
	for _, c := range list {
		if settled += c.users; settled >= 0.95*moved {
			o.Measures["fail_p95_s"] = c.last.Seconds()
			break
		}
	}
	for _, c := range list[max(0, len(list)-5):] {
		o.Why["fail_s"] = append(o.Why["fail_s"], fmt.Sprintf("AS %d in %s chose its last route after %v, of %d it tried", w.Graph.ASN(c.node), w.Places[w.Home[c.node]].City, c.last.Round(time.Millisecond), d.Churn(c.node).Changes))
	}
	slices.Reverse(o.Why["fail_s"])
}

// timeline is the share of moved users that have their last route, in time.
func timeline(list []changed, moved float64, end time.Duration) record.StudyTable {
	const steps = 40
	t := record.StudyTable{Keys: []string{"step"}, Columns: []string{"seconds", "settled"}}
	i, settled := 0, 0.0
	for n := range steps + 1 {
		until := end * time.Duration(n) / steps
		for ; i < len(list) && list[i].last <= until; i++ {
			settled += list[i].users
		}
		key := strconv.Itoa(n)
		if n < 10 {
			key = "0" + key
		}
		t.Rows = append(t.Rows, record.StudyRow{Key: []string{key}, Values: []float64{until.Seconds(), settled / moved}})
	}
	return t
}
