package journal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Blocks are what the Internet has to know of egress addresses.
func Blocks(p *plan.Plan) map[string]record.Block {
	all := map[string]record.Block{}
	for a, b := range p.Blocks() {
		all[a.String()] = record.Block{Prefix: b.Prefix.String(), From: b.From}
	}
	return all
}

// Topology is the plan as a report draws it.
func Topology(p *plan.Plan) record.Topology {
	var t record.Topology
	ports := map[string][]string{}
	for _, s := range p.Servers {
		ports[s.Node] = sliceTexts(s)
	}
	for _, n := range p.Nodes {
		node := record.TopologyNode{ID: n.ID, Kind: string(n.Kind), Site: n.Site, Datacenter: n.Datacenter, Account: n.Account, Lat: n.Lat, Lon: n.Lon, Addresses: ports[n.ID]}
		if n.Address.IsValid() {
			node.Addresses = append(node.Addresses, n.Address.String())
		}
		if n.LAN.IsValid() {
			node.Prefix = n.LAN.String()
		}
		t.Nodes = append(t.Nodes, node)
	}
	for _, d := range p.Datacenters {
		for i := range t.Nodes {
			if t.Nodes[i].ID == d.Name+".edge" {
				for _, e := range d.Egress {
					t.Nodes[i].Addresses = append(t.Nodes[i].Addresses, e.String())
				}
			}
		}
	}
	for _, l := range p.Links {
		t.Links = append(t.Links, record.TopologyLink{ID: l.ID, A: l.A.Node, B: l.B.Node, Class: string(l.Class)})
	}
	tunnels(p, &t)
	return t
}

// tunnels adds the on-ramps: what each kind of them says of its owner, and a
// link of its own beside the wires.
func tunnels(p *plan.Plan, t *record.Topology) {
	names, arr, vnet := p.Names(), map[ident.OnRamp]bool{}, map[ident.OnRamp]string{}
	if len(p.Servers) > 0 { // on-ramps are the same on all of them
		for _, o := range p.Servers[0].Config.OnRamps {
			arr[o.ID], vnet[o.ID] = o.ARR, names.VNets[o.Tenant][o.VNet]
		}
	}
	for _, b := range p.Branches {
		i := slices.IndexFunc(t.Nodes, func(n record.TopologyNode) bool { return n.ID == b.Node })
		if i < 0 {
			continue
		}
		for _, tun := range b.Tunnels {
			l := record.TopologyLink{ID: tun.Name, A: b.Node, B: t.Nodes[i].Datacenter + ".edge", Class: "tunnel", Kind: string(tun.Kind), ARR: arr[tun.OnRamp]}
			if c := tun.Connect; c != nil {
				t.Nodes[i].VNet, t.Nodes[i].User = vnet[tun.OnRamp], c.Context.User
				if tun.Kind == tunnel.Connector {
					l.Text = "preserves sources"
					if c.NAT.IsValid() {
						l.Text = "translates sources to " + c.NAT.String()
					}
				}
			}
			t.Links = append(t.Links, l)
		}
	}
	for _, x := range p.Interconnects {
		i := slices.IndexFunc(p.Links, func(l plan.Link) bool { return l.B.Node == x.Edge && l.B.Interface == x.Interface })
		if i < 0 {
			continue
		}
		l := record.TopologyLink{ID: x.Name, A: p.Links[i].A.Node, B: x.Edge, Class: "interconnect", Kind: string(tunnel.Interconnect), ARR: arr[x.OnRamp]}
		if x.VLAN != 0 {
			l.Text = fmt.Sprintf("VLAN %d", x.VLAN)
		}
		t.Links = append(t.Links, l)
	}
}

// sliceTexts are a server's own ports, an address range at a time where they
// are the same: "198.51.100.0–3 ports 2048–4095".
func sliceTexts(s plan.Server) []string {
	byRange := map[string][]string{}
	var order []string
	for i := range s.Config.Egress {
		e := &s.Config.Egress[i]
		for _, ports := range portTexts(e, s.Config.Self) {
			if byRange[ports] == nil {
				order = append(order, ports)
			}
			byRange[ports] = append(byRange[ports], e.Addr.String())
		}
	}
	var out []string
	for _, ports := range order {
		addrs := byRange[ports]
		text := addrs[0]
		if n := len(addrs); n > 1 {
			text += "–" + addrs[n-1][strings.LastIndexAny(addrs[n-1], ".:")+1:]
		}
		out = append(out, text+" ports "+ports)
	}
	return out
}

// portTexts are the ports of an address that a server has, slices side by side
// as one: "2048–4095", or "2048–65535" of an IPv6 address, which is whole.
func portTexts(e *egress.Address, self ident.Server) (all []string) {
	for first := 0; first < egress.Slices; first++ {
		if e.Owner[first] != self {
			continue
		}
		end := first + 1
		for end < egress.Slices && e.Owner[end] == self {
			end++
		}
		all = append(all, fmt.Sprintf("%d–%d", first*egress.SliceSize, end*egress.SliceSize-1))
		first = end
	}
	return all
}
