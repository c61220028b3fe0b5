package topologies

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// A plan is handed from process to process as JSON, and is the same afterwards.
func TestPlansSurviveJSON(t *testing.T) {
	shipped, err := List()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shipped {
		doc, err := Load(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range doc.Variants() {
			r, err := doc.Resolve(v, nil)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.CompileVariant(r, v)
			if err != nil {
				t.Fatal(err)
			}
			first, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var read plan.Plan
			if err := json.Unmarshal(first, &read); err != nil {
				t.Fatalf("%s/%s: %v", s.Name, v, err)
			}
			second, err := json.Marshal(&read)
			if err != nil || !bytes.Equal(first, second) || read.Fingerprint() != p.Fingerprint() {
				t.Errorf("%s/%s is another plan after JSON (%v)", s.Name, v, err)
			}
		}
	}
}
