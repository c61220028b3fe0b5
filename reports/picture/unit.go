package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// unit is what one card stands for: a site, device, connector or origin, or
// several equal ones.
type unit struct {
	kind       string // site, device, connector or origin
	members    []string
	account    string
	vnet       string
	datacenter string
	prefix     string
	user       string
	onramps    []record.TopologyLink
	hosts      []string // "till 10.0.1.5"
	asks       bool
}

// id is the unit's name in the geometry: its first member's.
func (u *unit) id() string { return u.members[0] }

// name is for people: "shop.1", or "shop ×100".
func (u *unit) name() string {
	if n := len(u.members); n > 1 {
		return fmt.Sprintf("%s ×%d", Base(u.members[0]), n)
	}
	return u.members[0]
}

// kinds says by what kind of on-ramp the unit is connected.
func (u *unit) kinds() string {
	var kinds []string
	for _, l := range u.onramps {
		if !slices.Contains(kinds, l.Kind) {
			kinds = append(kinds, l.Kind)
		}
	}
	each := len(u.onramps) / len(u.members)
	switch {
	case len(kinds) > 1: // the lines say which
		return fmt.Sprintf("%d on-ramps", each)
	case each > 1:
		return fmt.Sprintf("%s ×%d", kinds[0], each)
	}
	return strings.Join(kinds, "")
}

// by is what returns a site's replies: ARR, routes, or both by on-ramp.
func (u *unit) by() string {
	arr, routed := false, false
	for _, l := range u.onramps {
		if u.kind == "site" {
			arr, routed = arr || l.ARR, routed || !l.ARR
		}
	}
	switch {
	case arr && routed:
		return "mixed"
	case arr:
		return "ARR"
	case routed:
		return "routes"
	}
	return ""
}

// units collects them from a topology, in natural order of their names.
func units(t record.Topology, sites Sites) []*unit {
	index := map[string]*unit{}
	var all []*unit
	at := func(name string, node record.TopologyNode) *unit {
		u := index[name]
		if u == nil {
			u = &unit{members: []string{name}, kind: "site"}
			index[name] = u
			all = append(all, u)
		}
		u.account, u.vnet = cmp.Or(u.account, node.Account), cmp.Or(u.vnet, node.VNet)
		u.datacenter, u.prefix, u.user = cmp.Or(u.datacenter, node.Datacenter), cmp.Or(u.prefix, node.Prefix), cmp.Or(u.user, node.User)
		return u
	}
	for _, node := range t.Nodes {
		switch {
		case node.Kind == "device" || node.Kind == "origin":
			u := at(sites.Of(node.ID), node)
			u.kind, u.hosts = node.Kind, append(u.hosts, node.Addresses...)
		case node.Kind == "connector":
			at(sites.Of(node.ID), node).kind = node.Kind
		case node.Site != "":
			u := at(node.Site, node)
			if node.Kind == "host" {
				u.hosts = append(u.hosts, strings.TrimSpace(strings.TrimPrefix(node.ID, node.Site+".")+" "+strings.Join(node.Addresses, " ")))
			}
		}
	}
	for _, l := range t.Links {
		if u := index[sites.Of(l.A)]; u != nil && isOnRamp(l) {
			u.onramps = append(u.onramps, l)
		}
	}
	for _, u := range all {
		slices.Sort(u.hosts)
	}
	slices.SortStableFunc(all, func(a, b *unit) int { return Natural(a.id(), b.id()) })
	return all
}

// isOnRamp: tunnels and interconnects are links of their own beside the wires.
func isOnRamp(l record.TopologyLink) bool { return l.Class == "tunnel" || l.Class == "interconnect" }

// gather draws as one what is equal, as far as it takes to be no more than a few
// units; where that cannot be, at most MostSites, and says how many members had to be left out.
func gather(all []*unit, few int) (shown []*unit, left int) {
	alike := []func(*unit) string{
		func(u *unit) string { return u.id() },
		func(u *unit) string {
			return strings.Join([]string{u.kind, Base(u.id()), u.account, u.vnet, u.datacenter, u.prefix, u.user, u.kinds(), u.by()}, "\x00")
		},
		func(u *unit) string { return strings.Join([]string{u.kind, Base(u.id()), u.account}, "\x00") },
	}
	for _, key := range alike {
		if shown = merged(all, key); len(shown) <= few {
			return shown, 0
		}
	}
	if len(shown) <= MostSites {
		return shown, 0
	}
	slices.SortStableFunc(shown, func(a, b *unit) int { // those that ask first
		switch {
		case a.asks == b.asks:
			return 0
		case a.asks:
			return -1
		}
		return 1
	})
	for _, u := range shown[MostSites:] {
		left += len(u.members)
	}
	shown = shown[:MostSites]
	slices.SortStableFunc(shown, func(a, b *unit) int { return Natural(a.id(), b.id()) })
	return shown, left
}

// merged joins units of the same key, in the order of their first. What they
// do not share is not said of them.
func merged(all []*unit, key func(*unit) string) []*unit {
	index := map[string]*unit{}
	var out []*unit
	for _, u := range all {
		first := index[key(u)]
		if first == nil {
			one := *u
			one.members = slices.Clone(u.members)
			index[key(u)] = &one
			out = append(out, &one)
			continue
		}
		first.members = append(first.members, u.members...)
		first.asks = first.asks || u.asks
		for _, same := range [][2]*string{{&first.vnet, &u.vnet}, {&first.datacenter, &u.datacenter}, {&first.prefix, &u.prefix}, {&first.user, &u.user}} {
			if *same[0] != *same[1] {
				*same[0] = ""
			}
		}
		first.onramps = append(slices.Clone(first.onramps), u.onramps...)
		if !slices.Equal(first.hosts, u.hosts) {
			first.hosts = nil
		}
	}
	return out
}
