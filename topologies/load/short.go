package load

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// shortForm returns how a type with a form of its own is decoded; nil if it has none.
func shortForm(t reflect.Type) func(*decoder, *yaml.Node, reflect.Value, int) bool {
	switch t {
	case reflect.TypeFor[spec.Near]():
		return decodeNear
	case reflect.TypeFor[spec.Egress]():
		return decodeEgress
	case reflect.TypeFor[spec.Host]():
		return decodeHost
	case reflect.TypeFor[spec.Delay]():
		return decodeDelay
	case reflect.TypeFor[spec.Trace]():
		return decodeTrace
	case reflect.TypeFor[spec.Sizes](), reflect.TypeFor[spec.Times]():
		return decodeDraw
	case reflect.TypeFor[spec.Popularity]():
		return decodePopularity
	case reflect.TypeFor[[]spec.Variant]():
		return decodeVariants
	case reflect.TypeFor[[]spec.Setting]():
		return decodeSettings
	case reflect.TypeFor[[]spec.StudyCase]():
		return decodeCases
	case reflect.TypeFor[spec.Replicas]():
		return decodeReplicas
	case reflect.TypeFor[netip.Prefix]():
		return decodePrefix
	case reflect.TypeFor[[]netip.Prefix]():
		return decodePrefixes
	case reflect.TypeFor[netip.Addr]():
		return decodeAddr
	}
	return nil
}

// decodeNear reads a code, a list of codes, or a mapping code → share.
func decodeNear(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	var near spec.Near
	ok := true
	add := func(n *yaml.Node, share int) {
		code, _, good := d.scalar(n, "the code of a place, such as lhr")
		ok = ok && good
		for _, p := range near {
			if good && p.Code == code {
				d.fail(n, "", "%q is given twice", clip(code))
				good, ok = false, false
			}
		}
		if good {
			near = append(near, spec.Place{Code: code, Share: share})
		}
	}
	switch n.Kind {
	case yaml.ScalarNode:
		add(n, 1)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c, good := d.enter(c, depth+1); good {
				add(c, 1)
			}
		}
	default:
		all, good := d.pairs(n, "a code, a list of codes or a mapping code → share")
		ok = good
		for _, p := range all {
			share := 0
			if !d.value(p.value, reflect.ValueOf(&share).Elem(), depth+1) {
				ok = false
				continue
			}
			if share < 1 || share > maxSites {
				d.fail(p.value, "", "share %d, want a whole number from 1 to %d", share, maxSites)
				ok = false
				continue
			}
			add(p.key, share)
		}
	}
	v.Set(reflect.ValueOf(near))
	return ok
}

// decodeEgress reads a prefix or an address alone, or the mapping.
func decodeEgress(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	if n.Kind != yaml.ScalarNode {
		return d.structure(n, v, depth)
	}
	prefix, ok := d.prefix(n, true)
	v.Set(reflect.ValueOf(spec.Egress{Prefix: prefix}))
	return ok
}

// decodeHost reads an address alone, or the mapping.
func decodeHost(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	if n.Kind != yaml.ScalarNode {
		return d.structure(n, v, depth)
	}
	var h spec.Host
	ok := decodeAddr(d, n, reflect.ValueOf(&h.Address).Elem(), depth)
	v.Set(reflect.ValueOf(h))
	return ok
}

// decodeDelay reads a duration or the word geo.
func decodeDelay(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	s, _, ok := d.scalar(n, "a duration such as 4ms, or geo")
	if !ok {
		return false
	}
	if s == "geo" {
		v.Set(reflect.ValueOf(spec.Delay{Geo: true}))
		return true
	}
	fixed, err := unit.ParseDuration(s)
	if err != nil {
		d.fail(n, suggest(s, []string{"geo"}), "%v, or geo", err)
		return false
	}
	v.Set(reflect.ValueOf(spec.Delay{Fixed: fixed}))
	return true
}

// decodeTrace reads the file that is named; none, written "" in a variant, takes
// back the one that the file names.
func decodeTrace(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	name, _, ok := d.scalar(n, "a file in Mahimahi's format")
	if !ok {
		return false
	}
	if name == "" {
		v.Set(reflect.ValueOf(spec.Trace{}))
		return true
	}
	data, err := readFile(d.src.beside(name))
	if err != nil {
		d.fail(n, "", "%v", err)
		return false
	}
	times, err := impair.ReadTrace(bytes.NewReader(data))
	if err != nil {
		d.fail(n, "", "%s: %v", clip(name), err)
		return false
	}
	v.Set(reflect.ValueOf(spec.Trace{File: name, Times: times}))
	return true
}

// decodeAddr reads an address without a zone.
func decodeAddr(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	s, _, ok := d.scalar(n, "an address such as 10.0.1.5")
	if !ok {
		return false
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		hint := ""
		if p, err := netip.ParsePrefix(s); err == nil {
			hint = p.Addr().String()
		}
		d.fail(n, hint, "want an address such as 10.0.1.5, not %q", clip(s))
		return false
	}
	v.Set(reflect.ValueOf(addr))
	return true
}

// decodePrefix reads a prefix without host bits.
func decodePrefix(d *decoder, n *yaml.Node, v reflect.Value, _ int) bool {
	prefix, ok := d.prefix(n, false)
	if ok {
		v.Set(reflect.ValueOf(prefix))
	}
	return ok
}

// decodePrefixes reads one or a list of prefixes; an address stands for itself alone.
func decodePrefixes(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	if n.Kind == yaml.MappingNode {
		d.fail(n, "", "want a list of prefixes, not %s", kindName(n))
		return false
	}
	ok := true
	var out []netip.Prefix
	for _, c := range itemsOf(n) {
		c, good := d.enter(c, depth+1)
		if !good {
			return false
		}
		prefix, good := d.prefix(c, true)
		out = append(out, prefix)
		ok = ok && good
	}
	v.Set(reflect.ValueOf(out))
	return ok
}

// prefix reads a prefix; where an address may be one, it stands for itself alone.
func (d *decoder) prefix(n *yaml.Node, address bool) (netip.Prefix, bool) {
	s, _, ok := d.scalar(n, "a prefix such as 10.0.1.0/24")
	if !ok {
		return netip.Prefix{}, false
	}
	if addr, err := netip.ParseAddr(s); err == nil && address && addr.Zone() == "" && !addr.Is4In6() {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		why := ""
		if base, _, slash := strings.Cut(s, "/"); slash {
			if _, err := netip.ParseAddr(base); err == nil {
				why = " (the length is out of range)"
			}
		}
		d.fail(n, "", "want a prefix such as 10.0.1.0/24, not %q%s", clip(s), why)
		return netip.Prefix{}, false
	}
	if m := prefix.Masked(); m != prefix {
		d.fail(n, m.String(), "prefix %s has host bits set", prefix)
		return netip.Prefix{}, false
	}
	return prefix, true
}

// decodeVariants reads the mapping name → variant.
func decodeVariants(d *decoder, n *yaml.Node, v reflect.Value, depth int) bool {
	all, ok := d.pairs(n, "a mapping name → variant")
	var out []spec.Variant
	for _, p := range all {
		one := spec.Variant{Name: p.key.Value}
		ok = d.variant(p.value, &one, depth+1) && ok
		out = append(out, one)
	}
	v.Set(reflect.ValueOf(out))
	return ok
}

// variant decodes title, set and expect_fail. What set's values mean is known
// only when they are applied: here they stay text.
func (d *decoder) variant(n *yaml.Node, v *spec.Variant, depth int) bool {
	n, ok := d.enter(n, depth)
	if !ok || isNull(n) {
		return ok
	}
	known := []string{"title", "set", "expect_fail"}
	all, ok := d.pairs(n, "a mapping with "+oneOf(known))
	for _, p := range all {
		var good bool
		switch p.key.Value {
		case "title":
			good = d.value(p.value, reflect.ValueOf(&v.Title).Elem(), depth+1)
		case "expect_fail":
			good = d.value(p.value, reflect.ValueOf(&v.ExpectFail).Elem(), depth+1)
		case "set":
			good = d.settings(p.value, v, depth+1)
		default:
			d.fail(p.key, suggest(p.key.Value, known), "unknown word %q, want one of %s", clip(p.key.Value), oneOf(known))
		}
		ok = ok && good
	}
	return ok
}

func (d *decoder) settings(n *yaml.Node, v *spec.Variant, depth int) bool {
	set, pairs, ok := d.selections(n, depth)
	v.Set = append(v.Set, set...)
	d.sets[v.Name] = append(d.sets[v.Name], pairs...)
	return ok
}

// selections decodes a mapping of selectors and values, which stay text.
func (d *decoder) selections(n *yaml.Node, depth int) (set []spec.Setting, places []pair, ok bool) {
	n, ok = d.enter(n, depth)
	if !ok || isNull(n) {
		return nil, nil, ok
	}
	all, ok := d.pairs(n, "a mapping selector → value")
	for _, p := range all {
		whole := d.whole(p.value, depth+1)
		if whole == nil {
			ok = false
			continue
		}
		text, err := yaml.Dump(d.whole(p.value, depth+1)) // Dump writes into what it is given
		if err != nil {
			d.fail(p.value, "", "a value that cannot be written as text: %v", err)
			ok = false
			continue
		}
		set = append(set, spec.Setting{Path: p.key.Value, Value: strings.TrimSuffix(string(text), "\n")})
		places = append(places, pair{p.key, whole})
	}
	return set, places, ok
}

// whole copies a value with its aliases written out, positions kept, in flow
// style; nil if that passes a bound.
func (d *decoder) whole(n *yaml.Node, depth int) *yaml.Node {
	n, ok := d.enter(n, depth)
	if !ok {
		return nil
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style | yaml.FlowStyle, Line: n.Line, Column: n.Column}
	if n.Kind == yaml.ScalarNode {
		out.Style = n.Style
	}
	for _, c := range n.Content {
		w := d.whole(c, depth+1)
		if w == nil {
			return nil
		}
		out.Content = append(out.Content, w)
	}
	return out
}
