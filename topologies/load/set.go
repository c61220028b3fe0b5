package load

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// ParseSet reads a setting such as "shop.*.wan.arr=false".
func ParseSet(s string) (spec.Setting, error) {
	path, value, found := strings.Cut(s, "=")
	path = strings.TrimSpace(path)
	if !found {
		return spec.Setting{}, fmt.Errorf("setting %q: want selector=value, such as shop.*.wan.arr=false", s)
	}
	if _, err := spec.ParseSelector(path); err != nil {
		return spec.Setting{}, fmt.Errorf("setting %q: %w", s, err)
	}
	return spec.Setting{Path: path, Value: strings.TrimSpace(value)}, nil
}

// setting is a Setting with its place.
type setting struct {
	path     string
	sel      spec.Selector
	key, val *yaml.Node
	src      *source
}

// outsideSource is what a --set is called in errors.
const outsideSource = "--set"

// fromOutside makes a setting of one from the command line.
func fromOutside(s spec.Setting) (setting, *Mistake) {
	text := s.Path + "=" + s.Value
	src := newSource(outsideSource, []byte(text))
	offset := len([]rune(s.Path)) + 1
	out := setting{path: s.Path, src: src, key: &yaml.Node{Kind: yaml.ScalarNode, Value: s.Path, Line: 1, Column: 1}}
	sel, err := spec.ParseSelector(s.Path)
	if err != nil {
		return out, src.mistake(1, 1, err.Error(), "")
	}
	out.sel = sel
	out.val = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: 1, Column: offset + 1}
	if strings.TrimSpace(s.Value) == "" {
		return out, nil
	}
	var doc yaml.Node
	if len(s.Value) > maxFile {
		return out, src.mistake(1, offset+1, "the value is too long", "")
	}
	if err := yaml.Load([]byte(s.Value), &doc); err != nil || len(doc.Content) != 1 {
		return out, src.mistake(1, offset+1, fmt.Sprintf("the value is not YAML: %q", clip(s.Value)), "")
	}
	plain := newDecoder(src, words{})
	val := plain.whole(doc.Content[0], 0)
	if val == nil {
		return out, src.mistake(1, offset+1, "the value is nested too deep or too long", "")
	}
	shift(val, offset)
	out.val = val
	return out, nil
}

// shift moves the columns of a value's first line.
func shift(n *yaml.Node, by int) {
	if n.Line == 1 {
		n.Column += by
	}
	for _, c := range n.Content {
		shift(c, by)
	}
}

// ref is one value that a path reaches.
type ref struct {
	value reflect.Value
	path  string
	// early says that the value has to be set before instances are written out.
	early bool
	enum  []string
	done  func() // puts it back where it came from, for values of mappings
}

// wrong says which segment of a path is not there.
type wrong struct {
	have string
	want []string
	why  string // instead of want
}

// navigator finds what a path reaches in a scenario.
type navigator struct {
	words words
	s     *spec.Scenario
	// written says whether instances are written out.
	written bool
	refs    []ref
	wrong   *wrong
}

// rank is how specific a path is once its object's instances are written
// explicitly: "shop.lan" counts as "sites.shop.*.lan". Fewer stars are more, and of
// equally many the longer path is.
type rank struct{ stars, length int }

// find follows a selector from the top.
func (nav *navigator) find(sel spec.Selector) rank {
	top := nav.words.of(reflect.TypeFor[spec.Scenario]())
	extra := rank{stars: sel.Stars(), length: len(sel)}
	root := reflect.ValueOf(nav.s).Elem()
	if f, ok := top.fields[sel[0]]; ok {
		if sel[0] == "variants" || sel[0] == "include" || sel[0] == "version" || sel[0] == "name" {
			nav.wrong = &wrong{have: sel[0]}
			return extra
		}
		nav.follow(ref{value: root.FieldByIndex(f.index), path: sel[0], early: len(sel) == 1, enum: f.enum}, sel[1:])
	} else {
		extra.length++
		nav.object(root, sel)
	}
	if len(nav.refs) > 0 && implicitInstance(nav.refs[0].path, sel) {
		extra.stars++
		extra.length++
	}
	return extra
}

// implicitInstance reports whether a path reaches into an instance that the
// selector did not write.
func implicitInstance(path string, sel spec.Selector) bool {
	parts := steps(path)
	if len(parts) < 3 || !spec.IsNumber(parts[2]) {
		return false
	}
	for i, seg := range sel[:min(3, len(sel))] {
		if i > 0 && (spec.IsNumber(seg) || seg == "*") {
			return false
		}
	}
	return true
}

// object finds an item of a collection by its id alone, or all with "*".
func (nav *navigator) object(root reflect.Value, sel spec.Selector) {
	top := nav.words.of(reflect.TypeFor[spec.Scenario]())
	var ids []string
	var deeper *wrong
	for _, c := range collections {
		list := root.FieldByIndex(top.fields[c].index)
		known := idsOf(list)
		ids = append(ids, known...)
		if sel[0] != "*" && !slices.Contains(known, sel[0]) || list.Len() == 0 {
			continue
		}
		nav.follow(ref{value: list, path: c}, sel)
		if nav.wrong != nil {
			deeper, nav.wrong = nav.wrong, nil
		}
	}
	switch {
	case len(nav.refs) > 0: // "*" may miss in some collections
	case deeper != nil:
		nav.wrong = deeper
	default:
		nav.wrong = &wrong{have: sel[0], want: append(ids, top.keys...)}
	}
}

// follow goes on from a value.
func (nav *navigator) follow(at ref, rest spec.Selector) {
	v := at.value
	if len(rest) == 0 {
		nav.refs = append(nav.refs, at)
		return
	}
	switch {
	case shortForm(v.Type()) != nil && v.Kind() != reflect.Struct:
		nav.miss(rest[0], nil)
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		at.value = v.Elem()
		nav.follow(at, rest)
	case v.Kind() == reflect.Struct:
		nav.structure(at, rest)
	case v.Kind() == reflect.Slice:
		nav.list(at, rest)
	case v.Kind() == reflect.Map:
		nav.mapping(at, rest)
	default:
		nav.miss(rest[0], nil)
	}
}

func (nav *navigator) no(why string) {
	if nav.wrong == nil {
		nav.wrong = &wrong{why: why}
	}
}

func (nav *navigator) miss(have string, want []string) {
	if nav.wrong == nil {
		nav.wrong = &wrong{have: have, want: want}
	}
}

func (nav *navigator) structure(at ref, rest spec.Selector) {
	w := nav.words.of(at.value.Type())
	if f, ok := w.fields[rest[0]]; ok {
		if _, countable := instanceOf(at.value); countable && nav.written && rest[0] == "count" {
			nav.no("one instance has no count")
			return
		}
		nav.follow(ref{
			value: at.value.FieldByIndex(f.index), path: at.path + "." + rest[0],
			early: at.early && len(rest) == 1, enum: f.enum, done: at.done,
		}, rest[1:])
		return
	}
	known := w.keys
	for _, child := range partsOf(at.value.Type()) {
		part := at.value.FieldByIndex(w.fields[child].index)
		ids := idsOf(part)
		known = append(slices.Clone(known), ids...)
		if slices.Contains(ids, rest[0]) {
			nav.follow(ref{value: part, path: at.path + "." + child, done: at.done}, rest)
			return
		}
	}
	nav.miss(rest[0], known)
}

// partsOf are the words whose items selectors find by their ids alone.
func partsOf(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[spec.Site]():
		return []string{"onramps", "hosts"}
	case reflect.TypeFor[spec.Connector]():
		return []string{"hosts"}
	}
	return nil
}

// list finds items by id, by number from 1 where items have none, or all.
func (nav *navigator) list(at ref, rest spec.Selector) {
	ids := idsOf(at.value)
	hit, before := 0, len(nav.refs)
	for i := range at.value.Len() {
		item := at.value.Index(i)
		path := fmt.Sprintf("%s[%d]", at.path, i)
		name := strconv.Itoa(i + 1)
		if id := idOf(item); id != "" {
			name, path = id, at.path+"."+id
		}
		if rest[0] != "*" && rest[0] != name {
			continue
		}
		hit++
		nav.item(ref{value: item, path: path, done: at.done}, rest[1:])
	}
	switch {
	case hit == 0:
		nav.miss(rest[0], ids)
	case len(nav.refs) == before && nav.written && len(rest) > 1 && spec.IsNumber(rest[1]):
		nav.no(fmt.Sprintf("%s has instances 1 to %d", rest[0], hit))
	}
}

// item goes on inside an item: past the instance's number, if it has one.
func (nav *navigator) item(at ref, rest spec.Selector) {
	instance, countable := instanceOf(at.value)
	if !countable {
		nav.follow(at, rest)
		return
	}
	numbered := len(rest) > 0 && (rest[0] == "*" || spec.IsNumber(rest[0]))
	if !nav.written {
		// Nothing is written out yet: only what concerns all instances as one
		// can be meant, and the rest is looked at when they are.
		at.early = !numbered && (len(rest) == 0 || rest[0] == "count" || isInternet(at.value) && rest[0] == "address")
		if !numbered {
			nav.follow(at, rest)
		} else {
			nav.follow(at, rest[1:])
		}
		return
	}
	if numbered {
		if rest[0] != "*" && rest[0] != strconv.Itoa(max(instance, 1)) {
			return
		}
		rest = rest[1:]
	}
	if instance > 0 {
		at.path += "." + strconv.Itoa(instance)
	}
	nav.follow(at, rest)
}

func (nav *navigator) mapping(at ref, rest spec.Selector) {
	m := at.value
	names := idsOf(m)
	if rest[0] != "*" && !slices.Contains(names, rest[0]) {
		if at.path != "links" || !linkClasses[rest[0]] && m.Len() == 0 {
			nav.miss(rest[0], names)
			return
		}
		names = append(names, rest[0])
	}
	if m.IsNil() {
		m.Set(reflect.MakeMap(m.Type()))
	}
	for _, name := range names {
		if rest[0] != "*" && rest[0] != name {
			continue
		}
		key := reflect.ValueOf(name).Convert(m.Type().Key())
		item := reflect.New(m.Type().Elem()).Elem()
		if old := m.MapIndex(key); old.IsValid() {
			item.Set(old)
		}
		outer := at.done
		done := func() {
			m.SetMapIndex(key, item)
			if outer != nil {
				outer()
			}
		}
		nav.follow(ref{value: item, path: at.path + "." + name, done: done}, rest[1:])
	}
}

// idsOf are the ids of a list's items or the keys of a mapping with text keys,
// each once, in order.
func idsOf(v reflect.Value) []string {
	var out []string
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			if id := idOf(v.Index(i)); id != "" && (len(out) == 0 || out[len(out)-1] != id) {
				out = append(out, id)
			}
		}
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return nil
		}
		for _, k := range v.MapKeys() {
			out = append(out, k.String())
		}
		slices.Sort(out)
	}
	return out
}

func idOf(v reflect.Value) string {
	if v.Kind() != reflect.Struct {
		return ""
	}
	if f := v.FieldByName("ID"); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// instanceOf is an object's number, and whether it is of a kind that is counted.
func instanceOf(v reflect.Value) (int, bool) {
	if v.Kind() != reflect.Struct || !v.CanAddr() {
		return 0, false
	}
	switch o := v.Addr().Interface().(type) {
	case *spec.Site:
		return o.Instance, true
	case *spec.Device:
		return o.Instance, true
	case *spec.InternetHost:
		return o.Instance, true
	}
	return 0, false
}

func isInternet(v reflect.Value) bool { return v.Type() == reflect.TypeFor[spec.InternetHost]() }

// ranked is a setting and how specific it is.
type ranked struct {
	setting
	rank
}

// inOrder sorts so that the more specific comes later, and so wins.
func inOrder(list []ranked) {
	slices.SortStableFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.stars, a.stars), cmp.Compare(a.length, b.length))
	})
}
