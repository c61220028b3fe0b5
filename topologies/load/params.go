package load

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// substitute puts parameters into a value that has ${name} in it.
func (d *decoder) substitute(n *yaml.Node) (string, bool) {
	var b strings.Builder
	for rest := n.Value; ; {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			d.fail(n, "", "${ without a closing }")
			return "", false
		}
		p, known := d.params[name]
		if !known {
			d.fail(n, suggest(name, slices.Sorted(maps.Keys(d.params))), "unknown parameter %q, want one of params", clip(name))
			return "", false
		}
		b.WriteString(p.Value)
		rest = tail
	}
}

// readParams takes the params of a file; they are plain values, and do not use
// each other. Overrides win.
func (d *decoder) readParams(root *yaml.Node, overrides map[string]*yaml.Node) {
	d.params = map[string]*yaml.Node{}
	n := mapValue(root, "params")
	if n == nil || n.Kind != yaml.MappingNode {
		return // refused, if it has to be, when the field is decoded
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := follow(n.Content[i+1])
		if value.Kind != yaml.ScalarNode {
			continue // refused when the field is decoded
		}
		if strings.Contains(value.Value, "${") {
			d.fail(value, "", "parameter %q uses another parameter; want a plain value", clip(n.Content[i].Value))
			continue
		}
		d.params[n.Content[i].Value] = value
	}
	for name, value := range overrides {
		if d.params[name] != nil {
			d.params[name] = value
		}
	}
}

// mapValue is the value of a key in a mapping, aliases followed; nil if there is none.
func mapValue(n *yaml.Node, key string) *yaml.Node {
	_, v := mapEntry(n, key)
	return v
}

func mapEntry(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], follow(n.Content[i+1])
		}
	}
	return nil, nil
}
