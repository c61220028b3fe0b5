package run

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func planOf(t *testing.T, name, variant string, keep func(*plan.Flow) bool) *plan.Plan {
	t.Helper()
	d, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := d.Resolve(variant, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.CompileVariant(resolved, variant)
	if err != nil {
		t.Fatal(err)
	}
	var flows []plan.Flow
	for _, x := range p.Flows {
		if keep(&x) {
			flows = append(flows, x)
		}
	}
	p.Flows = flows
	return p
}

func TestBase(t *testing.T) {
	p := planOf(t, "overlapping_branches", "base", func(f *plan.Flow) bool { return true })
	w, err := newWorld(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.starts(); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Run(w, vt.Instant(100*time.Second)); err != nil {
		t.Fatal(err)
	}
	for i, o := range w.hosts.Outcomes() {
		if o.Result != record.OK {
			t.Errorf("%s#%d: %+v", p.Flows[i].Traffic, p.Flows[i].N, o)
		}
	}
	if w.pool.Live() != 0 {
		t.Errorf("%d packets are lost track of", w.pool.Live())
	}
}
