package journal

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// names turns the dataplane's numbers back into the file's ids.
type names struct {
	plan.Names
	datacenter map[string]string // of a server
	ingress    map[string]string // the datacenter in which an on-ramp lands
	ramps      map[ident.OnRamp]*hub.OnRamp
	owner      map[string]func(netip.Addr, uint16) bool // of a server
	// siblings are the other on-ramps of a site, whose router may have chosen them.
	siblings map[string][]string
}

func namesOf(p *plan.Plan) *names {
	n := &names{
		Names: p.Names(), datacenter: map[string]string{}, ingress: map[string]string{},
		ramps: map[ident.OnRamp]*hub.OnRamp{}, owner: map[string]func(netip.Addr, uint16) bool{}, siblings: map[string][]string{},
	}
	for i, s := range p.Servers {
		n.datacenter[s.Node] = s.Datacenter
		n.owner[s.Node] = Owner(s)
		for k := range s.Config.OnRamps {
			if i == 0 { // the same on all of them
				n.ramps[s.Config.OnRamps[k].ID] = &s.Config.OnRamps[k]
			}
		}
	}
	for _, x := range p.Interconnects {
		if node, ok := p.Node(x.Edge); ok {
			n.ingress[x.Name] = node.Datacenter
		}
	}
	for _, b := range p.Branches {
		if b.Choice != nil {
			n.siblingsOf(b.Choice)
		}
		if node, ok := p.Node(b.Node); ok {
			for _, t := range b.Tunnels {
				n.ingress[t.Name] = node.Datacenter
			}
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

// Owner says which ports of which addresses are the server's own (SU-3); an
// address that is nobody's egress is no business of that check.
func Owner(s plan.Server) func(netip.Addr, uint16) bool {
	mine := map[netip.Addr]*egress.Address{}
	for i := range s.Config.Egress {
		mine[s.Config.Egress[i].Addr] = &s.Config.Egress[i]
	}
	return func(a netip.Addr, port uint16) bool {
		e := mine[a]
		return e == nil || e.Owner[port/egress.SliceSize] == s.Config.Self
	}
}

// owns reports whether a server has that egress port.
func (n *names) owns(server string, egress netip.AddrPort) bool {
	owner := n.owner[server]
	return owner != nil && owner(egress.Addr(), egress.Port())
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
