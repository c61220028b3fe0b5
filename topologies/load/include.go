package load

import (
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// maxIncludes bounds the files that one scenario takes in, nested ones counted.
const maxIncludes = 64

// includer reads a file and what it includes.
type includer struct {
	words words
	open  map[string]bool // files being read, to find circles
	count int
}

// read parses, decodes and merges. f.root is nil if there is no tree to speak of.
func (in *includer) read(src *source, data []byte, overrides map[string]*yaml.Node) *file {
	f := &file{src: src, spec: &spec.Scenario{}}
	root, mistake := parse(src, data)
	if mistake != nil {
		f.errs = Errors{mistake}
		return f
	}
	f.root = root
	f.decode(in.words, overrides)
	for i, inc := range f.spec.Include {
		in.include(f, i, inc)
	}
	return f
}

// decode fills f.spec from its tree.
func (f *file) decode(w words, overrides map[string]*yaml.Node) {
	d := newDecoder(f.src, w)
	d.readParams(f.root, overrides)
	f.spec = &spec.Scenario{}
	d.structure(f.root, reflect.ValueOf(f.spec).Elem(), 0)
	f.errs, f.tainted, f.sets, f.over = d.errs, d.tainted, d.sets, d.over
}

func (in *includer) include(f *file, i int, inc spec.Include) {
	at := fmt.Sprintf("include[%d]", i)
	fail := func(key, format string, args ...any) {
		n, _ := f.walk(at + "." + key)
		f.errs = append(f.errs, f.src.mistake(n.Line, n.Column, fmt.Sprintf(format, args...), ""))
	}
	if inc.File == "" {
		fail("file", "an include names no file")
		return
	}
	if inc.Prefix != "" && !spec.IsWord(inc.Prefix) {
		fail("prefix", "prefix %q, want [a-z][a-z0-9_]*", clip(inc.Prefix))
		return
	}
	path := f.src.beside(inc.File)
	if in.open[path] {
		fail("file", "%s includes itself", inc.File)
		return
	}
	if in.count++; in.count > maxIncludes {
		fail("file", "more than %d includes", maxIncludes)
		return
	}
	data, err := readFile(path)
	if err != nil {
		fail("file", "%v", err)
		return
	}
	in.open[path] = true
	child := in.read(newSource(path, data), data, nil)
	delete(in.open, path)
	f.includes = append(f.includes, included{child, inc.Prefix})
	f.over = f.over || child.over
	if child.root == nil {
		return
	}
	if f.spec.Account != nil && child.spec.Account != nil {
		fail("file", "%s has an account too; want accounts with ids in both files", inc.File)
	}
	merge(f.spec, prefixed(child.spec, inc.Prefix))
}

// merge appends what an included file holds. Its name, title, seed, params,
// timers, bounds and variants stay its own.
func merge(into, from *spec.Scenario) {
	for _, need := range from.Needs {
		if !slices.Contains(into.Needs, need) {
			into.Needs = append(into.Needs, need)
		}
	}
	if into.Account == nil {
		into.Account = from.Account
	}
	if into.Population == nil {
		into.Population = from.Population
	}
	for class, imp := range from.Links {
		if into.Links == nil {
			into.Links = map[string]spec.Impairment{}
		}
		if _, own := into.Links[class]; !own {
			into.Links[class] = imp
		}
	}
	a, b := reflect.ValueOf(into).Elem(), reflect.ValueOf(from).Elem()
	for _, name := range []string{
		"Datacenters", "Transit", "Announce", "Accounts", "Sites", "Devices", "Connectors", "Internet",
		"Routes", "Impair", "Uplink", "Traffic", "Workload", "Faults", "Checks",
	} {
		list := a.FieldByName(name)
		list.Set(reflect.AppendSlice(list, b.FieldByName(name)))
	}
}
