package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/homeward-lab/homeward/"

type pkg struct {
	ImportPath   string
	Name         string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func (p pkg) rel() string { return strings.TrimPrefix(p.ImportPath, module) }

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages, want the whole module", len(all))
	}
	return all
}

// allowed says which of our own packages may be imported from below a prefix.
// The longest matching prefix rules. internal/ serves tests everywhere.
var allowed = []struct {
	from string
	may  []string
	why  string
}{
	{"dataplane/", []string{"dataplane/"}, "the brain knows no driver, file or report"},
	{"topologies", []string{"topologies", "dataplane/"}, "a plan is pure data for every engine"},
	{"dataplane/hub/hubbench", []string{"dataplane/", "reports/figure"}, "a bench makes figures"},
	{"reports/record", []string{"dataplane/vt", "dataplane/unit"}, "records are a leaf that every engine can write"},
	{"reports/journal", []string{"reports/record", "topologies/plan", "topologies/spec", "dataplane/"}, "the journal makes records of what happened, the same for every engine"},
	{"reports/", []string{"reports/"}, "a report reads records alone, so that it serves every engine"},
	{"bpf", []string{"dataplane/", "bpf"}, "programs mirror the dataplane and nothing else"},
	{"sim", []string{"sim", "topologies/plan", "topologies/spec", "topologies/place", "dataplane/", "reports/record", "reports/journal", "reports/figure"}, "the simulator cannot see the lab"},
	{"emu", []string{"emu", "topologies/plan", "topologies/spec", "topologies/place", "dataplane/", "reports/record", "reports/journal", "reports/figure", "bpf"}, "the lab cannot see the simulator"},
	{"cmd/", []string{""}, "commands wire everything together"},
	{"internal/", []string{"internal/"}, "test helpers know nothing of the product"},
}

// order of the dataplane: imports go from later to earlier only.
var order = []string{"vt", "unit", "impair", "ident", "drop", "dns", "pkt", "tunnel", "pathmtu", "flow", "fragment", "connector", "connected", "route", "bgp", "health", "policy", "egress", "steer", "hub", "conform"}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		rule := -1
		for i, r := range allowed {
			if strings.HasPrefix(p.rel(), r.from) && (rule < 0 || len(r.from) > len(allowed[rule].from)) {
				rule = i
			}
		}
		if rule < 0 {
			t.Errorf("%s has no place in the house: add it to ARCHITECTURE's folders and to this test, or move it", p.rel())
			continue
		}
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if ours && !within(to, allowed[rule].may) {
				t.Errorf("%s imports %s: %s", p.rel(), to, allowed[rule].why)
			}
		}
	}
}

func within(to string, may []string) bool {
	for _, m := range may {
		if m == "" || to == strings.TrimSuffix(m, "/") || strings.HasPrefix(to, strings.TrimSuffix(m, "/")+"/") {
			return true
		}
	}
	return false
}

func TestDataplaneImportsUpward(t *testing.T) {
	level := map[string]int{}
	for i, name := range order {
		level[name] = i
	}
	of := func(rel string) (int, bool) {
		rest, ok := strings.CutPrefix(rel, "dataplane/")
		if !ok {
			return 0, false
		}
		name, _, _ := strings.Cut(rest, "/")
		n, known := level[name]
		if !known {
			t.Errorf("dataplane/%s is not in the order %v", name, order)
		}
		return n, true
	}
	for _, p := range packages(t) {
		from, ok := of(p.rel())
		if !ok {
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours {
				if n, ok := of(to); ok && n > from {
					t.Errorf("%s imports %s, which is above it", p.rel(), to)
				}
			}
		}
	}
}

// The core takes time and chance as arguments: it starts nothing,
// reads no clock and talks to nobody.
func TestDataplaneIsPure(t *testing.T) {
	forbidden := map[string]string{
		"math/rand": "randomness is a seed in the configuration", "math/rand/v2": "randomness is a seed in the configuration", "crypto/rand": "randomness is a seed in the configuration",
		"os": "no I/O", "net": "no I/O (net/netip is fine)", "net/http": "no I/O", "syscall": "no I/O", "golang.org/x/sys/unix": "no I/O", "io/fs": "no I/O",
		"log": "the driver logs", "log/slog": "the driver logs", "sync": "one goroutine calls the core", "sync/atomic": "one goroutine calls the core", "context": "nothing to cancel",
	}
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.rel(), "dataplane/") || strings.HasSuffix(p.rel(), "bench") {
			continue
		}
		for _, imp := range p.Imports {
			if why, bad := forbidden[imp]; bad {
				t.Errorf("%s imports %s: %s", p.rel(), imp, why)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.Doc) < 40 {
			t.Errorf("%s has no package comment that says what it is (%q)", p.rel(), p.Doc)
		}
	}
}
