package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every assertion of SEMANTICS.md is a test of that name, and what code cites is
// there.
func TestSemantics(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "SEMANTICS.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections, assertions := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^##+ ([0-9.]+)`).FindAllStringSubmatch(string(text), -1) {
		sections[strings.TrimSuffix(m[1], ".")] = true
	}
	for _, m := range regexp.MustCompile(`\*\*([A-Z]+-[0-9]+)\*\*`).FindAllStringSubmatch(string(text), -1) {
		assertions[m[1]] = false // until its test is found
	}
	if len(sections) < 40 || len(assertions) < 60 {
		t.Fatalf("%d sections, %d assertions: the document is not read as it is written", len(sections), len(assertions))
	}
	names := regexp.MustCompile(`func Test(?:Live)?(ARR|RT|VN|OX|SU|EG)([0-9]+)`)
	cited := regexp.MustCompile(`SEMANTICS ([0-9]+(?:\.[0-9]+)?)`)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		code, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range names.FindAllStringSubmatch(string(code), -1) {
			id := m[1] + "-" + m[2]
			if _, ok := assertions[id]; !ok {
				t.Errorf("%s tests %s, which SEMANTICS.md does not have", path, id)
			}
			assertions[id] = true
		}
		for _, m := range cited.FindAllStringSubmatch(string(code), -1) {
			if !sections[m[1]] {
				t.Errorf("%s cites SEMANTICS %s, which there is not", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, tested := range assertions {
		if !tested {
			t.Errorf("%s has no test of that name", id)
		}
	}
}
