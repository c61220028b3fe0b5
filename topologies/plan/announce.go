package plan

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// announced is the prefix of an entry of announce; invalid where it is none.
func announced(a *spec.Announce) netip.Prefix {
	if a.Prefix == spec.TunnelAddress {
		return host(tunnelAddr)
	}
	p, err := netip.ParsePrefix(a.Prefix)
	if err != nil || p != p.Masked() {
		return netip.Prefix{}
	}
	return p
}

// announcedAs is the longest prefix that an egress address is announced in; not
// valid if it is in none.
func (p *Plan) announcedAs(a netip.Addr) netip.Prefix {
	best := netip.Prefix{}
	for _, e := range p.anycast() {
		if e.Contains(a) && (!best.IsValid() || e.Bits() > best.Bits()) {
			best = e
		}
	}
	return best
}

// announces says whether a datacenter announces a prefix: where entries speak of
// it those that include the datacenter, else every one, but for maintenance.
func (b *builder) announces(d *dc, p netip.Prefix) bool {
	if d.spec.Maintenance {
		return false
	}
	spoken := false
	for i := range b.s.Announce {
		a := &b.s.Announce[i]
		if announced(a) != p {
			continue
		}
		spoken = true
		if len(a.From) == 0 || slices.Contains(a.From, d.Name) {
			return true
		}
	}
	return !spoken
}

// announcements says what datacenters announce, and what ASes do besides their
// hosts.
func (b *builder) announcements() {
	var entries []netip.Prefix // the network's own
	var systems []origin
	for i := range b.s.Announce {
		a := &b.s.Announce[i]
		path := at("announce", i)
		p := announced(a)
		switch from, own := b.announcers(a); {
		case !p.IsValid():
			b.fail(path+".prefix", "%q: want a prefix such as 198.51.100.0/24, or tunnel", a.Prefix)
		case len(from) > 1 || len(from) == 1 && own:
			b.fail(path+".from", "%s is announced by an AS: want no one else beside it", a.Prefix)
		case len(from) == 1:
			systems = b.foreign(path, a, from[0], systems)
		case !b.egresses(p):
			b.fail(path+".prefix", "%s holds no egress address: want tunnel, an egress prefix, or one that holds some or is a part of one", a.Prefix)
		case !slices.Contains(entries, p):
			entries = append(entries, p)
		}
	}
	if len(b.errs) > 0 || len(b.s.Announce)+len(b.s.Transit) == 0 {
		return
	}
	b.announce(entries)
}

// announcers are the ASes that an entry is from; own says that datacenters are
// among them.
func (b *builder) announcers(a *spec.Announce) (systems []*town, own bool) {
	for _, id := range a.From {
		if i := slices.IndexFunc(b.towns, func(t *town) bool { return t.as != nil && t.as.ID == id }); i >= 0 {
			systems = append(systems, b.towns[i])
		} else {
			own = true
		}
	}
	return systems, own
}

// origin is a prefix that an AS announces.
type origin struct {
	as     *town
	prefix netip.Prefix
}

// foreign has an AS announce a prefix, beside what was before it. Two that announce
// parts of one are a conflict, and so is one that announces the network's own.
func (b *builder) foreign(path string, a *spec.Announce, t *town, before []origin) []origin {
	p := announced(a)
	if b.egresses(p) || p.Contains(tunnelAddr) {
		b.fail(path+".prefix", "%v is the network's own: want it from a datacenter, not from %s", p, t.as.ID)
	}
	for _, o := range before {
		if o.prefix.Overlaps(p) && o.as != t {
			b.fail(path+".prefix", "%v overlaps %v of %s: want each address from one AS", p, o.prefix, o.as.as.ID)
		}
	}
	b.originate(t.node, path, p, a)
	return append(before, origin{t, p})
}

// egresses says whether a prefix has to do with the address of all tunnels or any
// egress address.
func (b *builder) egresses(p netip.Prefix) bool {
	if p == host(tunnelAddr) {
		return true
	}
	for _, d := range b.dcs {
		if slices.ContainsFunc(d.Egress, p.Overlaps) {
			return true
		}
	}
	return false
}

// announce notes the prefixes of datacenters, with entries first, and who
// announces them how. An egress prefix that is part of an entry's goes with that.
func (b *builder) announce(entries []netip.Prefix) {
	all := []netip.Prefix{host(tunnelAddr)}
	for _, d := range b.dcs {
		for _, e := range d.Egress {
			within := func(p netip.Prefix) bool { return p != e && p.Bits() <= e.Bits() && p.Contains(e.Addr()) }
			if !slices.ContainsFunc(entries, within) {
				all = append(all, e)
			}
		}
	}
	for _, p := range entries {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	if len(entries) > 0 {
		b.p.Announced = all
	}
	for _, p := range all {
		for _, d := range b.dcs {
			switch {
			case !b.announces(d, p) && !d.spec.Maintenance:
				b.p.Withheld = append(b.p.Withheld, Announcement{d.Name, p})
			case b.announces(d, p) && len(b.s.Transit) > 0:
				b.datacenterOrigins(d, p)
			}
		}
	}
}

// datacenterOrigins are a datacenter's announcements of a prefix.
func (b *builder) datacenterOrigins(d *dc, p netip.Prefix) {
	spoken := false
	for i := range b.s.Announce {
		a := &b.s.Announce[i]
		if announced(a) == p && (len(a.From) == 0 || slices.Contains(a.From, d.Name)) {
			spoken = true
			b.originate(d.edge, at("announce", i), p, a)
		}
	}
	if !spoken {
		b.originate(d.edge, d.path, p, &spec.Announce{})
	}
}

// originate has a router announce a prefix as an entry says.
func (b *builder) originate(n *node, path string, p netip.Prefix, a *spec.Announce) {
	s, _ := b.p.Speaker(n.ID)
	o := bgp.Origin{Prefix: p, Prepend: a.Prepend}
	for i, text := range a.Communities {
		c, err := bgp.ParseCommunity(text)
		if err != nil {
			b.fail(at(path+".communities", i), "%v", err)
		}
		if !slices.Contains(o.Communities, c) {
			o.Communities = append(o.Communities, c)
		}
	}
	slices.Sort(o.Communities)
	for i, id := range a.To {
		node := "transit." + id
		if _, dc := b.nodes[id+".edge"]; dc {
			node = id + ".edge"
		}
		if k := s.session(node); k >= 0 {
			o.To = append(o.To, k)
		} else if len(a.From) == 1 {
			b.fail(at(path+".to", i), "%s is no neighbour of %s", id, a.From[0])
		}
	}
	if len(a.To) > 0 && o.To == nil {
		return // told to nobody from here
	}
	s.Origins = append(s.Origins, o)
}
