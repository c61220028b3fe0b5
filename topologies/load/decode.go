package load

import (
	"encoding"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of what a file may hold.
const (
	maxDepth = 32      // nested values
	maxNodes = 500_000 // values, those of aliases counted at each use
	// maxMistakes are told of one reading; who makes more has one to mend first.
	maxMistakes = 200
)

// source is a text that positions refer to.
type source struct {
	name  string
	lines []string
}

func newSource(name string, data []byte) *source {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	return &source{name: name, lines: strings.Split(text, "\n")}
}

// beside is the path of a file that the source names relative to itself.
func (s *source) beside(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(s.name), name)
}

// mistake is at line and col of the source.
func (s *source) mistake(line, col int, msg, hint string) *Mistake {
	m := &Mistake{File: s.name, Line: line, Col: col, Msg: msg, Hint: hint}
	if line >= 1 && line <= len(s.lines) {
		m.Source = s.lines[line-1]
	}
	return m
}

// decoder fills Go values from YAML nodes. Unlike the YAML library's own
// decoding it knows the short forms, names the keys that would have been
// right, and keeps going after a mistake.
type decoder struct {
	src    *source
	params map[string]*yaml.Node
	words  words
	errs   Errors
	// tainted are the mappings with an unknown or repeated word, so that nothing
	// is called missing that was only misspelt.
	tainted map[*yaml.Node]bool
	// sets are the settings of each variant, as nodes.
	sets  map[string][]pair
	nodes int
	over  bool // a bound was passed: said once
}

func newDecoder(src *source, w words) *decoder {
	return &decoder{src: src, words: w, tainted: map[*yaml.Node]bool{}, sets: map[string][]pair{}}
}

func (d *decoder) fail(n *yaml.Node, hint, format string, args ...any) {
	if d.over = d.over || len(d.errs) >= maxMistakes; !d.over {
		d.errs = append(d.errs, d.src.mistake(n.Line, n.Column, fmt.Sprintf(format, args...), hint))
	}
}

// enter counts a node, follows its alias, and reports whether to go on.
func (d *decoder) enter(n *yaml.Node, depth int) (*yaml.Node, bool) {
	d.nodes++
	if d.over {
		return nil, false
	}
	if depth > maxDepth {
		d.fail(n, "", "values are nested more than %d deep", maxDepth)
		d.over = true
		return nil, false
	}
	if d.nodes > maxNodes {
		d.fail(n, "", "more than %d values", maxNodes)
		d.over = true
		return nil, false
	}
	return follow(n), true
}

// value decodes n into v and reports whether all went well. A null leaves v alone.
func (d *decoder) value(n *yaml.Node, v reflect.Value, depth int) bool {
	n, ok := d.enter(n, depth)
	if !ok {
		return false
	}
	if isNull(n) {
		return true
	}
	if fn := shortForm(v.Type()); fn != nil {
		return fn(d, n, v, depth)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return d.text(n, u)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(n, v, depth)
	case reflect.Slice:
		return d.list(n, v, depth)
	case reflect.Map:
		return d.mapping(n, v, depth)
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		ok := d.value(n, fresh.Elem(), depth)
		v.Set(fresh)
		return ok
	default:
		return d.plain(n, v)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kindName names what a node is, for errors.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return strconv.Quote(clip(n.Value))
	}
}

// clip shortens text for an error.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// scalar is the text of a plain value, parameters put in, and its YAML tag; a
// text with parameters in it has none, because it may be anything.
func (d *decoder) scalar(n *yaml.Node, want string) (text, tag string, ok bool) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, "", "want %s, not %s", want, kindName(n))
		return "", "", false
	}
	if !strings.Contains(n.Value, "${") {
		return n.Value, n.ShortTag(), true
	}
	text, ok = d.substitute(n)
	if !ok {
		return "", "", false
	}
	return text, "", true
}

// text decodes what prints and parses itself.
func (d *decoder) text(n *yaml.Node, u encoding.TextUnmarshaler) bool {
	s, _, ok := d.scalar(n, "a plain value")
	if !ok {
		return false
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.fail(n, "", "%v", err)
		return false
	}
	return true
}

// plain decodes strings, numbers and truth values.
func (d *decoder) plain(n *yaml.Node, v reflect.Value) bool {
	want := map[reflect.Kind]string{
		reflect.String: "text", reflect.Bool: "true or false", reflect.Float64: "a number",
		reflect.Interface: "a plain value", reflect.Uint64: "a whole number", reflect.Uint32: "a whole number from 0 to 4294967295",
	}[v.Kind()]
	if want == "" {
		want = "a whole number"
	}
	s, tag, ok := d.scalar(n, want)
	if !ok {
		return false
	}
	number := strings.ReplaceAll(s, "_", "")
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
		return true
	case reflect.Bool:
		if yes, no := strings.EqualFold(s, "true"), strings.EqualFold(s, "false"); (yes || no) && (tag == "!!bool" || tag == "") {
			v.SetBool(yes)
			return true
		}
	case reflect.Float64:
		if f, err := strconv.ParseFloat(number, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) && tag != "!!str" {
			v.SetFloat(f)
			return true
		}
	case reflect.Int:
		if i, err := strconv.ParseInt(number, 0, 64); err == nil && (tag == "!!int" || tag == "") {
			v.SetInt(i)
			return true
		}
	case reflect.Uint64, reflect.Uint32:
		if i, err := strconv.ParseUint(number, 0, v.Type().Bits()); err == nil && (tag == "!!int" || tag == "") {
			v.SetUint(i)
			return true
		}
	case reflect.Interface: // a parameter
		v.Set(reflect.ValueOf(s))
		return true
	}
	d.fail(n, "", "want %s, not %q", want, clip(s))
	return false
}

// pair is a key and its value.
type pair struct{ key, value *yaml.Node }

// pairs are the entries of a mapping, each key once, merge keys written out.
func (d *decoder) pairs(n *yaml.Node, want string) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "want %s, not %s", want, kindName(n))
		return nil, false
	}
	own := make([]pair, 0, len(n.Content)/2)
	first := map[string]*yaml.Node{}
	ok := true
	var merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			merged = append(merged, d.merged(value)...)
		case key.Kind != yaml.ScalarNode:
			d.fail(key, "", "want a word as key, not %s", kindName(key))
			ok = false
		case first[key.Value] != nil:
			d.fail(key, "", "%q is given twice, first in line %d", clip(key.Value), first[key.Value].Line)
			ok = false
		default:
			first[key.Value] = key
			own = append(own, pair{key, value})
		}
	}
	for _, p := range merged {
		if first[p.key.Value] == nil {
			first[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	if !ok {
		d.tainted[n] = true
	}
	return own, ok
}

// merged are the pairs that "<<: *anchor" brings in; one level.
func (d *decoder) merged(n *yaml.Node) []pair {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "want a mapping to merge, not %s", kindName(n))
		return nil
	}
	var out []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.ShortTag() != "!!merge" {
			out = append(out, pair{key, n.Content[i+1]})
		}
	}
	return out
}

// structure decodes a mapping with known keys; keys that are not there keep
// the field's value.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, depth int) bool {
	w := d.words.of(v.Type())
	all, ok := d.pairs(n, "a mapping with "+oneOf(w.keys))
	for _, p := range all {
		f, known := w.fields[p.key.Value]
		if !known {
			d.fail(p.key, suggest(p.key.Value, w.keys), "unknown word %q, want one of %s", clip(p.key.Value), oneOf(w.keys))
			d.tainted[n] = true
			ok = false
			continue
		}
		into := v.FieldByIndex(f.index)
		if !d.value(p.value, into, depth+1) {
			ok = false
			continue
		}
		ok = d.enumerated(p.value, into, f.enum) && ok
	}
	return ok
}

// enumerated checks text, or a list of texts, against the words that are allowed.
func (d *decoder) enumerated(n *yaml.Node, v reflect.Value, enum []string) bool {
	if len(enum) == 0 {
		return true
	}
	n = follow(n)
	if v.Kind() == reflect.Slice {
		ok := true
		items := itemsOf(n)
		for i := range min(v.Len(), len(items)) {
			ok = d.enumerated(items[i], v.Index(i), enum) && ok
		}
		return ok
	}
	if v.Kind() != reflect.String || v.String() == "" {
		return true
	}
	for _, e := range enum {
		if v.String() == e {
			return true
		}
	}
	d.fail(n, suggest(v.String(), enum), "want one of %s, not %q", oneOf(enum), clip(v.String()))
	return false
}

// itemsOf are the items of a list. A plain value is a list of one.
func itemsOf(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.ScalarNode {
		return []*yaml.Node{n}
	}
	return n.Content
}

// list decodes a sequence, or one item alone where items may be plain values; it
// replaces what was there.
func (d *decoder) list(n *yaml.Node, v reflect.Value, depth int) bool {
	plain := v.Type().Elem().Kind() != reflect.Struct || shortForm(v.Type().Elem()) != nil
	if n.Kind != yaml.SequenceNode && !(plain && n.Kind == yaml.ScalarNode) {
		d.fail(n, "", "want a list, not %s", kindName(n))
		return false
	}
	ok := true
	items := itemsOf(n)
	out := reflect.MakeSlice(v.Type(), 0, min(len(items), maxNodes))
	for _, c := range items {
		item := reflect.New(v.Type().Elem()).Elem()
		if isNull(c) {
			d.fail(c, "", "empty item in a list")
			ok = false
		} else if !d.value(c, item, depth+1) {
			ok = false
		}
		if d.over {
			break
		}
		out = reflect.Append(out, item) // bad items too, so that numbers agree with the file
	}
	v.Set(out)
	return ok
}

// mapping decodes a mapping with free keys, into what is already there.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, depth int) bool {
	all, ok := d.pairs(n, "a mapping")
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	seen := map[any]bool{}
	for _, p := range all {
		key := reflect.New(v.Type().Key()).Elem()
		if !d.plain(p.key, key) {
			ok = false
			continue
		}
		if seen[key.Interface()] {
			d.fail(p.key, "", "%v is given twice, so it would have two owners", key.Interface())
			ok = false
			continue
		}
		seen[key.Interface()] = true
		item := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			item.Set(old)
		}
		ok = d.value(p.value, item, depth+1) && ok
		v.SetMapIndex(key, item) // bad items too, so that their names are known
	}
	return ok
}
