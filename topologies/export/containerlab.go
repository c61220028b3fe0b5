package export

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// Image has iproute2 and sysctl, which the nodes' commands need.
const Image = "ghcr.io/hellt/network-multitool"

// clab is a topology file (https://containerlab.dev/manual/topo-def-file/).
type clab struct {
	Name     string       `yaml:"name"`
	Topology clabTopology `yaml:"topology"`
}

type clabTopology struct {
	Nodes map[string]clabNode `yaml:"nodes"`
	Links []clabLink          `yaml:"links"`
}

type clabNode struct {
	Kind  string `yaml:"kind"`
	Image string `yaml:"image"`
	// NetworkMode none leaves eth0 to the topology: no management network.
	NetworkMode string            `yaml:"network-mode"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Exec        []string          `yaml:"exec,omitempty"`
}

type clabLink struct {
	Endpoints []string `yaml:"endpoints,flow"`
}

// Containerlab writes a topology file: Linux containers with the plan's links,
// MTUs, addresses, routes and GRE tunnels.
func Containerlab(w io.Writer, p *plan.Plan) error {
	c := clab{Name: p.Scenario, Topology: clabTopology{Nodes: map[string]clabNode{}}}
	exec, made := map[string][]string{}, map[string]bool{}
	add := func(node, format string, a ...any) { exec[node] = append(exec[node], fmt.Sprintf(format, a...)) }
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Forward {
			add(n.ID, "sysctl -w net.ipv4.ip_forward=1")
		}
		for _, a := range n.Loopback {
			add(n.ID, "ip address add %s dev lo", a)
		}
	}
	for i := range p.Links {
		l := &p.Links[i]
		c.Topology.Links = append(c.Topology.Links, clabLink{[]string{l.A.Node + ":" + l.A.Interface, l.B.Node + ":" + l.B.Interface}})
		for _, e := range []*plan.Endpoint{&l.A, &l.B} {
			made[e.Node+":"+e.Interface] = true
			add(e.Node, "ip link set dev %s mtu %d up", e.Interface, l.MTU)
			for _, a := range e.Addresses {
				add(e.Node, "ip address add %s dev %s", a, e.Interface)
			}
		}
	}
	tunnels(p, func(node, device string) { made[node+":"+device] = true }, add)
	for i := range p.Nodes {
		id := p.Nodes[i].ID
		for _, r := range p.Nodes[i].Routes {
			// Tunnels of devices and connectors are this program's own, and so is the way into them.
			if !slices.ContainsFunc(r.Hops, func(h plan.Hop) bool { return !made[id+":"+h.Interface] }) {
				add(id, "ip route add %s", routeArgs(&r))
			}
		}
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		node := clabNode{Kind: "linux", Image: Image, NetworkMode: "none", Labels: map[string]string{"homeward-kind": string(n.Kind)}, Exec: exec[n.ID]}
		if n.Site != "" {
			node.Labels["homeward-site"] = n.Site
		}
		c.Topology.Nodes[n.ID] = node
	}
	if title := title(p); title != "" {
		if _, err := fmt.Fprintf(w, "# %s/%s: %s\n# Nodes, links, addresses and routes. Servers are routers here: no flow table, no NAT.\n", p.Scenario, p.Variant, strings.Join(strings.Fields(title), " ")); err != nil {
			return err
		}
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// tunnels makes the GRE tunnels of branches; others are this program's own.
func tunnels(p *plan.Plan, makes func(node, device string), add func(node, format string, a ...any)) {
	for i := range p.Branches {
		b := &p.Branches[i]
		for _, t := range b.Tunnels {
			if t.Connect != nil || !t.Local.Is4() {
				continue
			}
			key := ""
			if t.Key != nil {
				key = fmt.Sprintf(" key %d", *t.Key)
			}
			makes(b.Node, t.Interface)
			add(b.Node, "ip tunnel add %s mode gre local %s remote %s%s", t.Interface, t.Local, t.Remote, key)
			add(b.Node, "ip link set dev %s mtu %d up", t.Interface, t.MTU)
			if t.Inner.IsValid() {
				add(b.Node, "ip address add %s dev %s", t.InnerPrefix(), t.Interface)
			}
		}
	}
}

// routeArgs are what ip-route(8) wants.
func routeArgs(r *plan.KernelRoute) string {
	if len(r.Hops) == 0 {
		return "blackhole " + r.To.String()
	}
	s := r.To.String()
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	for _, h := range r.Hops {
		if len(r.Hops) > 1 {
			s += " nexthop"
		}
		if h.Via.IsValid() {
			s += " via " + h.Via.String()
		}
		s += " dev " + h.Interface
		if h.Via.IsValid() {
			s += " onlink"
		}
	}
	return s
}

// yamlString is a double-quoted scalar.
func yamlString(s string) string { return strconv.Quote(s) }
