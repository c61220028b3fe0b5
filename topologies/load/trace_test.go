package load_test

import (
	"encoding/json"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A trace is looked for beside the file that names it, also from a variant's
// setting, and is all in the plan: another process needs no file.
func TestTrace(t *testing.T) {
	doc, err := load.Bytes("testdata/errors/traced.yaml", []byte(`version: 1
name: traced
datacenters: [{id: lhr, egress: [198.51.100.0/32]}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
links:
  access: {trace: ../traces/steady.trace, queue: 60kB}
variants:
  rated: {set: {links.access: {rate: 8Mbit, trace: ""}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for variant, want := range map[string]unit.BitRate{"base": 18 * unit.Mbit, "rated": 0} { // 3 × 1500 bytes in 2 ms
		s, err := doc.Resolve(variant, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.CompileVariant(s, variant)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(p)
		var back plan.Plan
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range back.Links {
			l := &back.Links[i]
			if c := l.Impair(impair.AB); l.Class == plan.ClassAccess && (want != 0) != (c.Trace != nil) {
				t.Errorf("%s: %s has the trace %v", variant, l.ID, c.Trace)
			} else if c.Trace != nil && c.Trace.Rate() != want {
				t.Errorf("%s: %s has the mean rate %v, want %v", variant, l.ID, c.Trace.Rate(), want)
			}
		}
	}
}
