package run

import (
	"fmt"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// topology is the plan as a report draws it.
func topology(p *plan.Plan) record.Topology {
	var t record.Topology
	slices := map[string][]string{}
	for _, s := range p.Servers {
		slices[s.Node] = sliceTexts(s)
	}
	for _, n := range p.Nodes {
		node := record.TopologyNode{ID: n.ID, Kind: string(n.Kind), Site: n.Site, Datacenter: n.Datacenter, Account: n.Account, Lat: n.Lat, Lon: n.Lon, Addresses: slices[n.ID]}
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
	for _, b := range p.Branches {
		if node, ok := p.Node(b.Node); ok {
			for _, tunnel := range b.Tunnels {
				t.Links = append(t.Links, record.TopologyLink{ID: tunnel.Name, A: b.Node, B: node.Datacenter + ".edge", Class: "tunnel", Text: tunnel.Name})
			}
		}
	}
	return t
}

// sliceTexts are a server's own ports, an address range at a time where they
// are the same: "198.51.100.0 – .3 ports 2048–4095".
func sliceTexts(s plan.Server) []string {
	byRange := map[string][]string{}
	var order []string
	for _, e := range s.Config.Egress {
		for i, o := range e.Owner {
			if o == s.Config.Self {
				ports := fmt.Sprintf("%d–%d", i*egress.SliceSize, (i+1)*egress.SliceSize-1)
				if byRange[ports] == nil {
					order = append(order, ports)
				}
				byRange[ports] = append(byRange[ports], e.Addr.String())
			}
		}
	}
	var out []string
	for _, ports := range order {
		addrs := byRange[ports]
		text := addrs[0]
		if n := len(addrs); n > 1 {
			text += "…" + addrs[n-1][strings.LastIndexAny(addrs[n-1], ".:"):]
		}
		out = append(out, text+" ports "+ports)
	}
	return out
}
