package load

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Study is a study file without mistakes of its own; whether the scenario knows what
// it turns, Check says.
type Study struct {
	Spec *spec.Study

	file *file
}

// StudyFile reads a study file. The error is an Errors if the file could be read.
func StudyFile(path string) (*Study, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return StudyBytes(path, data)
}

// StudyBytes reads a study from data; name is what errors call it.
func StudyBytes(name string, data []byte) (*Study, error) {
	if len(data) > maxFile {
		return nil, tooLarge(name, int64(len(data)))
	}
	src := newSource(name, data)
	root, mistake := parse(src, data)
	if mistake != nil {
		mistake.Msg = strings.ReplaceAll(mistake.Msg, "want a scenario", "want a study")
		return nil, Errors{mistake}
	}
	s := &Study{Spec: &spec.Study{}, file: &file{src: src, root: root}}
	d := newDecoder(src, newWords())
	d.structure(root, reflect.ValueOf(s.Spec).Elem(), 0)
	s.file.errs, s.file.over = d.errs, d.over
	if len(d.errs) == 0 {
		s.check()
	}
	if err := s.file.errs.err(); err != nil {
		return nil, err
	}
	s.defaults()
	return s, nil
}

// Mistake is a mistake at a path of the study, "vary[1].set", for who knows what
// this package does not.
func (s *Study) Mistake(path, msg, hint string) *Mistake {
	n, _ := s.file.walk(path)
	return s.file.src.mistake(n.Line, n.Column, msg, hint)
}

// Unknown is a name at a path that is none of those that there are.
func (s *Study) Unknown(path, what, name string, known []string) *Mistake {
	return s.Mistake(path, fmt.Sprintf("no %s %q, want one of %s", what, clip(name), oneOf(known)), suggest(name, known))
}

// InternetKnob says whether a path turns the study's own graph and not the scenario.
func InternetKnob(path string) bool { return strings.HasPrefix(path, "internet.") }

// Check asks the scenario about every setting and every value of a knob. Settings
// that are right together are right; of others each is asked about by itself. The
// error is an Errors with positions in the study.
func (s *Study) Check(doc *Doc) error {
	var all Errors
	mistakes := func(variant string, set []spec.Setting) (errs Errors) {
		set = slices.DeleteFunc(slices.Clone(set), func(one spec.Setting) bool { return InternetKnob(one.Path) })
		_, err := doc.Resolve(variant, set)
		errors.As(err, &errs)
		return errs
	}
	ask := func(at, variant string, before, set []spec.Setting, path func(i int) string) {
		together := mistakes(variant, slices.Concat(before, set))
		if len(together) == 0 {
			return
		}
		alone := len(all)
		for i, one := range set {
			for _, m := range mistakes(variant, []spec.Setting{one}) {
				all = append(all, s.translate(path(i), m))
			}
		}
		if len(all) > alone {
			return
		}
		for _, m := range together {
			all = append(all, s.Mistake(at, fmt.Sprintf("with these values together: %s:%d:%d: %s", m.File, m.Line, m.Col, m.Msg), m.Hint))
		}
	}
	ask("set", spec.Base, nil, s.Spec.Set, func(i int) string { return fmt.Sprintf("set[%d]", i) })
	var before []spec.Setting
	if len(all) == 0 {
		before = s.Spec.Set
	}
	for _, c := range s.Spec.Cases {
		at := "cases." + c.Name
		if c.Variant != "" && !slices.Contains(doc.Variants(), c.Variant) {
			all = append(all, s.Unknown(at+".variant", "variant", c.Variant, doc.Variants()))
			continue
		}
		ask(at, c.Variant, before, c.Set, func(i int) string { return fmt.Sprintf("%s.set[%d]", at, i) })
	}
	knobs := func(at string, list []spec.Knob) {
		for i, k := range list {
			for n, v := range k.Try() {
				where := fmt.Sprintf("%s[%d].values[%d]", at, i, n)
				if len(k.Values) == 0 {
					where = fmt.Sprintf("%s[%d].from", at, i)
				}
				ask(where, spec.Base, before, []spec.Setting{{Path: k.Set, Value: v}}, func(int) string { return where })
			}
		}
	}
	knobs("vary", s.Spec.Vary)
	if t := s.Spec.Sensitivity; t != nil {
		knobs("sensitivity.knobs", t.Knobs)
	}
	return all.err()
}

// translate puts a mistake of a setting where the study has the setting: at the
// selector, or at the value.
func (s *Study) translate(at string, m *Mistake) *Mistake {
	key, value := s.setting(at)
	msg := m.Msg
	if m.File != outsideSource {
		msg = fmt.Sprintf("with this value: %s:%d:%d: %s", m.File, m.Line, m.Col, m.Msg)
		key = value
	} else if path, _, _ := strings.Cut(m.Source, "="); m.Col > len([]rune(path)) {
		key = value
	}
	return s.file.src.mistake(key.Line, key.Column, msg, m.Hint)
}

// setting are the nodes of a setting's selector and value.
func (s *Study) setting(at string) (key, value *yaml.Node) {
	mapping, step := at[:strings.LastIndexByte(at, '[')], at[strings.LastIndexByte(at, '['):]
	i, ok := index(step)
	if !ok { // a knob's range
		dot := strings.LastIndexByte(at, '.')
		key, _ = s.file.walk(at[:dot] + ".set")
		value, _ = s.file.walk(at)
		return key, value
	}
	if knob, found := strings.CutSuffix(mapping, ".values"); found {
		key, _ = s.file.walk(knob + ".set")
		value, _ = s.file.walk(at)
		return key, value
	}
	w := s.file.descend(s.file.root, steps(mapping))
	if w.node.Kind == yaml.MappingNode && 2*i+1 < len(w.node.Content) {
		return w.node.Content[2*i], follow(w.node.Content[2*i+1])
	}
	return w.point(), w.point()
}

// decodeSettings reads a mapping of selectors and values.
func decodeSettings(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	set, _, ok := d.selections(n, depth)
	v.Set(reflect.ValueOf(set))
	return ok
}

// decodeCases reads a mapping of names and cases, in their order.
func decodeCases(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	all, ok := d.pairs(n, "a mapping name → case")
	var out []spec.StudyCase
	for _, p := range all {
		one := spec.StudyCase{Name: p.key.Value}
		if value := follow(p.value); !isNull(value) {
			ok = d.structure(value, reflect.ValueOf(&one).Elem(), depth+1) && ok
		}
		out = append(out, one)
	}
	v.Set(reflect.ValueOf(out))
	return ok
}

// decodeReplicas reads a number of seeds, or the mapping.
func decodeReplicas(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	if n.Kind == yaml.ScalarNode {
		return d.plain(n, v.FieldByName("Seeds"))
	}
	return d.structure(n, v, depth)
}
