package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/fixture"
)

// TestDiff: equal results agree; one flow on another server is told, with its
// exit code; what is no result is a mistake.
func TestDiff(t *testing.T) {
	a, b := fixture.Write(t), fixture.Write(t)
	call := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Main(append([]string{"diff"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, errs := call(a, b); code != 0 || !strings.Contains(out, "overlapping_branches/base on emu-hub: agree on ") {
		t.Errorf("equal: %d\n%s%s", code, out, errs)
	}
	file := filepath.Join(b, fixture.Scenario, "base", fixture.Engine, "flows.jsonl")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"home_server":"lhr.1"`, `"home_server":"lhr.2"`, 1)
	if changed == string(text) {
		t.Fatal("no flow is at home on lhr.1")
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := call(a, b); code != 1 || !strings.Contains(out, "home_server: lhr.1 and lhr.2") || !strings.Contains(out, "1 difference in") {
		t.Errorf("one flow on another server: %d\n%s", code, out)
	}
	if code, out, _ := call("--json", a, b); code != 1 || !strings.Contains(out, `"what": "home_server"`) {
		t.Errorf("as JSON: %d\n%s", code, out)
	}
	if code, _, errs := call(a); code != 2 || !strings.Contains(errs, "no variant was run on two engines") {
		t.Errorf("one engine: %d %s", code, errs)
	}
	if code, _, errs := call(t.TempDir()); code != 2 || !strings.Contains(errs, "no results here") {
		t.Errorf("nothing: %d %s", code, errs)
	}
}
