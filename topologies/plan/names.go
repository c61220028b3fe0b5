package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/dns"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Query is the question that a client asks before it connects.
type Query struct {
	Name string `json:"name"`
	// Src is the client's socket, Resolver whom it asks.
	Src      netip.AddrPort `json:"src"`
	Resolver netip.AddrPort `json:"resolver"`
	// Targets are all that the answer can be.
	Targets []Target `json:"targets"`
}

// Target is a host that a name may stand for.
type Target struct {
	Address netip.Addr `json:"address"`
	Node    string     `json:"node"`
}

// Resolved is the flow once its client was told an address. The error says that
// the address is none that the name stands for.
func (f *Flow) Resolved(a netip.Addr) (Flow, error) {
	i := slices.IndexFunc(f.Query.Targets, func(t Target) bool { return t.Address == a })
	if i < 0 {
		return *f, fmt.Errorf("the resolver said that %s is %v, which it never is", f.Query.Name, a)
	}
	g := *f
	g.Dst, g.Server = netip.AddrPortFrom(a, f.Dst.Port()), f.Query.Targets[i].Node
	return g, nil
}

// At is the flow as it is once its client was told of a node; itself if the client
// does not ask.
func (f *Flow) At(node string) *Flow {
	if f.Query != nil {
		for _, t := range f.Query.Targets {
			if t.Node == node {
				if g, err := f.Resolved(t.Address); err == nil {
					return &g
				}
			}
		}
	}
	return f
}

// NoAddress is what a client says that was told of none.
func NoAddress(name string) string { return "the resolver knows no address of " + name }

// query makes the flows of a traffic ask where a target is, if that is a name.
func (b *builder) query(t *spec.Traffic, path string, c, d *machine) *Query {
	if d.spec == nil || len(d.spec.Resolves) == 0 {
		return nil
	}
	i := slices.IndexFunc(b.origin, func(m *machine) bool { return m.logical() == t.Resolver })
	if i < 0 {
		b.fail(path+".resolver", "%q is no host: want one that serves dns, to ask where %s is", t.Resolver, d.node.ID)
		return nil
	}
	r := b.replicaNear(b.origin[i], c.node.Datacenter)
	q := &Query{
		Name: d.logical(), Src: netip.AddrPortFrom(c.addr, 0), Resolver: netip.AddrPortFrom(r.addr, dns.Port),
	}
	for _, v := range sortedKeys(d.spec.Resolves) {
		for _, m := range b.origin {
			if m.logical() == d.spec.Resolves[v] && !slices.ContainsFunc(q.Targets, func(t Target) bool { return t.Address == m.addr }) {
				q.Targets = append(q.Targets, Target{m.addr, b.replicaNear(m, c.node.Datacenter).node.ID})
			}
		}
	}
	return q
}

// nameServices are name servers and resolvers.
func (b *builder) nameServices() {
	var ask []dns.Delegation
	for _, m := range b.origin {
		if len(m.spec.Resolves) > 0 && !slices.ContainsFunc(ask, func(d dns.Delegation) bool { return d.Name == m.logical() }) {
			ask = append(ask, dns.Delegation{Name: m.logical(), Server: m.addr})
		}
	}
	for _, m := range b.origin {
		var c dns.Config
		if len(m.spec.Resolves) > 0 {
			c.Zones = append(c.Zones, b.zone(m))
		}
		if slices.Contains(m.spec.Serve, spec.DNS) {
			c.Ask, c.Source, c.ClientSubnet = ask, cmp.Or(m.asks, m.addr), m.spec.ClientSubnet
		}
		if len(c.Zones)+len(c.Ask) > 0 {
			b.p.Services = append(b.p.Services, Service{Node: m.node.ID, Kind: spec.DNS, Address: m.addr, Ports: []uint16{dns.Port}, DNS: &c})
		}
	}
}

// zone is a name's answers: by the countries that addresses are published with,
// of whom only those that a view is for are told apart.
func (b *builder) zone(m *machine) dns.Zone {
	address := func(id string) netip.Addr {
		if i := slices.IndexFunc(b.origin, func(m *machine) bool { return m.logical() == id }); i >= 0 {
			return b.origin[i].addr
		}
		return netip.Addr{}
	}
	views := map[string]string{}
	for _, country := range sortedKeys(m.spec.Resolves) {
		views[strings.ToUpper(country)] = m.spec.Resolves[country]
	}
	z := dns.Zone{Name: m.logical(), Other: address(m.spec.Resolves[spec.DefaultView])}
	add := func(a netip.Addr, country string) {
		if id := views[strings.ToUpper(country)]; id != "" {
			z.Views = append(z.Views, dns.View{From: host(a), Answer: address(id)})
		}
	}
	for _, d := range b.dcs {
		for _, a := range d.directory {
			add(a.Addr, a.Country)
		}
	}
	for _, o := range b.origin {
		switch {
		case o.asks.IsValid():
			add(o.asks, o.asksAs)
		case !o.replica:
			add(o.addr, cmp.Or(o.spec.Country, o.pos.Country))
		}
	}
	return z
}

// asking gives a replica of a resolver the address that it asks from: its own in
// its datacenter, because the one that it is asked at is everywhere.
func (b *builder) asking(m *machine, d *dc, path string) {
	if !slices.Contains(m.spec.Serve, spec.DNS) {
		return
	}
	i := slices.IndexFunc(m.spec.AsksFrom, func(a spec.AsksFrom) bool { return a.Datacenter == d.Name })
	if i < 0 {
		b.fail(path+".asks_from", "nothing for %s: want an address that the resolver there asks from", d.Name)
		return
	}
	m.asks, m.asksAs = m.spec.AsksFrom[i].Address, cmp.Or(m.spec.AsksFrom[i].Country, d.pos.Country)
	l := m.link
	l.A.Addresses = append(l.A.Addresses, host(m.asks))
	l.B.Neighbors = append(l.B.Neighbors, m.asks)
}
