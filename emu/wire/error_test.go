package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func pair() *plan.Plan {
	return &plan.Plan{
		Nodes: []plan.Node{{ID: "a"}, {ID: "b"}},
		Links: []plan.Link{{ID: "a-b", A: plan.Endpoint{Node: "a"}, B: plan.Endpoint{Node: "b"}}},
	}
}

func TestCheckRefusesImpairments(t *testing.T) {
	tests := map[string]struct {
		spoil    func(l *plan.Link)
		from, to string
	}{
		"loss there":  {func(l *plan.Link) { l.AB.Loss = 1 }, "a", "b"},
		"rate back":   {func(l *plan.Link) { l.BA.Rate = 1e6 }, "b", "a"},
		"delay there": {func(l *plan.Link) { l.AB.Delay = spec.Delay{Geo: true} }, "a", "b"},
	}
	for name, tt := range tests {
		p := pair()
		tt.spoil(&p.Links[0])
		var got *wire.UnsupportedError
		if err := wire.Check(p); !errors.As(err, &got) || got.Link != "a-b" || got.From != tt.from || got.To != tt.to {
			t.Errorf("%s: got %v, want an UnsupportedError of a-b from %s to %s", name, err, tt.from, tt.to)
		}
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
