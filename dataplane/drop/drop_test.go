package drop_test

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

// TestNames: every reason has a label of its own, fit for a metric, and is found
// by it.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range append(drop.Reasons(), drop.None) {
		name := r.String()
		if name == "" || seen[name] || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("reason %d has the label %q", r, name)
		}
		if r.About() == "" {
			t.Errorf("nothing says what %s means", name)
		}
		seen[name] = true
		if back, ok := drop.Parse(name); !ok || back != r {
			t.Errorf("%q is read as %v, %v", name, back, ok)
		}
	}
	if len(seen) != drop.Count {
		t.Errorf("%d labels for %d reasons", len(seen), drop.Count)
	}
	if _, ok := drop.Parse("no such reason"); ok {
		t.Error("an unknown label was found")
	}
	if got := drop.Reason(drop.Count).String(); seen[got] {
		t.Errorf("a number beyond the last reason prints as %q", got)
	}
}
