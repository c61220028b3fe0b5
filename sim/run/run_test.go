package run

import (
	"context"
	"fmt"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func planOf(t testing.TB, name, variant string) *plan.Plan {
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
	return p
}

func TestShipped(t *testing.T) {
	shipped, err := topologies.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shipped {
		d, err := topologies.Load(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Variants() {
			t.Run(s.Name+"/"+v, func(t *testing.T) {
				var m record.Memory
				p := planOf(t, s.Name, v)
				if err := Run(context.Background(), p, &m, Options{}); err != nil {
					t.Fatal(err)
				}
				r := m.Records()
				by := map[record.Result]int{}
				for _, f := range r.Flows {
					by[f.Result]++
				}
				t.Log(by, len(r.Sessions), len(r.Events), r.Run.Fingerprint, r.Run.WallMs)
				for i, f := range r.Flows {
					if i < 400 && f.Result != record.OK && testing.Verbose() {
						fmt.Println(f.Traffic, f.N, f.Result, f.Reason, f.DeliveredTo)
					}
				}
			})
		}
	}
}
