package load

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// collections are the top-level words whose items selectors name by id alone.
// They share one namespace.
var collections = []string{"datacenters", "transit", "sites", "devices", "connectors", "internet", "traffic", "workload"}

// steps takes a path apart: "sites[0].onramps.wan" is sites, [0], onramps, wan.
func steps(path string) []string {
	return strings.FieldsFunc(strings.ReplaceAll(path, "[", ".["), func(r rune) bool { return r == '.' })
}

// index reads a step such as "[2]".
func index(step string) (int, bool) {
	inner, ok := strings.CutPrefix(step, "[")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSuffix(inner, "]"))
	return i, err == nil && i >= 0
}

// follow resolves aliases.
func follow(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

// walker goes down the tree of a file along a path.
type walker struct {
	node  *yaml.Node // where it stands
	key   *yaml.Node // the key it came by; nil in a list
	exact bool       // every step was found
	atKey bool       // the key is what was meant: a place with its share
}

// walk finds the node of a path, or the nearest one above it, and whether it
// is the exact one. The node to point at is a scalar itself, else its key.
func (f *file) walk(path string) (*yaml.Node, bool) {
	w := f.descend(f.root, steps(path))
	return w.point(), w.exact
}

func (w walker) point() *yaml.Node {
	if w.key != nil && (w.node.Kind != yaml.ScalarNode || w.atKey) {
		return w.key
	}
	return w.node
}

func (f *file) descend(from *yaml.Node, path []string) walker {
	w := walker{node: follow(from), exact: true}
	for i := 0; i < len(path); i++ {
		step := path[i]
		switch w.node.Kind {
		case yaml.MappingNode:
			if k, v := mapEntry(w.node, step); v != nil {
				w.key, w.node = k, v
				w.atKey = i > 0 && path[i-1] == "near"
				continue
			}
			if spec.IsNumber(step) || step == "*" {
				continue // an instance: all are written once
			}
			if skip, ok := f.aside(&w, path[i:]); ok {
				i += skip
				continue
			}
			w.exact = false
			return w
		case yaml.SequenceNode:
			item := itemOf(w.node, step)
			if item == nil {
				if step == "*" {
					continue
				}
				w.exact = false
				return w
			}
			w.key, w.node = nil, item
		default:
			// A short form: the rest of the path is inside the value. An
			// optional word that the short form cannot hold is not there.
			last := path[len(path)-1]
			w.exact = i == len(path)-1 && (last == "prefix" || last == "address")
			return w
		}
	}
	return w
}

// aside tries the ways to write a path other than by its keys: an object by
// its id alone, a part of a site by its id, the single account.
func (f *file) aside(w *walker, path []string) (skip int, ok bool) {
	try := func(k, n *yaml.Node, step string) bool {
		if n == nil || n.Kind != yaml.SequenceNode {
			return false
		}
		if item := itemOf(n, step); item != nil {
			w.key, w.node = nil, item
			return true
		}
		return false
	}
	if w.node == f.root {
		if path[0] == "accounts" {
			if k, v := mapEntry(f.root, "account"); v != nil {
				w.key, w.node = k, v
				return min(1, len(path)-1), true
			}
		}
		for _, c := range collections {
			if k, v := mapEntry(f.root, c); try(k, v, path[0]) {
				return 0, true
			}
		}
		return 0, false
	}
	if k, v := mapEntry(w.node, "onramps"); try(k, v, path[0]) {
		return 0, true
	}
	if _, hosts := mapEntry(w.node, "hosts"); hosts != nil {
		if k, v := mapEntry(hosts, path[0]); v != nil {
			w.key, w.node = k, v
			return 0, true
		}
	}
	return 0, false
}

// itemOf finds an item of a list by number or by id; nil if there is none.
func itemOf(list *yaml.Node, step string) *yaml.Node {
	if i, ok := index(step); ok {
		if i < len(list.Content) {
			return follow(list.Content[i])
		}
		return nil
	}
	for _, c := range list.Content {
		c = follow(c)
		if id := mapValue(c, "id"); id != nil && id.Value == step || c.Kind == yaml.ScalarNode && c.Value == step {
			return c
		}
	}
	if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(list.Content) {
		return follow(list.Content[i])
	}
	return nil
}

// place finds a path in the file or in one it includes.
func (f *file) place(path string) (in *file, w walker) {
	all := steps(path)
	if g, local := f.holder(all); g != nil {
		return g, g.descend(g.root, local)
	}
	w = f.descend(f.root, all)
	if w.exact {
		return f, w
	}
	for _, inc := range f.includes {
		if inc.root == nil {
			continue
		}
		short := append([]string(nil), all...)
		for i := range min(2, len(short)) {
			if own := strings.TrimPrefix(short[i], inc.prefix); own != "" {
				short[i] = own
			}
		}
		if g, found := inc.place(strings.Join(short, ".")); found.exact {
			return g, found
		}
	}
	return f, w
}

// holder finds the file whose item a number means: items of included files
// follow the file's own. It returns nil if the path has no such number.
func (f *file) holder(path []string) (*file, []string) {
	if len(path) < 2 {
		return nil, nil
	}
	i, ok := index(path[1])
	if !ok {
		return nil, nil
	}
	own := f.own(path[0])
	if i < own {
		return f, path
	}
	i -= own
	for _, inc := range f.includes {
		if n := inc.total(path[0]); i < n {
			return inc.holder(append([]string{path[0], "[" + strconv.Itoa(i) + "]"}, path[2:]...))
		} else {
			i -= n
		}
	}
	return nil, nil
}

// own counts the items of a top-level list in the file itself, total also
// those of what it includes.
func (f *file) own(list string) int {
	if n := mapValue(f.root, list); n != nil && n.Kind == yaml.SequenceNode {
		return len(n.Content)
	}
	return 0
}

func (f *file) total(list string) int {
	n := f.own(list)
	for _, inc := range f.includes {
		n += inc.total(list)
	}
	return n
}

// Mistake is a mistake at a path, for packages that find what load cannot:
// "shop.1.wan.arr", "traffic.same.flows", "links.access.delay" or
// "sites[0].onramps[1].type", whose number counts written-out sites. A path
// that is not in the file gives the place where it would be.
func (d *Doc) Mistake(path, msg string) *Mistake {
	f, w := d.file.place(byID(d.counted(), path))
	n := w.point()
	return f.src.mistake(n.Line, n.Column, msg, "")
}

// MistakeIn is Mistake for a scenario that Resolve returned: it points to the
// variant's setting where that is what the path comes from.
func (d *Doc) MistakeIn(s *spec.Scenario, path, msg string) *Mistake {
	d.mu.Lock()
	r := d.results[s]
	d.mu.Unlock()
	if r == nil {
		return d.Mistake(path, msg)
	}
	return r.mistake(byID(s, path), msg, "")
}

// counted is the base scenario with its instances written out, as indexes in
// paths of other packages count them.
func (d *Doc) counted() *spec.Scenario {
	if d.base != nil {
		return d.base
	}
	return d.Spec
}

// byID replaces the index of a written-out site, device or Internet host by its id and
// instance, because the file holds each only once.
func byID(s *spec.Scenario, path string) string {
	all := steps(path)
	if len(all) < 2 {
		return path
	}
	i, ok := index(all[1])
	if !ok {
		return path
	}
	id, instance := "", 0
	switch {
	case all[0] == "sites" && i < len(s.Sites):
		id, instance = s.Sites[i].ID, s.Sites[i].Instance
	case all[0] == "devices" && i < len(s.Devices):
		id, instance = s.Devices[i].ID, s.Devices[i].Instance
	case all[0] == "internet" && i < len(s.Internet):
		id, instance = s.Internet[i].ID, s.Internet[i].Instance
	}
	if id == "" {
		return path
	}
	all[1] = id
	if instance > 0 {
		all[1] += "." + strconv.Itoa(instance)
	}
	return strings.Join(all, ".")
}
