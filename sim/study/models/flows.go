package models

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Flows makes models of the flow level: the scenario's workload.
type Flows struct {
	Study   *spec.Study
	Resolve Resolve
	// Datacenters that measures speak of.
	Datacenters []string
	// Landing says that the scenario has a population, which lands somewhere.
	Landing bool

	mu      sync.Mutex
	atlases []*atlas
}

// atlas keeps one topology's Internets.
type atlas struct {
	sample uint64
	load.Atlas
}

// of is the atlas of a topology; the last few are kept.
func (f *Flows) of(sample uint64) *load.Atlas {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.atlases, func(a *atlas) bool { return a.sample == sample })
	if i < 0 {
		i = len(f.atlases)
		f.atlases = append(f.atlases, &atlas{sample: sample})
		if len(f.atlases) > keptWorlds {
			f.atlases = f.atlases[1:]
			i--
		}
	}
	return &f.atlases[i].Atlas
}

// Measures implements study.Maker.
func (f *Flows) Measures() []record.StudyMeasure {
	var all []record.StudyMeasure
	for _, d := range load.Descriptions() {
		each := []string{""}
		switch d.Each {
		case "datacenter":
			each = f.Datacenters
		case "cause":
			each = load.Causes()
		case "design":
			each = load.DesignNames()
		}
		for _, id := range each {
			m := record.StudyMeasure{Name: d.Name, Unit: d.Unit, Text: d.Text}
			if id != "" {
				m.Name += "." + id
			}
			all = append(all, m)
		}
	}
	return all
}

// Limits implements study.Maker.
func (f *Flows) Limits() []string {
	if !f.Landing {
		return []string{"Without packets: replies are looked up in real tables and restarts are played; what is written, kept for a site, and lost when a line fails follows from each design's rules."}
	}
	return append(Limits(), "The flow level knows no packets: a flow takes a port and a rate, and what queues and loss do to it is not in its numbers.")
}

// Model implements study.Maker.
func (f *Flows) Model(_ context.Context, p study.Point) (study.Model, error) {
	return &flowsAt{f, p}, nil
}

type flowsAt struct {
	*Flows
	at study.Point
}

// Run implements study.Model: another topology is another sample of the population's
// Internet.
func (m *flowsAt) Run(_ context.Context, r study.Replica) (*study.Outcome, error) {
	sample := study.Draw(m.Study.Seed, "topology", r.Topology) % (1 << 31)
	s, err := m.Resolve(m.at)
	if err != nil {
		return nil, err
	}
	if s.Population != nil {
		s.Population.Sample = sample
	}
	for _, dc := range m.at.Down {
		f := spec.Fault{ID: "down_" + dc, At: m.Study.Failures.At, Do: m.Study.Failures.Do, On: dc}
		if f.Do == spec.Withdraw {
			f.Address = spec.TunnelAddress
		}
		s.Faults = append(s.Faults, f)
	}
	model, err := load.New(s, m.of(sample))
	if err != nil {
		return nil, err
	}
	model.Splitting = m.Study.Rare == spec.RareSplitting
	o, err := model.Run(study.Draw(m.Study.Seed, "traffic", r.Seed) % (1 << 31))
	if err != nil {
		return nil, err
	}
	out := outcomeOf(o)
	if model.Splitting {
		out.Of = nil // weighted, and no longer counts
	}
	return out, nil
}

// mostPairs of datacenters are kept: of three hundred there are 45,000 pairs, and most
// carry next to nothing.
const mostPairs = 300

// outcomeOf is what a study takes of an outcome.
func outcomeOf(o *load.Outcome) *study.Outcome {
	out := &study.Outcome{Measures: map[string]float64{}, Of: map[string]float64{}, Tables: map[string]record.StudyTable{}, Why: map[string][]string{}}
	for _, m := range o.Measures {
		out.Measures[m.Name] = m.Value
		if why := o.Why(m.Name); len(why) > 0 {
			out.Why[m.Name] = why
		}
	}
	offered := 0.0
	for _, d := range o.Datacenters {
		offered += d.Offered
	}
	for _, share := range []string{"blocked", "refusals"} {
		if _, ok := o.Value(share); ok && offered > 0 {
			out.Of[share] = offered
		}
	}
	put := func(name string, keys, columns []string, rows []record.StudyRow) {
		if len(rows) > 0 {
			out.Tables[name] = record.StudyTable{Keys: keys, Columns: columns, Rows: rows}
		}
	}
	var rows []record.StudyRow
	for _, d := range o.Datacenters {
		rows = append(rows, record.StudyRow{Key: []string{d.ID, d.City, degrees(d.Lat), degrees(d.Lon)}, Values: []float64{d.Users, d.Before, d.Flows, d.FlowRate, d.Gbps, d.Utilisation, d.Offered, d.Blocked}})
	}
	put("datacenters", []string{"datacenter", "city", "lat", "lon"}, []string{"users", "users_before", "flows", "flow_rate", "gbps", "utilisation", "offered", "blocked"}, rows)
	rows = nil
	for _, t := range o.Takeover {
		rows = append(rows, record.StudyRow{Key: []string{t.From, nowhere(t.To)}, Values: []float64{t.Users}})
	}
	put("takeover", []string{"from", "to"}, []string{"users"}, rows)
	rows = nil
	for _, p := range o.Backbone[:min(mostPairs, len(o.Backbone))] {
		rows = append(rows, record.StudyRow{Key: []string{p.A, p.B}, Values: []float64{p.Gbps, p.Wanted}})
	}
	put("backbone", []string{"a", "b"}, []string{"gbps", "wanted_gbps"}, rows)
	rows = nil
	for _, p := range o.Ports {
		rows = append(rows, record.StudyRow{
			Key:    []string{p.Datacenter, strconv.Itoa(p.Server), p.Destination, p.Protocol, p.Pool},
			Values: []float64{float64(p.Ports), float64(p.Peak), p.Load, p.Tries, p.Refused, p.Lost, p.Erlang},
		})
	}
	put("ports", []string{"datacenter", "server", "destination", "protocol", "pool"}, []string{"ports", "peak", "load", "tries", "refused", "lost", "erlang"}, rows)
	more(o, put)
	return out
}

// more are the tables of users, time and designs.
func more(o *load.Outcome, put func(string, []string, []string, []record.StudyRow)) {
	var rows []record.StudyRow
	for _, c := range o.Countries {
		to, share := "none", 0.0
		if len(c.Landings) > 0 {
			to, share = nowhere(c.Landings[0].Datacenter), c.Landings[0].Share
		}
		rows = append(rows, record.StudyRow{Key: []string{c.Code, to}, Values: []float64{c.Users, share, c.Lost}})
	}
	put("countries", []string{"country", "datacenter"}, []string{"users", "share", "lost_minutes"}, rows)
	rows = nil
	for _, a := range o.ASes {
		rows = append(rows, record.StudyRow{Key: []string{strconv.FormatUint(uint64(a.Number), 10), a.Country, a.City, degrees(a.Lat), degrees(a.Lon), nowhere(a.Datacenter), nowhere(a.Before), a.Rule}, Values: []float64{a.Users}})
	}
	put("networks", []string{"asn", "country", "city", "lat", "lon", "datacenter", "before", "rule"}, []string{"users"}, rows)
	rows = nil
	for _, m := range o.Measures {
		if cause, ok := strings.CutPrefix(m.Name, "lost."); ok {
			rows = append(rows, record.StudyRow{Key: []string{cause}, Values: []float64{m.Value}})
		}
	}
	put("lost", []string{"cause"}, []string{"user_minutes"}, rows)
	rows = nil
	for i, m := range o.Timeline {
		rows = append(rows, record.StudyRow{Key: []string{fmt.Sprintf("%05d", i)}, Values: []float64{m.At, m.Rate, m.Flows, m.Gbps, m.Unreached, m.Blocked}})
	}
	put("timeline", []string{"step"}, []string{"seconds", "rate", "flows", "gbps", "unreached", "blocked"}, rows)
	rows = nil
	for _, x := range o.Times {
		rows = append(rows, record.StudyRow{Key: []string{x.What, fmt.Sprintf("%03d", x.Percent)}, Values: []float64{x.Ms}})
	}
	put("times", []string{"what", "quantile"}, []string{"ms"}, rows)
	rows = nil
	for _, d := range o.Designs {
		rows = append(rows, record.StudyRow{Key: []string{d.Name}, Values: []float64{d.Misdelivered, d.FlowState, d.SiteState, float64(d.Objects), float64(d.OneMore), d.RestartLost, d.FailoverLost}})
	}
	put("designs", []string{"design"}, []string{"misdelivered", "flow_state", "site_state", "objects", "one_more", "restart_lost", "failover_lost"}, rows)
}

func nowhere(id string) string {
	if id == "" {
		return "none"
	}
	return id
}
