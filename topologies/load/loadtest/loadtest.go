// Package loadtest is what tests of engines share: a plan of a scenario's text.
// It is for tests.
package loadtest

import (
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Plan compiles one variant of a file's text; "base" is the file itself.
func Plan(t testing.TB, text, variant string) *plan.Plan {
	t.Helper()
	doc, err := load.Bytes("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := doc.Resolve(variant, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.CompileVariant(s, variant)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
