package load

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Resolve gives the scenario of one variant: its settings and then sets are
// applied, the more specific selector last; Count is written out into
// instances; defaults are filled in; and the result is checked. The error is
// an Errors with every mistake.
//
// In the result each Site, Device and Internet host is one instance (Instance
// counts from 1; that of an Internet host is 0 unless it had a Count), its Near
// holds one place, and Count is 0.
func (d *Doc) Resolve(variant string, sets []spec.Setting) (*spec.Scenario, error) {
	s, r, err := d.resolve(variant, sets)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.results[s] = r
	if d.recent = append(d.recent, s); len(d.recent) > maxResults {
		delete(d.results, d.recent[0])
		d.recent = d.recent[1:]
	}
	return s, nil
}

// maxResults are the resolved scenarios that MistakeIn can point from; older
// ones point into the file as Mistake does.
const maxResults = 16

// resolver makes one resolved scenario and remembers where its values come from.
type resolver struct {
	doc     *Doc
	file    *file
	variant string
	outside []setting
	s       *spec.Scenario
	errs    Errors
	// origin tells which setting wrote a path.
	origin map[string]setting
	// bad are the paths whose setting could not be read.
	bad map[string]bool
	// twice are the paths of objects whose id is another's.
	twice map[string]bool
	// odd are tainted mappings, as in decoder, of the settings' values.
	odd map[*yaml.Node]bool
}

func (d *Doc) resolve(variant string, sets []spec.Setting) (*spec.Scenario, *resolver, error) {
	r := &resolver{doc: d, file: d.file, variant: variant, origin: map[string]setting{}, bad: map[string]bool{}, twice: map[string]bool{}, odd: map[*yaml.Node]bool{}}
	own, err := r.settings(variant)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sets {
		out, mistake := fromOutside(s)
		if mistake != nil {
			r.errs = append(r.errs, mistake)
			continue
		}
		r.outside = append(r.outside, out)
	}
	own, theirs := r.parameters(own), r.parameters(r.outside)
	r.s = clone(r.file.spec)
	late := [][]ranked{r.early(own), r.early(theirs)}
	r.shape()
	r.write()
	for _, layer := range late {
		r.late(layer)
	}
	r.servers()
	r.deal()
	r.defaults()
	r.check()
	r.findings()
	return r.s, r, r.errs.err()
}

// settings are those of a variant of the file.
func (r *resolver) settings(variant string) ([]setting, error) {
	if variant == "" || variant == spec.Base {
		r.variant = spec.Base
		return nil, nil
	}
	for _, v := range r.file.spec.Variants {
		if v.Name != variant {
			continue
		}
		var out []setting
		for _, p := range r.file.sets[variant] {
			s := setting{path: p.key.Value, key: p.key, val: p.value, src: r.file.src}
			sel, err := spec.ParseSelector(s.path)
			if err != nil {
				r.errs = append(r.errs, s.src.mistake(p.key.Line, p.key.Column, err.Error(), ""))
				continue
			}
			s.sel = sel
			out = append(out, s)
		}
		return out, nil
	}
	names := r.doc.Variants()
	return nil, Errors{r.file.src.mistake(0, 0, fmt.Sprintf("no variant %q, want one of %s", clip(variant), oneOf(names)), suggest(variant, names))}
}

// parameters takes settings of params out, and reads the file again with them.
func (r *resolver) parameters(list []setting) []setting {
	overrides := map[string]*yaml.Node{}
	var rest []setting
	for _, s := range list {
		if s.sel[0] != "params" || len(s.sel) != 2 {
			rest = append(rest, s)
			continue
		}
		if _, known := r.file.spec.Params[s.sel[1]]; !known {
			r.unknown(s, &wrong{have: s.sel[1], want: idsOf(reflect.ValueOf(r.file.spec.Params))})
			continue
		}
		if s.val.Kind != yaml.ScalarNode {
			r.errs = append(r.errs, s.src.mistake(s.val.Line, s.val.Column, "want a plain value for a parameter, not "+kindName(s.val), ""))
			continue
		}
		overrides[s.sel[1]] = s.val
	}
	if len(overrides) == 0 {
		return rest
	}
	again := *r.file
	for name, value := range r.file.overrides {
		if overrides[name] == nil {
			overrides[name] = value
		}
	}
	again.overrides = overrides
	again.decode(r.doc.words, overrides)
	for _, inc := range again.includes {
		if inc.spec != nil {
			merge(again.spec, prefixed(inc.spec, inc.prefix))
		}
	}
	r.errs = append(r.errs, again.errs...)
	r.file = &again
	return rest
}

// early applies what has to be set before instances are written out, and
// returns the rest.
func (r *resolver) early(list []setting) []ranked {
	var now, later []ranked
	for _, s := range list {
		nav := navigator{words: r.doc.words, s: r.s}
		one := ranked{setting: s, rank: nav.find(s.sel)}
		if len(nav.refs) > 0 && nav.refs[0].early {
			now = append(now, one)
		} else {
			later = append(later, one)
		}
	}
	inOrder(now)
	for _, one := range now {
		r.apply(one.setting, false)
	}
	return later
}

// late applies settings to the instances.
func (r *resolver) late(list []ranked) {
	for i := range list {
		nav := navigator{words: r.doc.words, s: r.s, written: true}
		list[i].rank = nav.find(list[i].sel)
	}
	inOrder(list)
	for _, one := range list {
		r.apply(one.setting, true)
	}
}

// apply writes one setting to everything it selects.
func (r *resolver) apply(s setting, written bool) {
	nav := navigator{words: r.doc.words, s: r.s, written: written}
	nav.find(s.sel)
	if len(nav.refs) == 0 {
		r.unknown(s, nav.wrong)
		return
	}
	d := newDecoder(s.src, r.doc.words)
	d.readParams(r.file.root, r.file.overrides)
	d.errs = nil // the file's own, told already
	for _, at := range nav.refs {
		d.nodes = 0
		ok := true
		if isNull(s.val) {
			at.value.SetZero()
		} else {
			ok = d.value(s.val, at.value, 0) && d.enumerated(s.val, at.value, at.enum)
		}
		if at.done != nil {
			at.done()
		}
		r.origin[at.path] = s
		if !ok {
			r.bad[at.path] = true
			if len(d.errs) > 0 {
				break // the same for every instance
			}
		}
	}
	r.errs = append(r.errs, d.errs...)
	maps.Copy(r.odd, d.tainted)
}

// unknown is the mistake of a setting that selects nothing.
func (r *resolver) unknown(s setting, w *wrong) {
	msg, hint := fmt.Sprintf("%s selects nothing", clip(s.path)), ""
	switch {
	case w == nil:
	case w.why != "":
		msg += ": " + w.why
	case len(w.want) == 0:
		msg = fmt.Sprintf("%s cannot be set: nothing to set at %q", clip(s.path), clip(w.have))
	default:
		msg = fmt.Sprintf("%s selects nothing: no %q, want one of %s", clip(s.path), clip(w.have), oneOf(w.want))
		hint = suggest(w.have, w.want)
	}
	r.errs = append(r.errs, s.src.mistake(s.key.Line, s.key.Column, msg, hint))
}

// write writes Count out into instances. Of Internet hosts each has the next address;
// where addresses run out it is invalid.
func (r *resolver) write() {
	r.s.Sites = instances(r.s.Sites, func(o *spec.Site) *int { return &o.Count }, func(o *spec.Site, n int) { o.Instance = max(n, 1) })
	r.s.Devices = instances(r.s.Devices, func(o *spec.Device) *int { return &o.Count }, func(o *spec.Device, n int) { o.Instance = max(n, 1) })
	var next netip.Addr
	r.s.Internet = instances(r.s.Internet, func(o *spec.InternetHost) *int { return &o.Count }, func(o *spec.InternetHost, n int) {
		if n > 1 {
			o.Address = next
		}
		o.Instance, next = n, o.Address.Next()
	})
}

// instances are copies of each object, as many as its count says, numbered from 1;
// without a count it is one, number 0.
func instances[T any](list []T, count func(*T) *int, number func(o *T, n int)) []T {
	var all []T
	for _, o := range list {
		n := max(*count(&o), 0)
		*count(&o) = 0
		for i := min(n, 1); i <= n; i++ {
			one := copyOf(reflect.ValueOf(o)).Interface().(T)
			number(&one, i)
			all = append(all, one)
		}
	}
	return all
}

// deal gives each instance its one place, share by share.
func (r *resolver) deal() {
	for i := range r.s.Sites {
		r.s.Sites[i].Near = dealt(r.s.Sites[i].Near, r.s.Sites[i].Instance)
	}
	for i := range r.s.Devices {
		r.s.Devices[i].Near = dealt(r.s.Devices[i].Near, r.s.Devices[i].Instance)
	}
	for i := range r.s.Internet {
		r.s.Internet[i].Near = dealt(r.s.Internet[i].Near, r.s.Internet[i].Instance)
	}
}

func dealt(near spec.Near, instance int) spec.Near {
	if len(near) < 2 {
		return near
	}
	round := 0
	for _, p := range near {
		round += max(p.Share, 1)
	}
	turn := max(instance-1, 0) % round
	for _, p := range near {
		if turn -= max(p.Share, 1); turn < 0 {
			return spec.Near{{Code: p.Code, Share: 1}}
		}
	}
	return near
}

// mistake is at a path: at the setting that wrote it, else in the file.
func (r *resolver) mistake(path, msg, hint string) *Mistake {
	src, n, _ := r.locate(path)
	if n == nil {
		return src.mistake(0, 0, msg, hint)
	}
	return src.mistake(n.Line, n.Column, msg, hint)
}

func (r *resolver) fail(path, hint, format string, args ...any) {
	if len(r.errs) < maxMistakes {
		r.errs = append(r.errs, r.mistake(path, fmt.Sprintf(format, args...), hint))
	}
}

// locate finds where a path was written last, and whether it was written at all.
func (r *resolver) locate(path string) (*source, *yaml.Node, bool) {
	if s, w, ok := r.written(path); ok {
		return s.src, w.node, w.exact
	}
	f, w := r.file.place(path)
	return f.src, w.point(), w.exact
}

// written finds the setting that wrote a path.
func (r *resolver) written(path string) (setting, walker, bool) {
	if len(r.origin) == 0 {
		return setting{}, walker{}, false
	}
	for _, p := range []string{path, uncounted(path), named(r.s, path)} {
		if s, rest, ok := r.longest(p); ok {
			return s, r.file.descend(s.val, steps(rest)), true
		}
	}
	return setting{}, walker{}, false
}

// longest finds the setting whose path is the longest beginning of path.
func (r *resolver) longest(path string) (s setting, rest string, ok bool) {
	for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") {
		if s, ok := r.origin[path[:end]]; ok {
			// A mapping changes only the words in it.
			rest := strings.TrimPrefix(path[end:], ".")
			if s.val.Kind == yaml.MappingNode && rest != "" {
				if w := r.file.descend(s.val, steps(rest)[:1]); !w.exact {
					continue
				}
			}
			return s, rest, true
		}
	}
	return setting{}, "", false
}

// named replaces the number of an item by its id.
func named(s *spec.Scenario, path string) string {
	all := steps(path)
	if len(all) < 2 {
		return path
	}
	i, ok := index(all[1])
	for _, list := range idLists(s) {
		if ok && list.word == all[0] && i < len(list.ids) && list.ids[i] != "" {
			all[1] = list.ids[i]
			return strings.Join(all, ".")
		}
	}
	return path
}

// uncounted leaves the instance number out of a path.
func uncounted(path string) string {
	parts := strings.SplitN(path, ".", 4)
	if len(parts) < 3 || !spec.IsNumber(parts[2]) {
		return path
	}
	return strings.Join(append(parts[:2:2], parts[3:]...), ".")
}
