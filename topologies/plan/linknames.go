package plan

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// LinksCalled are the links of a name: an id, a class, or a selector as in
// `impair:`.
func (p *Plan) LinksCalled(name string) []*Link {
	var all []*Link
	for i := range p.Links {
		switch l := &p.Links[i]; {
		case l.ID == name:
			return []*Link{l}
		case string(l.Class) == name:
			all = append(all, l)
		}
	}
	if all == nil && !slices.Contains(classes[:], Class(name)) {
		all = p.LinksNamed(name)
	}
	return all
}

// LinkNames are what people call the links, in the plan's order: by the on-ramp
// that crosses it or the node that it connects to the rest, if that says which
// one it is, and by its id otherwise. LinksCalled knows each of them.
func (p *Plan) LinkNames() []string {
	crossing := p.crossing()
	candidates := make([][]string, len(p.Links))
	count := map[string]int{}
	for i := range p.Links {
		l := &p.Links[i]
		if l.Class != ClassTransit && l.Class != ClassBackbone {
			candidates[i] = append(slices.Clone(crossing[l.ID]), l.A.Node)
		}
		for _, c := range candidates[i] {
			count[c]++
		}
	}
	names := make([]string, len(p.Links))
	for i := range p.Links {
		names[i] = p.Links[i].ID
		for _, c := range candidates[i] {
			if count[c] == 1 {
				names[i] = c
				break
			}
		}
	}
	return names
}

// NoLink is the error of a name that LinksCalled knows nothing by.
func (p *Plan) NoLink(name string) error {
	known := p.LinkNames()
	for _, c := range classes {
		known = append(known, string(c))
	}
	hint := ""
	if near := spec.Nearest(name, known); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return fmt.Errorf("no link %q, want one such as shop.1.wan or web, a selector such as shop.*.wan, an id, or a class%s", name, hint)
}
