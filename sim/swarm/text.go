package swarm

import (
	"cmp"
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Text is a scenario as a file of the language, without its variants.
func Text(s *spec.Scenario) ([]byte, error) {
	n, err := structure(reflect.ValueOf(s).Elem())
	if err != nil {
		return nil, err
	}
	return yaml.Dump(n)
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// quoted is a scalar that stays text whatever it looks like.
func quoted(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// value writes a value in the form in which files have it.
func value(v reflect.Value) (*yaml.Node, error) {
	switch x := v.Interface().(type) {
	case spec.Near:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, p := range x {
			n.Content = append(n.Content, quoted(p.Code), scalar(strconv.Itoa(p.Share)))
		}
		return n, nil
	case spec.Delay:
		if x.Geo {
			return scalar("geo"), nil
		}
		return scalar(x.Fixed.String()), nil
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		return quoted(string(text)), err
	}
	switch v.Kind() {
	case reflect.Pointer:
		return value(v.Elem())
	case reflect.Struct:
		return structure(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			item, err := value(v.Index(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		return n, nil
	case reflect.Map:
		return mapping(v)
	case reflect.String:
		return quoted(v.String()), nil
	case reflect.Bool, reflect.Int, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return scalar(fmt.Sprint(v.Interface())), nil
	}
	return nil, fmt.Errorf("a %v cannot be written", v.Type())
}

func mapping(v reflect.Value) (*yaml.Node, error) {
	byText := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		byText[fmt.Sprint(k.Interface())] = v.MapIndex(k)
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range slices.SortedFunc(maps.Keys(byText), cmp.Compare[string]) {
		item, err := value(byText[k])
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, scalar(k), item)
	}
	return n, nil
}

// structure writes the fields that say something, by their names in files.
func structure(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		f := v.Field(i)
		switch {
		case options == "inline":
			inner, err := structure(f)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, inner.Content...)
			continue
		case name == "" || name == "-" || f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0:
			continue
		}
		item, err := value(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n.Content = append(n.Content, scalar(name), item)
	}
	return n, nil
}
