package wire_test

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func pair() *plan.Plan {
	return &plan.Plan{
		Nodes: []plan.Node{{ID: "a"}, {ID: "b"}},
		Links: []plan.Link{{ID: "a-b", A: plan.Endpoint{Node: "a"}, B: plan.Endpoint{Node: "b"}}},
	}
}

func TestCheckRefusesContradictions(t *testing.T) {
	tests := map[string]struct {
		spoil func(p *plan.Plan)
		want  string
	}{
		"plain":          {func(p *plan.Plan) {}, ""},
		"node twice":     {func(p *plan.Plan) { p.Nodes[1].ID = "a" }, `"a" is planned twice`},
		"end nowhere":    {func(p *plan.Plan) { p.Links[0].B.Node = "c" }, `link a-b: no node "c"`},
		"more than all":  {func(p *plan.Plan) { p.Links[0].BA.Loss = 2 }, "link a-b: impairment that cannot be: loss 2"},
		"branch nowhere": {func(p *plan.Plan) { p.Branches = []plan.Branch{{Node: "c", Site: "shop.1"}} }, `branch of shop.1: no node "c"`},
	}
	for name, tt := range tests {
		p := pair()
		tt.spoil(p)
		got := ""
		if err := wire.Check(p); err != nil {
			got = err.Error()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
