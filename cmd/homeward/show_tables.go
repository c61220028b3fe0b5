package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/reports/journal"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// tables are what show prints of a variant, in the order in which a packet
// meets them: who asks, how they connect, what decides, where it goes.
func tables(v *variant, all bool) []*table {
	s := &shown{plan: v.plan, spec: v.spec, names: v.plan.Names(), ramps: map[ident.OnRamp]hub.OnRamp{}}
	if len(s.plan.Servers) > 0 { // on-ramps and tenants are the same on all of them
		for _, o := range s.plan.Servers[0].Config.OnRamps {
			s.ramps[o.ID] = o
		}
		s.tenants = s.plan.Servers[0].Config.Tenants
	}
	list := []*table{s.datacenters(), s.servers(), s.accounts(), s.sites(), s.onramps(), s.groups(), s.devices(), s.connectors(), s.origins(), s.links(), s.routes(), s.policies(), s.traffic(), s.faults(), s.checks()}
	if all {
		list = append(list, s.nodes(), s.flows())
	}
	return list
}

// shown is what tables are made from.
type shown struct {
	plan    *plan.Plan
	spec    *spec.Scenario
	names   plan.Names
	tenants []hub.Tenant
	ramps   map[ident.OnRamp]hub.OnRamp
}

// account is a tenant's name where there are several.
func (s *shown) account(name string) string {
	if len(s.tenants) < 2 {
		return ""
	}
	return name
}

func (s *shown) datacenters() *table {
	t := &table{title: "Datacenters", header: []string{"NAME", "PLACE", "SERVERS", "EGRESS", "PROPAGATION"}}
	for _, d := range s.plan.Datacenters {
		n := 0
		for i := range s.plan.Servers {
			if s.plan.Servers[i].Datacenter == d.Name {
				n++
			}
		}
		t.add(d.Name, town(d.Place), strconv.Itoa(n), joined(d.Egress), span(d.Propagation))
	}
	return t
}

// town is a place for people: "London, GB".
func town(code string) string {
	p, ok := place.Lookup(code)
	if !ok {
		return code
	}
	return cmp.Or(p.City, p.Name) + ", " + p.Country
}

func (s *shown) servers() *table {
	t := &table{title: "Servers", header: []string{"NAME", "HAND-OVER", "EGRESS SLICES"}, loose: map[int]bool{1: true, 2: true}}
	own := map[string][]string{}
	for _, n := range journal.Topology(s.plan).Nodes {
		own[n.ID] = n.Addresses
	}
	for i := range s.plan.Servers {
		srv := &s.plan.Servers[i]
		t.add(srv.Node, srv.Handover.String(), strings.Join(own[srv.Node], ", "))
	}
	return t
}

func (s *shown) accounts() *table {
	t := &table{title: "Accounts and virtual networks (* is the default)", header: []string{"NAME", "VIRTUAL NETWORKS", "ROUTING", "FLOW KEY", "ORPHAN", "COLLISION", "ON EXHAUSTION"}}
	silent := true
	for i := range s.tenants {
		x := &s.tenants[i]
		var vnets []string
		for _, v := range x.VNets {
			name := v.Name
			if v.Default && len(x.VNets) > 1 {
				name += "*"
			}
			vnets = append(vnets, name)
		}
		routing := ""
		if x.Legacy {
			routing = "legacy"
		}
		row := []string{x.Name, strings.Join(vnets, ", "), routing, unless(string(x.FlowKey), string(hub.FlowKeyOnRamp)), unless(string(x.Orphan), string(hub.OrphanDrop)),
			unless(string(x.Collision), string(hub.CollisionReject)), unless(string(x.OnExhaustion), string(hub.ExhaustionAnotherAddress))}
		silent = silent && len(s.tenants) == 1 && len(x.VNets) < 2 && strings.Join(row[2:], "") == ""
		t.add(row...)
	}
	if silent {
		t.rows = nil // one account without a wish of its own
	}
	return t
}

// unless is a value that is worth saying.
func unless(value, standard string) string {
	if value == standard {
		return ""
	}
	return value
}

func (s *shown) sites() *table {
	t := &table{title: "Sites", header: []string{"NAME", "ACCOUNT", "LAN", "HOSTS", "LANDS IN"}}
	for i := range s.plan.Branches {
		b := &s.plan.Branches[i]
		if n, ok := s.plan.Node(b.Node); ok && n.Kind == plan.KindBranch {
			t.add(b.Site, s.account(n.Account), n.LAN.String(), s.hosts(b.Site), n.Datacenter)
		}
	}
	return t
}

// hosts of a site or connector: "till 10.0.1.5".
func (s *shown) hosts(site string) string {
	var texts []string
	for i := range s.plan.Nodes {
		if n := &s.plan.Nodes[i]; n.Site == site && n.Kind == plan.KindHost {
			texts = append(texts, strings.TrimPrefix(n.ID, site+".")+" "+n.Address.String())
		}
	}
	return strings.Join(texts, ", ")
}

func (s *shown) onramps() *table {
	t := &table{title: "On-ramps", header: []string{"NAME", "KIND", "OUTER ADDRESSES", "MTU", "REPLIES BY"}, loose: map[int]bool{2: true}}
	by := func(id ident.OnRamp) string {
		if s.ramps[id].ARR {
			return "ARR"
		}
		return "routes"
	}
	for i := range s.plan.Branches {
		for _, tun := range s.plan.Branches[i].Tunnels {
			if tun.Kind == tunnel.Device || tun.Kind == tunnel.Connector {
				continue // told with who they are
			}
			text := fmt.Sprintf("%s → %s", tun.Local, tun.Remote)
			if tun.Key != nil {
				text += fmt.Sprintf(" key %d", *tun.Key)
			}
			t.add(tun.Name, string(tun.Kind), text, strconv.Itoa(tun.MTU), by(tun.OnRamp))
		}
	}
	for _, x := range s.plan.Interconnects {
		text := "a link to " + x.Edge
		if x.VLAN != 0 {
			text = fmt.Sprintf("VLAN %d to %s", x.VLAN, x.Edge)
		}
		t.add(x.Name, string(tunnel.Interconnect), text, strconv.Itoa(s.ramps[x.OnRamp].MTU), by(x.OnRamp))
	}
	return t
}

// connected are the tunnels that begin with a context, of one kind.
func (s *shown) connected(kind tunnel.Kind, row func(n *plan.Node, tun *plan.BranchTunnel)) {
	for i := range s.plan.Branches {
		b := &s.plan.Branches[i]
		n, ok := s.plan.Node(b.Node)
		for j := range b.Tunnels {
			if tun := &b.Tunnels[j]; ok && tun.Kind == kind && tun.Connect != nil {
				row(n, tun)
			}
		}
	}
}

// vnet is a virtual network's name; 0 is the account's default.
func (s *shown) vnet(tenant ident.Tenant, id ident.VNet) string {
	for i := range s.tenants {
		if s.tenants[i].ID == tenant && id == 0 {
			id = s.tenants[i].DefaultVNet()
		}
	}
	return s.names.VNets[tenant][id]
}

// vnetOf is the same where the account has several.
func (s *shown) vnetOf(tenant ident.Tenant, id ident.VNet) string {
	if len(s.names.VNets[tenant]) < 2 {
		return ""
	}
	return s.vnet(tenant, id)
}

func (s *shown) devices() *table {
	t := &table{title: "Devices", header: []string{"NAME", "ACCOUNT", "ADDRESS", "USER", "COUNTRY", "VIRTUAL NETWORK", "LANDS IN"}, loose: map[int]bool{2: true}}
	s.connected(tunnel.Device, func(n *plan.Node, tun *plan.BranchTunnel) {
		c := &tun.Connect.Context
		vnet := s.vnet(c.Tenant, c.VNet)
		for _, r := range tun.Connect.Switch {
			vnet += fmt.Sprintf(", at %s %s", r.At, s.vnet(c.Tenant, r.Context.VNet))
		}
		t.add(n.ID, s.account(n.Account), tun.Inner.String(), c.User, c.Country, vnet, n.Datacenter)
	})
	return t
}

func (s *shown) connectors() *table {
	t := &table{title: "Connectors: private networks", header: []string{"NAME", "ACCOUNT", "LAN", "HOSTS", "VIRTUAL NETWORK", "SOURCES", "LANDS IN"}, loose: map[int]bool{2: true, 3: true}}
	s.connected(tunnel.Connector, func(n *plan.Node, tun *plan.BranchTunnel) {
		sources := "preserved"
		if a := tun.Connect.NAT; a.IsValid() {
			sources = "become " + a.String()
		}
		c := &tun.Connect.Context
		t.add(n.Site, s.account(n.Account), n.LAN.String(), s.hosts(n.Site), s.vnet(c.Tenant, c.VNet), sources, n.Datacenter)
	})
	return t
}

func (s *shown) origins() *table {
	t := &table{title: "Internet", header: []string{"NAME", "ADDRESS", "SERVES", "NEAR"}, loose: map[int]bool{1: true}}
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		if n.Kind != plan.KindOrigin {
			continue
		}
		var serves []string
		for _, x := range s.plan.Services {
			if x.Node == n.ID {
				serves = append(serves, fmt.Sprintf("%s %s", x.Kind, joined(x.Ports)))
			}
		}
		t.add(n.ID, n.Address.String(), strings.Join(serves, "; "), n.Datacenter)
	}
	return t
}

// routes are those of all servers; where says which datacenters have one, if
// not all do.
func (s *shown) routes() *table {
	t := &table{title: "Routes", header: []string{"VIA", "PREFIX", "ACCOUNT", "VIRTUAL NETWORK", "PRIORITY", "WEIGHT", "LEARNED BY", "IN"}}
	where := map[string][]string{}
	var rows [][]string
	for i := range s.plan.Servers {
		srv := &s.plan.Servers[i]
		for _, r := range srv.Config.Routes {
			via := cmp.Or(s.names.OnRamps[r.NextHop], "null")
			weight := ""
			if r.Weight != 0 {
				weight = strconv.Itoa(r.Weight)
			}
			row := []string{via, r.Prefix.String(), s.account(s.names.Tenants[r.Tenant]), s.vnetOf(r.Tenant, r.VNet), strconv.Itoa(r.Priority), weight, unless(string(r.Source), "static")}
			key := strings.Join(row, "\x00")
			if where[key] == nil {
				rows = append(rows, row)
			}
			if !slices.Contains(where[key], srv.Datacenter) {
				where[key] = append(where[key], srv.Datacenter)
			}
		}
	}
	for _, row := range rows {
		in := where[strings.Join(row, "\x00")]
		if len(in) == len(s.plan.Datacenters) {
			in = nil
		}
		t.add(append(row, strings.Join(in, ", "))...)
	}
	return t
}

func (s *shown) policies() *table {
	t := &table{title: "Policies, in the order in which they are asked", header: []string{"RULE", "ACCOUNT", "STAGE", "WHERE", "ACTION"}}
	accounts := s.spec.Accounts
	if s.spec.Account != nil {
		accounts = []spec.Account{*s.spec.Account}
	}
	for i := range accounts {
		a := &accounts[i]
		for _, stage := range []struct {
			name  string
			rules []spec.Policy
		}{{"firewall", a.Policies.Firewall}, {"egress", a.Policies.Egress}, {"network", a.Policies.Network}} {
			for j := range stage.rules {
				r := &stage.rules[j]
				action := r.Action
				if r.IPv4.IsValid() {
					action += " " + r.IPv4.String()
				}
				t.add(r.ID, s.account(a.ID), stage.name, selectors(&r.Match), action)
			}
		}
	}
	return t
}

// selectors says in a line what a policy asks for.
func selectors(m *spec.Match) string {
	var all []string
	for _, x := range []struct{ name, values string }{
		{"onramp", strings.Join(m.OnRamp, "|")}, {"user", strings.Join(m.User, "|")}, {"vnet", strings.Join(m.VNet, "|")}, {"source", joined(m.Source)}, {"source_country", strings.Join(m.SourceCountry, "|")},
		{"destination", joined(m.Destination)}, {"country", strings.Join(m.Country, "|")}, {"protocol", strings.Join(m.Protocol, "|")}, {"port", joined(m.Port)},
	} {
		if x.values != "" {
			all = append(all, x.name+"="+strings.ReplaceAll(x.values, ", ", "|"))
		}
	}
	return cmp.Or(strings.Join(all, " "), "everything")
}

func (s *shown) traffic() *table {
	t := &table{title: "Traffic", header: []string{"ID", "FLOWS", "PROTO", "FROM", "TO", "REQUEST", "RESPONSE", "WHEN"}}
	for _, id := range s.plan.Traffic {
		var n int
		var first, last time.Duration
		var one plan.Flow
		for i := range s.plan.Flows {
			f := &s.plan.Flows[i]
			if f.Traffic != id {
				continue
			}
			if n == 0 {
				one, first = *f, f.Start
			}
			n, first, last = n+1, min(first, f.Start), max(last, f.Start)
		}
		i := slices.IndexFunc(s.spec.Traffic, func(x spec.Traffic) bool { return x.ID == id })
		if n == 0 || i < 0 {
			continue
		}
		proto := string(one.Proto)
		if port := one.Dst.Port(); port != 0 {
			proto += " " + strconv.Itoa(int(port))
		}
		when := first.String()
		if last > first {
			when += " … " + last.Round(time.Millisecond).String()
		}
		t.add(id, strconv.Itoa(n), proto, s.spec.Traffic[i].From, s.spec.Traffic[i].To, one.Request.String(), one.Response.String(), when)
	}
	return t
}

func (s *shown) checks() *table {
	t := &table{title: "Checks", header: []string{"ID", "MUST HOLD", "HERE"}}
	for i := range s.plan.Checks {
		c := &s.plan.Checks[i]
		in := checkInput(*c)
		text := in.Expr
		if c.Expect == "" {
			text = string(in.Kind) + " " + text
		}
		here := ""
		if slices.Contains(s.plan.ExpectFail, c.ID) {
			here = "falls short, as expected"
		}
		t.add(c.ID, text, here)
	}
	return t
}

func (s *shown) nodes() *table {
	t := &table{title: fmt.Sprintf("%s, %s", count(len(s.plan.Nodes), "node"), count(len(s.plan.Links), "link")), header: []string{"NAME", "KIND", "INTERFACE", "ADDRESSES", "TO"}}
	links := map[string][][]string{}
	for i := range s.plan.Links {
		l := &s.plan.Links[i]
		for _, e := range []struct{ at, to *plan.Endpoint }{{&l.A, &l.B}, {&l.B, &l.A}} {
			links[e.at.Node] = append(links[e.at.Node], []string{e.at.Interface, joined(e.at.Addresses), e.to.Node})
		}
	}
	for i := range s.plan.Nodes {
		name, kind := s.plan.Nodes[i].ID, string(s.plan.Nodes[i].Kind)
		if len(links[name]) == 0 {
			t.add(name, kind, "", "", "")
		}
		for _, l := range links[name] {
			t.add(append([]string{name, kind}, l...)...)
			name, kind = "", ""
		}
	}
	return t
}

func (s *shown) flows() *table {
	t := &table{title: "Flows", header: []string{"FLOW", "START", "CLIENT", "PROTO", "FROM", "TO", "SERVER"}}
	for i := range s.plan.Flows {
		f := &s.plan.Flows[i]
		t.add(fmt.Sprintf("%s#%d", f.Traffic, f.N), f.Start.String(), f.Client, string(f.Proto), f.Src.String(), f.Dst.String(), f.Server)
	}
	return t
}

// joined lists values.
func joined[T uint16 | int | netip.Prefix](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

// span is a duration that is worth saying.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
