package load

import (
	"net/netip"

	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// What a word means that the file does not give.
const (
	defaultAccount  = "default"
	defaultVNet     = "default"
	defaultPriority = 100 // SEMANTICS 2.7
	defaultMTU      = 1476
	greKeyBytes     = 4 // RFC 2890
)

// or puts a default where nothing is given.
func or[T comparable](v *T, def T) {
	var none T
	if *v == none {
		*v = def
	}
}

func (r *resolver) defaults() {
	s := r.s
	or(&s.Seed, 1)
	or(&s.Timers.Scale, 1)
	for i := range s.Datacenters {
		d := &s.Datacenters[i]
		or(&d.Servers, 1)
		or(&d.Place, d.ID)
		if p, ok := place.Lookup(d.Place); ok {
			or(&d.Region, p.Region())
		}
	}
	r.accountDefaults()
	r.siteDefaults()
	for i := range s.Internet {
		r.near(&s.Internet[i].Near)
	}
	for i := range s.Transit {
		r.near(&s.Transit[i].Near)
	}
	for i := range s.Devices {
		or(&s.Devices[i].Account, r.onlyAccount())
		r.near(&s.Devices[i].Near)
	}
	for i := range s.Connectors {
		c := &s.Connectors[i]
		or(&c.Account, r.onlyAccount())
		or(&c.Source, spec.Translate)
		r.near(&c.Near)
		if !c.Gateway.IsValid() {
			c.Gateway = firstFree(c.Lan, c.Hosts)
		}
	}
	for i := range s.Impair {
		or(&s.Impair[i].Direction, "both")
	}
	for i := range s.Checks {
		or(&s.Checks[i].Level, "error")
	}
	for i := range s.Traffic {
		s.Traffic[i] = s.Traffic[i].Filled()
	}
}

// near defaults to the first datacenter.
func (r *resolver) near(n *spec.Near) {
	if len(*n) == 0 && len(r.s.Datacenters) > 0 {
		*n = spec.Near{{Code: r.s.Datacenters[0].ID, Share: 1}}
	}
}

// onlyAccount is the account of what names none: the only one, or "default".
func (r *resolver) onlyAccount() string {
	if len(r.s.Accounts) == 1 && r.s.Account == nil {
		return r.s.Accounts[0].ID
	}
	if r.s.Account != nil {
		return r.s.Account.ID
	}
	return defaultAccount
}

func (r *resolver) accountDefaults() {
	s := r.s
	if s.Account == nil && len(s.Accounts) == 0 {
		s.Account = &spec.Account{}
	}
	fill := func(a *spec.Account) {
		or(&a.Routing, "unified")
		or(&a.FlowKey, "onramp")
		or(&a.OnExhaustion, "another_address")
		or(&a.Collision, "reject-second")
		or(&a.Orphan, "drop")
		routeDefaults(a.Routes)
	}
	if s.Account != nil {
		or(&s.Account.ID, defaultAccount)
		fill(s.Account)
	}
	for i := range s.Accounts {
		fill(&s.Accounts[i])
	}
	routeDefaults(s.Routes)
}

func routeDefaults(routes []spec.Route) {
	for i := range routes {
		or(&routes[i].Source, "static")
		if routes[i].Source == "static" {
			or(&routes[i].Priority, defaultPriority)
		}
		if routes[i].Via == "null" {
			routes[i].Via = ""
		}
	}
}

func (r *resolver) siteDefaults() {
	for i := range r.s.Sites {
		site := &r.s.Sites[i]
		or(&site.Account, r.onlyAccount())
		r.near(&site.Near)
		if !site.Gateway.IsValid() {
			site.Gateway = firstFree(site.Lan, site.Hosts)
		}
		for k := range site.OnRamps {
			ramp := &site.OnRamps[k]
			if ramp.Type != "gre" {
				continue
			}
			if ramp.Key != nil {
				or(&ramp.MTU, defaultMTU-greKeyBytes)
			}
			or(&ramp.MTU, defaultMTU)
		}
	}
}

// firstFree is the first address of a LAN that no host has; invalid if there is
// none.
func firstFree(lan netip.Prefix, hosts map[string]spec.Host) netip.Addr {
	taken := map[netip.Addr]bool{}
	for _, h := range hosts {
		taken[h.Address] = true
	}
	if !lan.IsValid() {
		return netip.Addr{}
	}
	addr := lan.Masked().Addr().Next()
	for range len(hosts) + 1 {
		if !usable(lan, addr) {
			break
		}
		if !taken[addr] {
			return addr
		}
		addr = addr.Next()
	}
	return netip.Addr{}
}

// usable reports whether a host of the LAN can have the address: it is inside,
// and neither the network's own address nor, in IPv4, its broadcast address.
func usable(lan netip.Prefix, addr netip.Addr) bool {
	return lan.Contains(addr) && addr != lan.Masked().Addr() && (addr.Is6() || lan.Contains(addr.Next()))
}
