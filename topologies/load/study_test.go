package load_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	schema "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/internal/golden"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
)

// TestStudyErrors reads studies that are wrong, by themselves or to the scenario, and
// compares everything that is said about them.
func TestStudyErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/studies/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	doc, err := topologies.Load("overlapping_branches")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		s, err := load.StudyFile(file)
		if err == nil {
			err = s.Check(doc)
		}
		var errs load.Errors
		if !errors.As(err, &errs) {
			t.Fatalf("%s: %v, want Errors", file, err)
		}
		got := strings.ReplaceAll(err.Error(), filepath.Dir(file)+string(filepath.Separator), "") + "\n"
		golden.Equal(t, strings.TrimSuffix(file, ".yaml")+".golden", []byte(got))
	}
}

// TestShippedStudies: they have no mistake, in themselves or to their scenario, and
// are as the schema says.
func TestShippedStudies(t *testing.T) {
	text, err := load.StudySchema()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := schema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := schema.NewCompiler()
	if err := c.AddResource("study.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("study.json")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := topologies.StudyList()
	if err != nil || len(shipped) < 6 {
		t.Fatalf("%d studies, %v; want at least six", len(shipped), err)
	}
	for _, x := range shipped {
		data, err := topologies.Studies.ReadFile(x.File)
		if err != nil {
			t.Fatal(err)
		}
		s, err := load.StudyBytes(x.File, data)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := topologies.Load(s.Spec.Scenario)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(doc); err != nil {
			t.Error(err)
		}
		if s.Spec.Name != x.Name || s.Spec.Title == "" || s.Spec.Description == "" {
			t.Errorf("%s is called %q; want the file's name, a title and a description", x.File, s.Spec.Name)
		}
		var plain any
		if err := yaml.Load(data, &plain); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		value, err := schema.UnmarshalJSON(strings.NewReader(string(again)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", x.File, err)
		}
	}
}
