package export

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// ErrInexpressible is wrapped for a plan that nftables cannot do the work of.
var ErrInexpressible = errors.New("nftables cannot do this")

// NFTables writes what can be built of the kernel's own parts instead of a hub:
// a script whose argument is a server or an edge, to be run there. It needs sh,
// ip, sysctl and nft.
//
// A conntrack zone for each tunnel keeps equal flows apart, the connection's mark
// remembers the tunnel, a rule and a table for each mark return replies to it,
// and sources become ports of the server's own slice. What steers replies to the
// owner of a slice is rules on the edges. What a hub does beyond that is not in
// it: the home of a flow is where its tunnel's packets land, ICMP errors find
// only servers that they are routed to, and nobody writes a session log.
func NFTables(w io.Writer, p *plan.Plan) error {
	if err := expressible(p); err != nil {
		return err
	}
	s := &script{p: p, inner: map[ident.OnRamp]*plan.BranchTunnel{}}
	for i := range p.Branches {
		for j := range p.Branches[i].Tunnels {
			t := &p.Branches[i].Tunnels[j]
			s.inner[t.OnRamp] = t
		}
	}
	s.line("#!/bin/sh\n# %s/%s: automatic return routing and port slices of conntrack, marks and rules.", p.Scenario, p.Variant)
	s.line("# Run on a server or an edge as root: sh FILE NODE. Nodes: %s.", strings.Join(s.nodes(), " "))
	s.line("set -eu\n%s\ncase \"$1\" in", helpers)
	for i := range p.Servers {
		s.server(&p.Servers[i])
	}
	for i := range p.Nodes {
		if p.Nodes[i].Kind == plan.KindEdge {
			s.edge(p.Nodes[i].ID)
		}
	}
	s.line("*) echo \"$0: want one of: %s\" >&2; exit 2 ;;\nesac", strings.Join(s.nodes(), " "))
	_, err := io.WriteString(w, s.String())
	return err
}

// helpers are the script's functions. A tunnel whose device is there already is
// taken as it is: a kernel without GRE may have it by other means.
const helpers = `
tunnel() { # DEVICE MTU INNER LOCAL REMOTE [key KEY]
	ip link show dev "$1" >/dev/null 2>&1 || ip tunnel add "$1" mode gre local "$4" remote "$5" ttl 64 ${6:+"$6" "$7"}
	ip link set dev "$1" mtu "$2" up
	ip address replace "$3" dev "$1"
	sysctl -qw "net.ipv4.conf.$1.rp_filter=0"
}
by_mark() { # MARK ROUTE...
	mark=$1; shift
	ip rule add fwmark "$mark" lookup "$mark"
	ip route add "$@" table "$mark"
}
`

// expressible names everything of p that the script cannot do.
func expressible(p *plan.Plan) error {
	var errs []error
	lacks := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrInexpressible, fmt.Sprintf(format, a...)))
	}
	if len(p.Servers) == 0 {
		lacks("no servers")
		return errors.Join(errs...)
	}
	c := &p.Servers[0].Config
	for i := range c.OnRamps {
		if o := &c.OnRamps[i]; o.Kind != tunnel.GRE || !o.Local.Is4() {
			lacks("on-ramp %s is not GRE over IPv4", o.Name)
		}
	}
	for _, t := range c.Tenants {
		if t.FlowKey == hub.FlowKeyTuple || len(t.Policies.Firewall)+len(t.Policies.Egress)+len(t.Policies.Network) > 0 {
			lacks("account %s has a flow key or policies of its own", t.Name)
		}
	}
	if len(c.Tenants) > 1 && len(c.Routes) > 0 {
		lacks("routes of several accounts")
	}
	if len(c.Groups) > 0 {
		lacks("groups of on-ramps")
	}
	for i := range p.Flows {
		if p.Flows[i].Src.Addr().Is6() {
			lacks("IPv6 (%s)", p.Flows[i].Traffic)
			break
		}
	}
	if len(p.Faults) > 0 {
		lacks("faults")
	}
	return errors.Join(errs...)
}

// script is written line by line.
type script struct {
	strings.Builder
	p *plan.Plan
	// inner are the addresses inside the tunnels, by on-ramp.
	inner map[ident.OnRamp]*plan.BranchTunnel
}

// into is the next hop at the other end of an on-ramp's tunnel.
func (s *script) into(id ident.OnRamp) string {
	return fmt.Sprintf("via %s dev %s onlink", s.inner[id].Inner, Device(id))
}

func (s *script) line(format string, a ...any) { fmt.Fprintf(s, format+"\n", a...) }

// nodes are those that have something to run.
func (s *script) nodes() []string {
	var all []string
	for i := range s.p.Nodes {
		if k := s.p.Nodes[i].Kind; k == plan.KindServer || k == plan.KindEdge {
			all = append(all, s.p.Nodes[i].ID)
		}
	}
	return all
}

// Device is the name of an on-ramp's tunnel device on a server.
func Device(id ident.OnRamp) string { return fmt.Sprintf("onramp%d", id) }

// private destinations never leave for the Internet (RFC 1918).
const private = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"

// firstMark keeps the numbers of marks and tables away from those that kernels
// and people use already.
const firstMark = 1000

func (s *script) server(v *plan.Server) {
	c := &v.Config
	s.line("%s)\n\tsysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.%s.rp_filter=0", v.Node, v.Interface)
	for _, a := range c.Tunnels {
		if a.Is4() {
			s.line("\tip address add %s/32 dev lo", a)
		}
	}
	var zones, marks, clamps strings.Builder
	for i := range c.OnRamps {
		o := &c.OnRamps[i]
		mtu, key := o.MTU, ""
		if mtu == 0 {
			mtu = tunnel.GREMTU
		}
		if o.Key != nil {
			key = fmt.Sprintf(" key %d", *o.Key)
		}
		inner := s.inner[o.ID]
		s.line("\ttunnel %s %d %s/%d %s %s%s # %s", Device(o.ID), mtu, inner.Peer, inner.Inner.BitLen()-1, o.Local, o.Remote, key, o.Name)
		fmt.Fprintf(&zones, "\t\tiifname %q ct original zone set %d\n", Device(o.ID), firstMark+o.ID)
		fmt.Fprintf(&clamps, "\t\tiifname %[1]q tcp flags syn tcp option maxseg size set %[2]d\n\t\toifname %[1]q tcp flags syn tcp option maxseg size set %[2]d\n", Device(o.ID), tunnel.MSS(mtu))
		if o.ARR {
			fmt.Fprintf(&marks, "\t\tiifname %q ct mark set %d\n", Device(o.ID), firstMark+o.ID)
			s.line("\tby_mark %d default %s", firstMark+o.ID, s.into(o.ID))
		}
	}
	s.routes(c)
	s.line("\tnft -f - <<'END'\ntable ip homeward {")
	s.line("\tchain zone { # equal flows of different tunnels are different connections\n\t\ttype filter hook prerouting priority raw;\n\t\tiifname %q ip protocol gre notrack\n%s\t}", v.Interface, zones.String())
	s.line("\tchain outer { # the tunnels' own packets\n\t\ttype filter hook output priority raw;\n\t\tip protocol gre notrack\n\t}")
	s.line("\tchain remember { # the tunnel a connection came by, and where its replies go\n\t\ttype filter hook prerouting priority mangle;\n%s\t\tiifname %q meta mark set ct mark\n\t}", marks.String(), v.Interface)
	s.line("\tcounter null_routed { }")
	s.line("\tchain forward {\n\t\ttype filter hook forward priority mangle;\n\t\toifname %[1]q ip daddr { %[2]s } counter name null_routed drop # no route says whose it is\n\t\toifname %[1]q meta l4proto != { tcp, udp, icmp } drop # has no ports\n%[3]s\t}", v.Interface, private, clamps.String())
	s.line("\tchain translate { # to the server's own slice of each egress address\n\t\ttype nat hook postrouting priority srcnat;")
	for _, own := range slicesOf(c) {
		s.line("\t\toifname %q meta l4proto { tcp, udp, icmp } snat to %s:%d-%d", v.Interface, own.addresses(), own.first, own.last)
	}
	s.line("\t}\n}\nEND\n\t;;")
}

// routes are those that replies without return routing follow.
func (s *script) routes(c *hub.Config) {
	by := map[netip.Prefix][]ident.OnRamp{}
	var order []netip.Prefix
	for _, r := range c.Routes {
		if by[r.Prefix] == nil {
			order = append(order, r.Prefix)
		}
		by[r.Prefix] = append(by[r.Prefix], r.NextHop)
	}
	for _, prefix := range order {
		text := "blackhole " + prefix.String()
		if hops := by[prefix]; hops[0] != 0 {
			text = prefix.String()
			for _, h := range hops {
				text += " nexthop " + s.into(h)
			}
		}
		s.line("\tip route add %s", text)
	}
}

// owned is a run of addresses with the same ports.
type owned struct {
	from, to    netip.Addr
	first, last int
}

func (o *owned) addresses() string {
	if o.from == o.to {
		return o.from.String()
	}
	return o.from.String() + "-" + o.to.String()
}

// slicesOf are the server's ports, neighbouring addresses joined.
func slicesOf(c *hub.Config) []owned {
	var all []owned
	for i := range c.Egress {
		a := &c.Egress[i]
		for k, owner := range a.Owner {
			if owner != c.Self || !a.Addr.Is4() {
				continue
			}
			first := k * egress.SliceSize
			if n := len(all); n > 0 && all[n-1].to.Next() == a.Addr && all[n-1].first == first {
				all[n-1].to = a.Addr
				continue
			}
			all = append(all, owned{a.Addr, a.Addr, first, first + egress.SliceSize - 1})
		}
	}
	return all
}

// edge steers replies to the server whose slice they are for: its own, or over
// the backbone to the edge of its datacenter.
func (s *script) edge(node string) {
	s.line("%s)", node)
	var rules strings.Builder
	for i := range s.p.Servers {
		v := &s.p.Servers[i]
		hop, ok := s.toward(node, v)
		if !ok {
			continue
		}
		mark := firstMark + int(v.Config.Self)
		s.line("\tby_mark %d default via %s dev %s onlink # to %s", mark, hop.Via, hop.Interface, v.Node)
		for _, own := range slicesOf(&v.Config) {
			fmt.Fprintf(&rules, "\t\tip daddr %[1]s meta l4proto { tcp, udp } th dport %[2]d-%[3]d meta mark set %[4]d\n\t\tip daddr %[1]s icmp type echo-reply icmp id %[2]d-%[3]d meta mark set %[4]d\n", own.addresses(), own.first, own.last, mark)
		}
	}
	s.line("\tnft -f - <<'END'\ntable ip homeward {\n\tchain steer { # a slice's replies to its owner\n\t\ttype filter hook prerouting priority raw;\n%s\t}\n}\nEND\n\t;;", rules.String())
}

// toward is the next hop from an edge to a server: what the kernel's route to
// its hand-over address says.
func (s *script) toward(edge string, v *plan.Server) (plan.Hop, bool) {
	i := slices.IndexFunc(s.p.Nodes, func(n plan.Node) bool { return n.ID == edge })
	for _, r := range s.p.Nodes[i].Routes {
		if r.To == netip.PrefixFrom(v.Handover, v.Handover.BitLen()) && len(r.Hops) == 1 {
			return r.Hops[0], true
		}
	}
	return plan.Hop{}, false
}
