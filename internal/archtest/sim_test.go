package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A simulated run is the same on any machine: inside one there is no
// goroutine, no wall clock, no chance of its own and no order of a map's.

// simulated are the packages that a run is made of. plain ones have no function
// literal either: what happens per event is a value, not a closure.
var simulated = []struct {
	path  string
	plain bool
}{
	{"sim/engine", true}, {"sim/packet", true}, {"sim/link", true}, {"sim/node", true},
	{"sim/tcp", false}, {"sim/host", false}, {"sim/run", false}, {"sim/asgraph", false},
}

// excused are functions that may do what others may not, each with why.
var excused = map[string]string{
	"sim/run.Run: clock":      "how long the run took, for people",
	"sim/run.Run: map":        "versions go from one map into another",
	"sim/run.lifetime: clock": "how long it took to build the world, for people",
	"sim/run.progress: clock": "how fast the run is, for people",
	"sim/run.until: clock":    "how often to look whether somebody wants to stop it; what happens is the same",
	"sim/run.close: map":      "sums by name do not depend on the order",
	"sim/engine.sort: func":   "it compares two events and captures nothing",

	"sim/asgraph.NewDynamics: map":     "each list is sorted by itself",
	"sim/asgraph imports os":           "files of links are read before any run",
	"sim/asgraph imports math/rand/v2": "a graph is drawn from its seed before any run",
}

var (
	clocks     = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	sorted     = []string{"Sorted", "SortedFunc", "SortedStableFunc"}
	unsettling = map[string]string{
		"math/rand": "chance is drawn from named streams", "math/rand/v2": "chance is drawn from named streams", "crypto/rand": "chance is drawn from named streams",
		"sync": "one goroutine runs the world", "sync/atomic": "one goroutine runs the world", "os": "no I/O", "net": "no I/O (net/netip is fine)", "log": "records tell", "log/slog": "records tell",
	}
)

func TestSimulationIsDeterministic(t *testing.T) {
	fset := token.NewFileSet()
	imports := exports(t, fset)
	needed := map[string]bool{}
	for _, p := range simulated {
		files, info := check(t, fset, imports, p.path)
		for _, f := range files {
			for _, i := range f.Imports {
				path := strings.Trim(i.Path.Value, `"`)
				what := p.path + " imports " + path
				if why, bad := unsettling[path]; bad {
					if needed[what] = true; excused[what] == "" {
						t.Errorf("%s: imports %s: %s", fset.Position(i.Pos()), path, why)
					}
				}
			}
			for _, m := range offences(f, info, p.plain) {
				what := p.path + "." + m.in + ": " + m.kind
				if needed[what] = true; excused[what] == "" {
					t.Errorf("%s: in %s: %s", fset.Position(m.pos), m.in, m.text)
				}
			}
		}
	}
	for what := range excused {
		if !needed[what] {
			t.Errorf("%s is excused and does not happen", what)
		}
	}
}

// The test sees what it forbids.
func TestSimulationOffencesAreSeen(t *testing.T) {
	const source = `package p
import ("maps"; "slices"; "time")
func f(m map[int]int) {
	go f(m)
	for k := range m { _ = k }
	_ = time.Now()
	for k := range maps.Keys(m) { _ = k }
	_ = slices.Sorted(maps.Keys(m))
	_ = make(chan int)
	_ = func() {}
	var s []int
	for i := range s { _ = i }
}
var clock = time.Now
var kept = func() { go f(nil) }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	c := types.Config{Importer: exports(t, fset)}
	if _, err := c.Check("p", fset, []*ast.File{f}, info); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range offences(f, info, true) {
		got = append(got, fmt.Sprintf("%d %s", fset.Position(m.pos).Line, m.kind))
	}
	want := []string{"4 goroutine", "5 map", "6 clock", "7 map", "9 channel", "10 func", "14 clock", "15 func", "15 goroutine"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// offence is a place that breaks the law.
type offence struct {
	pos            token.Pos
	in, kind, text string
}

func offences(f *ast.File, info *types.Info, plain bool) (all []offence) {
	for _, d := range f.Decls {
		in := "a declaration"
		if fn, ok := d.(*ast.FuncDecl); ok {
			in = fn.Name.Name
		}
		found := func(n ast.Node, kind, text string) {
			all = append(all, offence{n.Pos(), in, kind, text})
		}
		ordered := map[ast.Expr]bool{} // calls whose result is sorted at once
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found(n, "goroutine", "a goroutine")
			case *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				found(n, "channel", "a channel")
			case *ast.FuncLit:
				if plain {
					found(n, "func", "a function literal where events are values")
				}
			case *ast.RangeStmt:
				if _, isMap := info.TypeOf(n.X).Underlying().(*types.Map); isMap {
					found(n, "map", "the order of a map")
				}
			case *ast.CallExpr:
				pkg, name := named(n.Fun, info)
				switch {
				case pkg == "slices" && slices.Contains(sorted, name):
					for _, a := range n.Args {
						ordered[a] = true
					}
				case pkg == "maps" && slices.Contains([]string{"Keys", "Values", "All"}, name) && !ordered[n]:
					found(n, "map", "the order of a map")
				}
			case *ast.SelectorExpr: // called, or kept to be called later
				if pkg, name := named(n, info); pkg == "time" && slices.Contains(clocks, name) {
					found(n, "clock", "the wall clock: time."+name)
				}
			}
			return true
		})
	}
	return all
}

// named is the package and name of what is written as package.Name.
func named(e ast.Expr, info *types.Info) (pkg, name string) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	p, ok := info.Uses[x].(*types.PkgName)
	if !ok {
		return "", ""
	}
	return p.Imported().Path(), s.Sel.Name
}

// check parses and types a package of ours, tests left out.
func check(t *testing.T, fset *token.FileSet, imports types.Importer, path string) ([]*ast.File, *types.Info) {
	t.Helper()
	names, err := filepath.Glob("../../" + path + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		t.Fatalf("%s has no files", path)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	c := types.Config{Importer: imports}
	if _, err := c.Check(module+path, fset, files, info); err != nil {
		t.Fatal(err)
	}
	return files, info
}

// exports imports what the compiler wrote of the simulator's dependencies.
func exports(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./sim/...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	file := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, export, _ := strings.Cut(strings.TrimSpace(line), " ")
		file[path] = export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if file[path] == "" {
			return nil, fmt.Errorf("nothing is known of %s", path)
		}
		return os.Open(file[path])
	})
}
