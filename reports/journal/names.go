package journal

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// names turns the dataplane's numbers back into the file's ids.
type names struct {
	plan.Names
	datacenter map[string]string // of a server
	ramps      map[ident.OnRamp]*hub.OnRamp
	owner      map[string]*Slices // of a server
	// addresses are the egress addresses, replica the host that a node is one of.
	addresses map[netip.Addr]*egress.Address
	replica   map[string]string
	// siblings are the other on-ramps of a site, whose router may have chosen them.
	siblings map[string][]string
}

func namesOf(p *plan.Plan) *names {
	n := &names{
		Names: p.Names(), datacenter: map[string]string{},
		ramps: map[ident.OnRamp]*hub.OnRamp{}, owner: map[string]*Slices{}, siblings: map[string][]string{},
		addresses: map[netip.Addr]*egress.Address{}, replica: map[string]string{},
	}
	for i, s := range p.Servers {
		n.datacenter[s.Node] = s.Datacenter
		n.owner[s.Node] = NewSlices(&s.Config)
		for k := range s.Config.OnRamps {
			if i == 0 { // the same on all of them
				n.ramps[s.Config.OnRamps[k].ID] = &s.Config.OnRamps[k]
			}
		}
	}
	for i := range p.Nodes {
		n.replica[p.Nodes[i].ID] = p.Nodes[i].Replica
	}
	if len(p.Servers) > 0 {
		for i := range p.Servers[0].Config.Egress {
			a := &p.Servers[0].Config.Egress[i]
			n.addresses[a.Addr] = a
		}
	}
	for _, b := range p.Branches {
		if b.Choice != nil {
			n.siblingsOf(b.Choice)
		}
	}
	return n
}

// vnet is the name of a virtual network of an on-ramp's tenant.
func (n *names) vnet(ramp ident.OnRamp, v ident.VNet) string {
	o := n.ramps[ramp]
	if o == nil {
		return ""
	}
	return n.VNets[o.Tenant][v]
}

// owns reports whether a server has that egress port toward a destination.
func (n *names) owns(server string, egress netip.AddrPort, to netip.Addr) bool {
	o := n.owner[server]
	return o != nil && o.Owns(egress, to, time.Time{})
}

func (n *names) siblingsOf(c *plan.Choice) {
	for i, w := range c.Ways {
		for j, other := range c.Ways {
			if i != j {
				n.siblings[w.OnRamp] = append(n.siblings[w.OnRamp], other.OnRamp)
			}
		}
	}
}

// protocol names an IANA number as the session log does.
func protocol(proto uint8) string {
	switch proto {
	case 1:
		return "ICMP"
	case 6:
		return "TCP"
	case 17:
		return "UDP"
	case 58:
		return "ICMPV6"
	}
	return strconv.Itoa(int(proto))
}

// text is a tuple for people and for joins: "tcp 10.0.1.5:40000 > 203.0.113.9:443".
func text(t hub.Tuple) string {
	if !t.Src.IsValid() {
		return ""
	}
	proto := strings.TrimSuffix(strings.ToLower(protocol(t.Proto)), "v6") // as plan.Proto
	return flowText(proto, t.Src.String(), t.Dst.String())
}

// FlowText is the same of a plan's flow.
func FlowText(f *plan.Flow) string { return flowText(string(f.Proto), f.Src.String(), f.Dst.String()) }

func flowText(proto, src, dst string) string { return proto + " " + src + " > " + dst }
