package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/hub"
)

// countries say where addresses are: Internet hosts by the file's word or their
// place, and what is private by that of the device, connector or site that has
// it. A private prefix that two countries have says nothing, and is left to the
// on-ramp's own country.
func (b *builder) countries() []hub.Country {
	of := map[netip.Prefix]string{}
	const several = "?"
	note := func(p netip.Prefix, code string) {
		if old, known := of[p]; known && old != code {
			code = several
		}
		of[p] = code
	}
	for _, m := range b.origin {
		if m.replica && m.spec.Country == "" {
			continue // it is everywhere
		}
		note(host(m.addr), cmp.Or(strings.ToUpper(m.spec.Country), m.pos.Country))
	}
	for _, r := range b.branch {
		p := r.lan
		if !p.IsValid() {
			p = host(r.node.Address)
		}
		note(p, r.country)
	}
	var all []hub.Country
	for p, code := range of {
		if code != several && code != "" {
			all = append(all, hub.Country{Prefix: p, Code: code})
		}
	}
	slices.SortFunc(all, func(x, y hub.Country) int { return x.Prefix.Compare(y.Prefix) })
	return all
}
