// Package loadtest is what tests of engines share: a plan of a scenario's text.
// It is for tests.
package loadtest

import (
	"testing"

	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Plan compiles one variant of a file's text; "base" is the file itself.
func Plan(t testing.TB, text, variant string) *plan.Plan {
	t.Helper()
	p, err := compile("test.yaml", []byte(text), variant)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Shipped is the plan of a variant of what ships, with settings.
func Shipped(t testing.TB, name, variant string, sets ...spec.Setting) *plan.Plan {
	t.Helper()
	p, err := plan.CompileVariant(ShippedScenario(t, name, variant, sets...), variant)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ShippedScenario is a variant of what ships, resolved, with settings.
func ShippedScenario(t testing.TB, name, variant string, sets ...spec.Setting) *spec.Scenario {
	t.Helper()
	d, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Resolve(variant, sets)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Base compiles the text of a file, for what takes such a function.
func Base(name string, text []byte) (*plan.Plan, error) { return compile(name, text, spec.Base) }

func compile(name string, text []byte, variant string) (*plan.Plan, error) {
	s, err := resolve(name, text, variant)
	if err != nil {
		return nil, err
	}
	return plan.CompileVariant(s, variant)
}

// Scenario is the resolved base of a file's text.
func Scenario(t testing.TB, text string) *spec.Scenario {
	t.Helper()
	s, err := resolve("test.yaml", []byte(text), spec.Base)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func resolve(name string, text []byte, variant string) (*spec.Scenario, error) {
	doc, err := load.Bytes(name, text)
	if err != nil {
		return nil, err
	}
	return doc.Resolve(variant, nil)
}
