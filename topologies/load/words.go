package load

import (
	"reflect"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// words are the keys of each type of the language, as its yaml tags say.
type words map[reflect.Type]*keys

// keys of one type.
type keys struct {
	keys   []string // in the order of the type
	fields map[string]field
}

// field of a type, by its key.
type field struct {
	index []int
	enum  []string // the words allowed as value; empty means any
}

// newWords reads the whole language once; it is not written to afterwards.
func newWords() words {
	w := words{}
	w.learn(reflect.TypeFor[spec.Scenario]())
	w.learn(reflect.TypeFor[spec.Variant]())
	w.learn(reflect.TypeFor[spec.Study]())
	return w
}

func (w words) learn(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		w.learn(t.Elem())
	case reflect.Struct:
		if w[t] != nil || t.PkgPath() != reflect.TypeFor[spec.Scenario]().PkgPath() {
			return
		}
		w.of(t)
		for i := range t.NumField() {
			w.learn(t.Field(i).Type)
		}
	}
}

// of returns the keys of a struct type.
func (w words) of(t reflect.Type) *keys {
	if k := w[t]; k != nil {
		return k
	}
	k := &keys{fields: map[string]field{}}
	k.add(t, nil)
	w[t] = k
	return k
}

func (k *keys) add(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		index := append(append([]int(nil), prefix...), i)
		switch {
		case strings.Contains(options, "inline"):
			k.add(f.Type, index)
		case name != "" && name != "-":
			k.keys = append(k.keys, name)
			k.fields[name] = field{index: index, enum: enumOf(f)}
		}
	}
}

// enumOf reads the allowed words from the schema tag.
func enumOf(f reflect.StructField) []string {
	var out []string
	for part := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
		if word, ok := strings.CutPrefix(part, "enum="); ok {
			out = append(out, word)
		}
	}
	return out
}

// top are the top-level words.
func (w words) top() []string {
	return append([]string(nil), w.of(reflect.TypeFor[spec.Scenario]()).keys...)
}

// connector are the words of a connector.
func (w words) connector() []string { return w.of(reflect.TypeFor[spec.Connector]()).keys }

// site are the words of a site.
func (w words) site() []string { return w.of(reflect.TypeFor[spec.Site]()).keys }
