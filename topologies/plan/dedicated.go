package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Addresses that accounts have to themselves (SEMANTICS 6.1).

// dedicate gives each account its addresses: an IPv4 one is of its datacenter and
// shared by the servers there, of an IPv6 range every server of all datacenters
// has one.
func (b *builder) dedicate() {
	for _, a := range b.accounts {
		for i := range a.Dedicated {
			s, path := &a.Dedicated[i], at(a.path+".dedicated", i)
			d := b.dcNamed(path, s.Datacenter)
			if d == nil {
				continue
			}
			country := strings.ToUpper(cmp.Or(s.Country, d.pos.Country))
			if s.Owned.IsValid() {
				b.own(d, a.id, s, path)
			} else {
				b.dedicate4(d, a.id, s.IPv4, country, path)
			}
			if s.IPv6.IsValid() {
				b.dedicate6(a.id, s.IPv6, country, path)
			}
		}
	}
}

func (b *builder) dcNamed(path, name string) *dc {
	i := slices.IndexFunc(b.dcs, func(d *dc) bool { return d.Name == name })
	if i < 0 {
		b.fail(path+".datacenter", "no datacenter is called %q", name)
		return nil
	}
	return b.dcs[i]
}

func (b *builder) dedicate4(d *dc, tenant ident.Tenant, addr netip.Addr, country, path string) {
	if !addr.Is4() {
		b.fail(path+".ipv4", "want an IPv4 address, got %v", addr)
		return
	}
	if b.unclaimed(path+".ipv4", host(addr)) && b.deal(d, tenant, addr, country, path) {
		b.announceOf(d, host(addr))
	}
}

// own gives an account all addresses of a prefix that it brings along, which is
// announced whole (SEMANTICS 5.1, 6.1).
func (b *builder) own(d *dc, tenant ident.Tenant, s *spec.Dedicated, path string) {
	if !b.prefix(path+".owned", s.Owned) || !b.unclaimed(path+".owned", s.Owned) {
		return
	}
	for _, addr := range s.Addresses() {
		if !b.deal(d, tenant, addr, strings.ToUpper(s.Country), path) {
			return
		}
	}
	b.p.Owned = append(b.p.Owned, s.Owned)
	b.announceOf(d, s.Owned)
}

// deal gives each of a datacenter's servers a slice of an account's address.
func (b *builder) deal(d *dc, tenant ident.Tenant, addr netip.Addr, country, path string) bool {
	dealt, err := egress.Assign(d.ID, []netip.Addr{addr}, d.ids())
	if err != nil {
		b.fail(path+".datacenter", "%v", err)
		return false
	}
	dealt[0].Tenant, dealt[0].Country = tenant, country
	d.directory = append(d.directory, dealt[0])
	return true
}

func (b *builder) dedicate6(tenant ident.Tenant, p netip.Prefix, country, path string) {
	if !b.prefix(path+".ipv6", p) || !b.unclaimed(path+".ipv6", p) {
		return
	}
	hosts, err := egress.Hosts(p, int(b.serverIDs))
	if err != nil {
		b.fail(path+".ipv6", "%v", err)
		return
	}
	for _, d := range b.dcs {
		for _, s := range d.servers {
			dealt, _ := egress.Assign(d.ID, []netip.Addr{hosts[s.id-1]}, []ident.Server{s.id})
			dealt[0].Tenant, dealt[0].Country = tenant, country
			d.directory = append(d.directory, dealt[0])
		}
	}
	b.announceOf(b.dcs[0], p)
}

// announceOf adds a prefix to what is announced, from everywhere, as of d.
func (b *builder) announceOf(d *dc, p netip.Prefix) {
	d.Egress = append(d.Egress, p)
	for i := range b.p.Datacenters {
		if b.p.Datacenters[i].ID == d.ID {
			b.p.Datacenters[i].Egress = d.Egress
		}
	}
}

// unclaimed refuses what overlaps an egress range: an address lives in one
// datacenter.
func (b *builder) unclaimed(path string, p netip.Prefix) bool {
	for _, d := range b.dcs {
		for _, e := range d.Egress {
			if e.Overlaps(p) {
				b.fail(path, "%v overlaps the egress range %v of %s: an address lives in one datacenter, for one account or for all", p, e, d.Name)
				return false
			}
		}
	}
	return true
}

// ids are the datacenter's servers.
func (d *dc) ids() []ident.Server {
	ids := make([]ident.Server, len(d.servers))
	for i, s := range d.servers {
		ids[i] = s.id
	}
	return ids
}

// distances are how far other datacenters are from d.
func (b *builder) distances(d *dc) (all []hub.Distance) {
	for _, e := range b.dcs {
		if e != d {
			all = append(all, hub.Distance{Datacenter: e.ID, Away: delay(d.pos, e.pos)})
		}
	}
	return all
}

// departs says whether flows may leave from another server than their home: where
// an account has addresses of its own, or an address a country.
func (b *builder) departs() bool {
	return slices.ContainsFunc(b.accounts, func(a account) bool { return len(a.Dedicated) > 0 }) ||
		slices.ContainsFunc(b.s.Datacenters, func(d spec.Datacenter) bool {
			return slices.ContainsFunc(d.Egress, func(e spec.Egress) bool { return e.Country != "" })
		})
}

// answered are the sources that an origin answers; nil are all. Its geofence is
// what it believes of them: the countries that egress addresses are published with.
func (b *builder) answered(o *spec.InternetHost, path string) []netip.Prefix {
	if len(o.Geofence) == 0 {
		return o.Allow
	}
	var all []netip.Prefix
	for _, d := range b.dcs {
		for _, a := range d.directory {
			in := func(c string) bool { return strings.ToUpper(c) == a.Country }
			covers := func(p netip.Prefix) bool { return p.Contains(a.Addr) }
			if a.Country != "" && slices.ContainsFunc(o.Geofence, in) && (len(o.Allow) == 0 || slices.ContainsFunc(o.Allow, covers)) {
				all = append(all, host(a.Addr))
			}
		}
	}
	if len(all) == 0 {
		b.fail(path+".geofence", "no egress address is published with %s: nobody could ever pass", strings.Join(o.Geofence, ", "))
	}
	return all
}

// hostAddresses are the addresses of Internet hosts that a policy selects by
// name: what the network's resolver would have told (SEMANTICS 6.2). They must be
// among the destinations that the policy gives besides.
func (b *builder) hostAddresses(path string, m *spec.Match) []netip.Prefix {
	if len(m.Host) == 0 {
		return m.Destination
	}
	var all []netip.Prefix
	for i, name := range m.Host {
		found := false
		for j := range b.s.Internet {
			o := &b.s.Internet[j]
			if !spec.Matches(name, originID(o)) {
				continue
			}
			found = true
			covers := func(p netip.Prefix) bool { return p.Contains(o.Address) }
			if len(m.Destination) == 0 || slices.ContainsFunc(m.Destination, covers) {
				all = append(all, host(o.Address))
			}
		}
		if !found {
			b.fail(at(path+".host", i), "no host of internet is called %q", name)
		}
	}
	if len(all) == 0 {
		b.fail(path+".host", "none of these hosts is in destination: the policy could never match")
	}
	return all
}
