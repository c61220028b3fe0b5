package main

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
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
	lab := run(simrun.Options{Late: late})
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
