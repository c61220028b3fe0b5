package run

import (
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// names turns the dataplane's numbers back into the file's ids.
type names struct {
	plan.Names
	datacenter map[string]string // of a server
	ingress    map[string]string // the datacenter in which an on-ramp lands
}

func namesOf(p *plan.Plan) *names {
	n := &names{Names: p.Names(), datacenter: map[string]string{}, ingress: map[string]string{}}
	for _, s := range p.Servers {
		n.datacenter[s.Node] = s.Datacenter
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

func flowText(proto, src, dst string) string { return proto + " " + src + " > " + dst }
