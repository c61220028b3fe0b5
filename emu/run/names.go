package run

import (
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// names turns the dataplane's numbers back into the file's ids.
type names struct {
	plan.Names
	colo    map[string]string // server → datacenter
	ingress map[string]string // on-ramp → the datacenter it lands in
}

func namesOf(p *plan.Plan) *names {
	n := &names{Names: p.Names(), colo: map[string]string{}, ingress: map[string]string{}}
	for _, s := range p.Servers {
		n.colo[s.Node] = s.Datacenter
	}
	for _, b := range p.Branches {
		if node, ok := p.Node(b.Node); ok {
			for _, t := range b.Tunnels {
				n.ingress[t.Name] = node.Datacenter
			}
		}
	}
	return n
}

// protocols by IANA number, as the session log writes them.
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
	return fmt.Sprintf("%d", proto)
}

// text is a tuple for people and for joins: "tcp 10.0.1.5:40000 > 203.0.113.9:443".
func text(t hub.Tuple) string {
	if !t.Src.IsValid() {
		return ""
	}
	return flowText(lower(protocol(t.Proto)), t.Src.String(), t.Dst.String())
}

func flowText(proto, src, dst string) string { return proto + " " + src + " > " + dst }

func lower(proto string) string {
	switch proto {
	case "TCP":
		return "tcp"
	case "UDP":
		return "udp"
	case "ICMP", "ICMPV6":
		return "icmp"
	}
	return proto
}
