package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	defaultAccount = "default"
	defaultVNet    = "default"
)

// account is an account and where in the file it stands.
type account struct {
	*spec.Account
	path string
	name string
	id   ident.Tenant
}

// accountsOf are the scenario's accounts, ids from 1. A file that names none has one.
func accountsOf(s *spec.Scenario) []account {
	var all []account
	if s.Account != nil {
		all = append(all, account{Account: s.Account, path: "account"})
	}
	for i := range s.Accounts {
		all = append(all, account{Account: &s.Accounts[i], path: at("accounts", i)})
	}
	if len(all) == 0 {
		all = append(all, account{Account: &spec.Account{}, path: "account"})
	}
	for i := range all {
		all[i].id = ident.Tenant(i + 1)
		all[i].name = cmp.Or(all[i].ID, defaultAccount)
	}
	return all
}

// tenant finds an account by name; empty is the first.
func (b *builder) tenant(path, name string) (ident.Tenant, bool) {
	all := b.accounts
	if name == "" {
		return all[0].id, true
	}
	for _, a := range all {
		if a.name == name {
			return a.id, true
		}
	}
	b.fail(path+".account", "no account is called %q", name)
	return 0, false
}

// accountName is the name of an account.
func (b *builder) accountName(id ident.Tenant) string { return b.accounts[id-1].name }

// vnet finds a virtual network of an account, numbered from 1 in file order
// after the one called default that every account has (SEMANTICS 3.1).
func (a account) vnet(name string) (ident.VNet, bool) {
	names := []string{}
	if !slices.ContainsFunc(a.VNets, func(v spec.VNet) bool { return v.ID == defaultVNet }) {
		names = append(names, defaultVNet)
	}
	standard := defaultVNet
	for _, v := range a.VNets {
		names = append(names, v.ID)
		if v.Default {
			standard = v.ID
		}
	}
	i := slices.Index(names, cmp.Or(name, standard))
	return ident.VNet(i + 1), i >= 0
}

// servers writes every server's configuration.
func (b *builder) servers() {
	common := hub.Config{
		Epoch:   1,
		Seed:    b.p.Seed,
		Tunnels: []netip.Addr{tunnelAddr},
		Timers:  timers(b.s.Timers),
		Bounds:  hub.Bounds{Flows: b.s.Bounds.Flows},
		Trace:   true,
	}
	for _, d := range b.dcs {
		for _, s := range d.servers {
			common.Servers = append(common.Servers, hub.Server{
				ID: s.id, Name: s.node.ID, Datacenter: d.ID, Handover: s.handover, Live: true, WasLive: true,
			})
		}
		common.Egress = append(common.Egress, d.directory...)
	}
	for _, a := range b.accounts {
		common.Tenants = append(common.Tenants, hub.Tenant{
			ID: a.id, Name: a.name, FlowKey: hub.FlowKey(a.FlowKey), Orphan: hub.Orphan(a.Orphan),
		})
		common.Routes = append(common.Routes, b.routes(a)...)
	}
	for _, r := range b.ramps {
		common.OnRamps = append(common.OnRamps, r.config())
	}
	for _, d := range b.dcs {
		for _, s := range d.servers {
			c := common
			c.Self = s.id
			b.p.Servers = append(b.p.Servers, Server{
				Node: s.node.ID, Datacenter: d.Name, Index: s.index,
				Interface: s.link.A.Interface, Handover: s.handover, Config: c,
			})
		}
	}
	for _, r := range b.branch {
		b.p.Branches = append(b.p.Branches, r.Branch)
	}
}

// config is an on-ramp as servers know it.
func (r ramp) config() hub.OnRamp {
	return hub.OnRamp{
		ID: r.id, Name: r.name, Tenant: r.tenant, VNet: r.vnet, Scope: ident.Scope(r.id),
		Kind: r.kind, Local: tunnelAddr, Remote: r.outer, Key: r.spec.Key, ARR: r.spec.ARR, MTU: r.mtu,
	}
}

// routes are an account's routes, one for each on-ramp that a route selects.
func (b *builder) routes(a account) []route.Route {
	type identity struct {
		vnet            ident.VNet
		prefix          netip.Prefix
		hop             ident.OnRamp
		priority        int
		regions, places string
	}
	seen := map[identity]string{}
	var all []route.Route
	expand := func(list []spec.Route, path string) {
		for i, r := range list {
			where := at(path, i)
			vnet, ok := a.vnet(r.VNet)
			if !ok {
				b.fail(where+".vnet", "no virtual network is called %q", r.VNet)
			}
			if r.Prefix != r.Prefix.Masked() || !r.Prefix.IsValid() {
				b.fail(where+".prefix", "%v is not a prefix: want %v", r.Prefix, r.Prefix.Masked())
			}
			for _, hop := range b.via(a, where, r.Via) {
				key := identity{vnet, r.Prefix, hop.id, cmp.Or(r.Priority, 100), strings.Join(r.Regions, " "), strings.Join(r.Datacenters, " ")}
				if old := seen[key]; old != "" {
					b.fail(where, "error 1014: the route to %v via %s already exists as %s", r.Prefix, cmp.Or(hop.name, "null"), old)
					continue
				}
				seen[key] = where
				id := cmp.Or(r.ID, r.Prefix.String())
				if hop.name != "" {
					id += " via " + hop.name
				}
				all = append(all, route.Route{
					ID: id, Tenant: a.id, VNet: vnet, Prefix: r.Prefix, NextHop: hop.id,
					Priority: key.priority, Weight: r.Weight, Source: route.Source(cmp.Or(r.Source, string(route.Static))), Plane: hop.plane(),
				})
			}
		}
	}
	if a.id == 1 {
		expand(b.s.Routes, "routes")
	}
	expand(a.Routes, a.path+".routes")
	return all
}

// plane is the kind of next hop that the ramp is.
func (r ramp) plane() route.Plane {
	if r.kind == tunnel.Connector {
		return route.ZT
	}
	return route.WAN
}

// via expands a route's selector over the account's on-ramps; a null route has
// one next hop that is none.
func (b *builder) via(a account, path, selector string) []ramp {
	if selector == "" || selector == "null" {
		return []ramp{{}}
	}
	var all []ramp
	for _, r := range b.ramps {
		if r.tenant == a.id && spec.Matches(selector, r.name) {
			all = append(all, r)
		}
	}
	if len(all) == 0 && !b.unplanned(selector) {
		b.fail(path+".via", "no on-ramp of account %s is called %q", a.name, selector)
	}
	return all
}

// timers fills in the defaults of SEMANTICS 1.9 and 5.5 and scales them.
func timers(t spec.Timers) hub.Timers {
	scale := t.Scale
	if scale == 0 {
		scale = 1
	}
	of := func(d unit.Duration, standard time.Duration) time.Duration {
		if d != 0 {
			standard = d.D()
		}
		// Zero would mean the default again.
		return max(time.Duration(float64(standard)*scale), 1)
	}
	return hub.Timers{
		TCPConnect:     of(t.TCPConnect, 30*time.Second),
		TCPEstablished: of(t.TCPEstablished, 8*time.Hour),
		TCPTransitory:  of(t.TCPTransitory, 240*time.Second),
		UDP:            of(t.UDP, 300*time.Second),
		DNS:            of(t.DNS, 10*time.Second),
		ICMP:           of(t.ICMP, 60*time.Second),
		PortHold:       of(t.PortHold, 60*time.Second),
	}
}
