package topologies_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/homeward-lab/homeward/topologies"
)

func TestList(t *testing.T) {
	list, err := topologies.List()
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
		if doc.Spec.Description == "" || len(doc.Spec.Checks) == 0 {
			t.Errorf("%s has no description or no checks", s.Name)
		}
	}
	if !names["overlapping_branches"] {
		t.Errorf("got %v, want overlapping_branches among them", names)
	}
	if _, err := topologies.Load("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}
