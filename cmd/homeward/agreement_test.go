package main

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Where a lab's equal flows came in another order, the simulator takes that order,
// and all the rest must agree: exactly, so that one flow on another server is
// found there too.
func TestAgreementInTheLabsOrder(t *testing.T) {
	vs, err := prepareAll([]string{"private_datacenter"}, runFlags{variants: []string{"preserve"}})
	if err != nil {
		t.Fatal(err)
	}
	v := vs[0]
	run := func(o simrun.Options) *finished {
		var m record.Memory
		if err := simrun.Run(context.Background(), v.plan, &m, o); err != nil {
			t.Fatal(err)
		}
		r := m.Records()
		r.Run.Engine = "sim"
		return &finished{records: r}
	}
	sim := run(simrun.Options{})
	if c, _ := agreement(t.Context(), v, sim, run(simrun.Options{}), nil); c.Verdict != record.Pass || strings.Contains(c.Detail, "order") {
		t.Errorf("with itself: %s: %s", c.Verdict, c.Detail)
	}
	// A lab in which the last of the file's equal flows came first.
	late := make([]time.Duration, len(v.plan.Flows))
	for i := range late {
		late[i] = time.Duration(len(late)-i) * 20 * time.Microsecond
	}
	lab := run(simrun.Options{Late: simrun.Late{Flows: late}})
	c, _ := agreement(t.Context(), v, sim, lab, nil)
	if c.Verdict != record.Pass || !strings.Contains(c.Detail, "in the order in which the lab's came") {
		t.Errorf("in another order: %s: %s", c.Verdict, c.Detail)
	}
	if reflect.DeepEqual(sim.records.Flows, lab.records.Flows) {
		t.Error("the order makes no difference: the test proves nothing")
	}
	for i := range lab.records.Flows {
		if f := &lab.records.Flows[i]; f.Traffic == "same" && f.Result == record.OK {
			f.HomeServer = "lhr.9"
			break
		}
	}
	if c, _ := agreement(t.Context(), v, sim, lab, nil); c.Verdict != record.Fail || !strings.Contains(c.Detail, "lhr.9") {
		t.Errorf("with a flow on another server: %s: %s", c.Verdict, c.Detail)
	}
}

// Where a lab's flows and faults come late enough for something else to become of flows, or
// for them to take another time, the simulator has them come as late, and all the rest must
// agree: a flow that was lost for nothing of that is found.
func TestAgreementAsLateAsTheLab(t *testing.T) {
	for _, tt := range []struct {
		scenario, variant, set, traffic string
		late                            func(*simrun.Late, *plan.Plan)
	}{
		{"narrow_path", "edge", "roam.start=760ms", "roam", func(l *simrun.Late, p *plan.Plan) { // before or after an acknowledgement
			for i := range p.Flows {
				if p.Flows[i].Traffic == "roam" {
					l.Flows[i] = 20 * time.Millisecond
				}
			}
		}},
		{"port_exhaustion", "base", "", "crowd", func(l *simrun.Late, p *plan.Plan) { // some after those who were to find no port
			for i := range p.Flows {
				if p.Flows[i].Traffic == "crowd" && p.Flows[i].N%10 == 0 {
					l.Flows[i] = 5 * time.Second
				}
			}
		}},
		{"server_maintenance", "killed", "", "before", func(l *simrun.Late, _ *plan.Plan) { // after all transfers
			l.Faults, l.Heals = []time.Duration{20 * time.Second}, []time.Duration{20 * time.Second}
		}},
	} {
		flags := runFlags{variants: []string{tt.variant}}
		if tt.set != "" {
			flags.sets = []string{tt.set}
		}
		vs, err := prepareAll([]string{tt.scenario}, flags)
		if err != nil {
			t.Fatal(err)
		}
		v := vs[0]
		run := func(o simrun.Options) *finished {
			r, err := resimulated(t.Context(), v.plan, o)
			if err != nil {
				t.Fatal(err)
			}
			return &finished{records: r}
		}
		o := simrun.Options{Late: simrun.Late{Flows: make([]time.Duration, len(v.plan.Flows))}}
		for i := range o.Late.Flows {
			o.Late.Flows[i] = time.Microsecond // as any lab's
		}
		tt.late(&o.Late, v.plan)
		sim, lab := run(simrun.Options{}), run(o)
		if r, err := compare.Runs(sim.records, lab.records); err != nil || r.Verdict() != record.Fail {
			t.Errorf("%s: %v, %v: the lateness makes no difference: the test proves nothing", tt.scenario, err, r)
		}
		if c, _ := agreement(t.Context(), v, sim, lab, nil); c.Verdict != record.Pass || !strings.Contains(c.Detail, "as late") {
			t.Errorf("%s: %s: %s", tt.scenario, c.Verdict, c.Detail)
		}
		for i := range lab.records.Flows {
			if f := &lab.records.Flows[i]; f.Traffic == tt.traffic && f.Result == record.OK {
				f.Result = record.Lost
				break
			}
		}
		if c, _ := agreement(t.Context(), v, sim, lab, nil); c.Verdict != record.Fail || !strings.Contains(c.Detail, "1 × difference") {
			t.Errorf("%s, with a flow lost: %s: %s", tt.scenario, c.Verdict, c.Detail)
		}
	}
}
