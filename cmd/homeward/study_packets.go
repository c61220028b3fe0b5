package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/sim/study/models"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// packets makes models of a scenario's own traffic, packet by packet in virtual time,
// with the measures that checks have.
type packets struct {
	study   *spec.Study
	doc     *load.Doc
	resolve models.Resolve
}

// Measures implements study.Maker.
func (m *packets) Measures() []record.StudyMeasure {
	names, units := check.Names(environment(m.doc.Spec, nil))
	all := make([]record.StudyMeasure, len(names))
	for i, name := range names {
		all[i] = record.StudyMeasure{Name: name, Unit: strings.TrimSpace(units[name])}
	}
	return all
}

// Limits implements study.Maker.
func (m *packets) Limits() []string {
	return []string{"Every packet of the scenario's traffic goes through the dataplane's own code in virtual time; links are as the file says, and nothing else is on them."}
}

// Model implements study.Maker.
func (m *packets) Model(_ context.Context, p study.Point) (study.Model, error) {
	return &packetsAt{m, p}, nil
}

type packetsAt struct {
	*packets
	at study.Point
}

// Run implements study.Model.
func (m *packetsAt) Run(ctx context.Context, r study.Replica) (*study.Outcome, error) {
	seed := study.Draw(m.study.Seed, "traffic", r.Seed) % (1 << 31)
	s, err := m.resolve(m.at, spec.Setting{Path: "seed", Value: fmt.Sprint(seed)})
	if err != nil {
		return nil, err
	}
	for _, dc := range m.at.Down {
		s.Faults = append(s.Faults, spec.Fault{ID: "down_" + dc, Do: "partition", On: dc, For: longer})
	}
	p, err := plan.CompileVariant(s, m.at.Variant(m.study))
	if err != nil {
		return nil, errors.Join(positioned(m.doc, s, err)...)
	}
	var got record.Memory
	if err := simrun.Run(ctx, p, &got, simrun.Options{}); err != nil {
		return nil, err
	}
	records := got.Records()
	o := &study.Outcome{Measures: check.Numbers(records, environment(s, nil)), Of: map[string]float64{}, Why: map[string][]string{}}
	for _, share := range []string{"misdelivered_share"} {
		for _, t := range append([]string{"all"}, trafficIDs(s)...) {
			o.Of[t+"."+share] = o.Measures[t+".total"]
		}
	}
	m.why(o, records)
	o.Tables = map[string]record.StudyTable{"toil": toil(o.Measures), "times": quantiles(records)}
	return o, nil
}

func trafficIDs(s *spec.Scenario) []string {
	var ids []string
	for _, t := range s.Traffic {
		ids = append(ids, t.ID)
	}
	return ids
}

// why are the first flows that went wrong, by what went wrong.
func (m *packetsAt) why(o *study.Outcome, records *record.Records) {
	const most = 5
	for _, f := range records.Flows {
		if f.Result == record.OK {
			continue
		}
		for _, t := range []string{f.Traffic, "all"} {
			name := t + "." + string(f.Result)
			if len(o.Why[name]) < most {
				o.Why[name] = append(o.Why[name], strings.TrimSpace(fmt.Sprintf("%s#%d from %s: %s %s", f.Traffic, f.N, f.Client, f.Result, f.Reason)))
			}
		}
	}
}

// toil is what somebody has to write, by kind.
func toil(measures map[string]float64) record.StudyTable {
	t := record.StudyTable{Keys: []string{"kind"}, Columns: []string{"objects"}}
	for _, kind := range check.Kinds() {
		t.Rows = append(t.Rows, record.StudyRow{Key: []string{kind}, Values: []float64{measures["config."+kind]}})
	}
	return t
}

// quantiles are quantiles of what flows took, and of how long they stood still.
func quantiles(records *record.Records) record.StudyTable {
	t := record.StudyTable{Keys: []string{"what", "quantile"}, Columns: []string{"ms"}}
	values := map[string][]int64{}
	for _, f := range records.Flows {
		if f.RTTNs > 0 {
			values["round trip"] = append(values["round trip"], f.RTTNs)
		}
		if f.StallNs > 0 {
			values["stall"] = append(values["stall"], f.StallNs)
		}
		if f.Result == record.OK {
			values["whole flow"] = append(values["whole flow"], f.EndNs-f.StartNs)
		}
	}
	for _, what := range []string{"round trip", "whole flow", "stall"} {
		v := values[what]
		slices.Sort(v)
		for q := 0; q <= 100 && len(v) > 0; q += 5 {
			t.Rows = append(t.Rows, record.StudyRow{Key: []string{what, fmt.Sprintf("%03d", q)}, Values: []float64{float64(v[min(len(v)-1, q*len(v)/100)]) / 1e6}})
		}
	}
	return t
}
