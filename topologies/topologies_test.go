package topologies_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestList(t *testing.T) {
	list, err := topologies.All()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range list {
		names[s.Name] = true
		doc, err := topologies.Load(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Title == "" || doc.Spec.Name != s.Name || s.File != s.Name+".yaml" {
			t.Errorf("%+v holds %q, want a title and the file's name", s, doc.Spec.Name)
		}
		if doc.Spec.Description == "" || len(doc.Spec.Checks) == 0 && !s.FlowLevel {
			t.Errorf("%s has no description or no checks", s.Name)
		}
		own := func(c spec.Check) bool { return c.Always == "egress.port_outside_slice == 0" }
		if !s.FlowLevel && !slices.ContainsFunc(doc.Spec.Checks, own) {
			t.Errorf("%s does not check that no packet leaves by a port of another server's (SU-3)", s.Name)
		}
	}
	if !names["overlapping_branches"] {
		t.Errorf("got %v, want overlapping_branches among them", names)
	}
	if _, err := topologies.Load("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// TestPlans: every variant of what is shipped is a plan that servers take and no
// engine refuses.
func TestPlans(t *testing.T) {
	list, err := topologies.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		doc, err := topologies.Load(one.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, variant := range doc.Variants() {
			s, err := doc.Resolve(variant, nil)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.CompileVariant(s, variant)
			if err != nil {
				t.Errorf("%s/%s: %v", one.Name, variant, err)
				continue
			}
			if one.FlowLevel {
				if len(p.Features) == 0 || p.Features[0].Word != "population" {
					t.Errorf("%s/%s asks for %v, want the population first: no engine plays it", one.Name, variant, p.Features)
				}
				continue
			}
			if len(p.Features) > 0 {
				t.Errorf("%s/%s asks for %v, which no engine can do", one.Name, variant, p.Features)
			}
			for _, server := range p.Servers {
				if _, err := hub.New(server.Config); err != nil {
					t.Errorf("%s/%s: %s: %v", one.Name, variant, server.Node, err)
				}
			}
		}
	}
}
