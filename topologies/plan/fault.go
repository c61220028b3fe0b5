package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Fault is a fault of the file made definite: what exactly it happens to. What
// each does is written in spec.Fault.Do for people and in emu/fault for engines.
type Fault struct {
	spec.Fault
	// Links by id: what a fault of links is on, and what leads to a router or out
	// of a part that is cut off.
	Links []string `json:"links,omitempty"`
	// Servers and Routers by node: what stops.
	Servers []string `json:"servers,omitempty"`
	Routers []string `json:"routers,omitempty"`
	// Datacenters that withdraw Prefixes.
	Datacenters []string       `json:"datacenters,omitempty"`
	Prefixes    []netip.Prefix `json:"prefixes,omitempty"`
	// OnRamps whose two ends take a lower MTU.
	OnRamps []ident.OnRamp `json:"onramps,omitempty"`
	// Moves are what servers learn of an address that moves, in order of time.
	Moves []MoveStep `json:"moves,omitempty"`
}

// Landing is where what a transit router has for an anycast address goes.
type Landing struct {
	Node       string `json:"node"`
	Datacenter string `json:"datacenter"`
	// Hops toward the datacenter, and those of IPv6.
	Hops  []Hop `json:"hops"`
	Hops6 []Hop `json:"hops6,omitempty"`
}

// Defaults of faults.
const (
	flapPeriod = time.Second
	drainWait  = time.Second
	// serverDetection is how long after its last sign of life a datacenter takes a
	// server out, before the scale.
	serverDetection = time.Second
)

// Fault makes a fault definite, of the file or of somebody who breaks a running
// lab. The error says what was wanted of On.
func (p *Plan) Fault(f spec.Fault) (Fault, error) {
	d := Fault{Fault: f}
	var err error
	switch f.Do {
	case spec.Cut, spec.Flap, spec.Blackhole, spec.Degrade:
		err = d.onLinks(p)
	case spec.LowerMTU:
		err = d.onMTU(p)
	case spec.Partition:
		err = d.onParts(p)
	case spec.Pause, spec.Kill, spec.Restart:
		err = d.onNodes(p)
	case spec.Reassign:
		err = d.onServers(p)
	case spec.Withdraw, spec.Drain, spec.Freeze:
		err = d.onDatacenters(p)
	case spec.Move, spec.Release, spec.Allocate:
		err = d.onAddress(p)
	default:
		return Fault{}, fmt.Errorf("no fault is called %q", f.Do)
	}
	if err != nil {
		return Fault{}, err
	}
	switch f.Do {
	case spec.Flap:
		d.Every = cmp.Or(d.Every, unit.Duration(flapPeriod))
	case spec.Drain:
		d.Wait = cmp.Or(d.Wait, unit.Duration(drainWait))
	}
	return d, nil
}

// pick keeps Pick of what was selected, drawn from the seed, in its order.
func (d *Fault) pick(p *Plan, all []string) []string {
	if d.Pick <= 0 || d.Pick >= len(all) {
		return all
	}
	rank := func(s string) uint64 { return random(p.Seed, "pick", d.ID, s) }
	drawn := slices.SortedFunc(slices.Values(all), func(x, y string) int { return cmp.Compare(rank(x), rank(y)) })[:d.Pick]
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(drawn, s) })
}

func (d *Fault) onLinks(p *Plan) error {
	for _, l := range p.LinksNamed(d.On) {
		d.Links = append(d.Links, l.ID)
	}
	if d.Links == nil {
		return fmt.Errorf("%q selects no link", d.On)
	}
	d.Links = d.pick(p, d.Links)
	return nil
}

// LinksNamed are the links that a selector names: by its two ends joined by "-",
// by the node that it connects to the rest, by an on-ramp that crosses it, or by
// the datacenter that it connects to the Internet.
func (p *Plan) LinksNamed(selector string) []*Link {
	crossing := p.crossing()
	var all []*Link
	for i := range p.Links {
		l := &p.Links[i]
		if l.named(selector, crossing[l.ID]) {
			all = append(all, l)
		}
	}
	return all
}

func (l *Link) named(selector string, crossing []string) bool {
	if x, y, both := strings.Cut(selector, "-"); both {
		return spec.Matches(x, l.A.Node) && spec.Matches(y, l.B.Node) || spec.Matches(x, l.B.Node) && spec.Matches(y, l.A.Node)
	}
	switch l.Class {
	case ClassTransit, ClassBackbone:
		return false
	case ClassEdge:
		if spec.Matches(selector+".edge", l.A.Node) {
			return true
		}
	}
	return spec.Matches(selector, l.A.Node) || slices.ContainsFunc(crossing, func(o string) bool { return spec.Matches(selector, o) })
}

// crossing are the names of the on-ramps that cross each access link, by its id.
func (p *Plan) crossing() map[string][]string {
	at := map[[2]string]string{}
	for i := range p.Links {
		l := &p.Links[i]
		at[[2]string{l.A.Node, l.A.Interface}], at[[2]string{l.B.Node, l.B.Interface}] = l.ID, l.ID
	}
	all := map[string][]string{}
	for i := range p.Branches {
		b := &p.Branches[i]
		for _, t := range b.Tunnels {
			id := at[[2]string{b.Node, cmp.Or(t.WAN, b.WAN)}]
			all[id] = append(all[id], t.Name)
		}
	}
	for _, x := range p.Interconnects {
		id := at[[2]string{x.Edge, x.Interface}]
		all[id] = append(all[id], x.Name)
	}
	return all
}

// onMTU is on tunnels, whose two ends know of it, or on links, of which whoever
// sends through them is told when a packet is too big (RFC 1191).
func (d *Fault) onMTU(p *Plan) error {
	names := map[string]ident.OnRamp{}
	var order []string
	if len(p.Servers) > 0 {
		for _, o := range p.Servers[0].Config.OnRamps {
			if spec.Matches(d.On, o.Name) {
				names[o.Name] = o.ID
				order = append(order, o.Name)
				if o.Address6.IsValid() && d.MTU < minMTU6 {
					return fmt.Errorf("%s carries IPv6, which wants an MTU of %d or more", o.Name, minMTU6)
				}
			}
		}
	}
	for _, name := range d.pick(p, order) {
		d.OnRamps = append(d.OnRamps, names[name])
	}
	if d.OnRamps != nil {
		return nil
	}
	for _, l := range p.LinksNamed(d.On) {
		if err := p.lowerable(l, d.MTU); err != nil {
			return err
		}
		d.Links = append(d.Links, l.ID)
	}
	if d.Links == nil {
		return fmt.Errorf("%q selects neither an on-ramp nor a link", d.On)
	}
	d.Links = d.pick(p, d.Links)
	return nil
}

// lowerable says what keeps a link from taking an MTU: an interconnect has an
// on-ramp's two ends; and IPv6 wants its least MTU, inside tunnels too.
func (p *Plan) lowerable(l *Link, mtu int) error {
	for _, x := range p.Interconnects {
		if end := l.at(x.Edge); end != nil && end.Interface == x.Interface {
			return fmt.Errorf("link %s is an interconnect: want its on-ramp %s, whose two ends take the MTU", l.ID, x.Name)
		}
	}
	least, why := 0, ""
	six := func(a netip.Prefix) bool { return a.Addr().Is6() }
	if slices.ContainsFunc(l.A.Addresses, six) || slices.ContainsFunc(l.B.Addresses, six) {
		least, why = minMTU6, "carries IPv6"
	}
	if l.Class != ClassLAN && l.Class != ClassInternet && len(p.Servers) > 0 {
		for _, o := range p.Servers[0].Config.OnRamps {
			if o.Address6.IsValid() {
				least, why = minMTU6+tunnelRoom, "carries tunnels with IPv6 inside"
			}
		}
	}
	if mtu < least {
		return fmt.Errorf("link %s %s, which wants an MTU of %d or more", l.ID, why, least)
	}
	return nil
}

// tunnelRoom is what the largest outer header takes: IPv4, UDP and GUE with
// context.
const tunnelRoom = 28 + tunnel.GUEHeaderLen

// at is the end of a link at a node; nil if it has none there.
func (l *Link) at(node string) *Endpoint {
	switch node {
	case l.A.Node:
		return &l.A
	case l.B.Node:
		return &l.B
	}
	return nil
}

// ServersOn are the servers whose own link is among those of the given ids.
func (p *Plan) ServersOn(links []string) []ident.Server {
	var all []ident.Server
	for i := range p.Links {
		l := &p.Links[i]
		if l.Class != ClassServer || !slices.Contains(links, l.ID) {
			continue
		}
		for j := range p.Servers {
			if s := &p.Servers[j]; l.at(s.Node) != nil {
				all = append(all, s.Config.Self)
			}
		}
	}
	return all
}

// part says whether a node is of what a selector selects: itself, or its site or
// datacenter.
func (n *Node) part(selector string) bool {
	own := n.Kind == KindEdge || n.Kind == KindServer
	return spec.Matches(selector, n.ID) || n.Site != "" && spec.Matches(selector, n.Site) || own && spec.Matches(selector, n.Datacenter)
}

// onParts cuts every link between what is selected and the rest.
func (d *Fault) onParts(p *Plan) error {
	inside := map[string]bool{}
	var ids []string
	for i := range p.Nodes {
		if p.Nodes[i].part(d.On) {
			ids = append(ids, p.Nodes[i].ID)
		}
	}
	for _, id := range d.pick(p, ids) {
		inside[id] = true
	}
	for i := range p.Links {
		if l := &p.Links[i]; inside[l.A.Node] != inside[l.B.Node] {
			d.Links = append(d.Links, l.ID)
		}
	}
	switch {
	case len(inside) == 0:
		return fmt.Errorf("%q selects no node, site or datacenter", d.On)
	case d.Links == nil:
		return fmt.Errorf("%q selects everything: nothing is left to be cut off from", d.On)
	}
	return nil
}

// onNodes is on servers and routers.
func (d *Fault) onNodes(p *Plan) error {
	var ids []string
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if !spec.Matches(d.On, n.ID) {
			continue
		}
		if n.ends() {
			return fmt.Errorf("%s is a %s, want a server such as lhr.1 or a router such as shop.1.router", n.ID, n.Kind)
		}
		ids = append(ids, n.ID)
	}
	if ids == nil {
		return fmt.Errorf("%q selects neither a server such as lhr.1 nor a router such as shop.1.router", d.On)
	}
	for _, id := range d.pick(p, ids) {
		if _, server := p.Server(id); server {
			d.Servers = append(d.Servers, id)
			continue
		}
		d.Routers = append(d.Routers, id)
		for i := range p.Links {
			if l := &p.Links[i]; (l.A.Node == id || l.B.Node == id) && !slices.Contains(d.Links, l.ID) {
				d.Links = append(d.Links, l.ID)
			}
		}
	}
	return nil
}

// onServers is on servers that leave others of their datacenter.
func (d *Fault) onServers(p *Plan) error {
	var ids []string
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Kind == KindServer && spec.Matches(d.On, n.ID) {
			ids = append(ids, n.ID)
		}
	}
	if ids == nil {
		return fmt.Errorf("%q selects no server such as lhr.1", d.On)
	}
	d.Servers = d.pick(p, ids)
	for _, dc := range p.Datacenters {
		var own, left int
		for _, s := range p.Servers {
			if s.Datacenter == dc.Name {
				own++
				if !slices.Contains(d.Servers, s.Node) {
					left++
				}
			}
		}
		if own > 0 && left == 0 {
			return fmt.Errorf("%q leaves %s no server to reassign to, want one of its %d to stay", d.On, dc.Name, own)
		}
	}
	return nil
}

// onDatacenters withdraws addresses, and stops what drains.
func (d *Fault) onDatacenters(p *Plan) error {
	var names []string
	for _, dc := range p.Datacenters {
		if spec.Matches(d.On, dc.Name) {
			names = append(names, dc.Name)
		}
	}
	switch {
	case names == nil && d.Do == spec.Withdraw:
		return d.onLearned(p)
	case names == nil:
		return fmt.Errorf("%q selects no datacenter", d.On)
	}
	d.Datacenters = d.pick(p, names)
	if d.Do == spec.Freeze {
		return nil
	}
	if d.Do == spec.Drain {
		d.Prefixes = p.anycast()
		for _, s := range p.Servers {
			if slices.Contains(d.Datacenters, s.Datacenter) {
				d.Servers = append(d.Servers, s.Node)
			}
		}
		return nil
	}
	if d.Address == spec.TunnelAddress {
		d.Prefixes = []netip.Prefix{host(tunnelAddr)}
		return nil
	}
	a, err := netip.ParseAddr(d.Address)
	announced := p.announcedAs(a)
	switch {
	case err != nil || !announced.IsValid():
		return fmt.Errorf("address %s is no egress address of this network", d.Address)
	case len(p.Speakers) == 0:
		announced = host(a) // the nearest of the others takes it by itself
	}
	d.Prefixes = []netip.Prefix{announced}
	return nil
}

// anycast are the prefixes that datacenters announce.
func (p *Plan) anycast() []netip.Prefix {
	if p.Announced != nil {
		return p.Announced
	}
	all := []netip.Prefix{host(tunnelAddr)}
	for _, d := range p.Datacenters {
		all = append(all, d.Egress...)
	}
	return all
}

// faults makes the file's faults definite.
func (b *builder) faults() {
	for i, f := range b.s.Faults {
		d, err := b.p.Fault(f)
		if err != nil {
			b.fail(at("faults", i)+".on", "%v", err)
			continue
		}
		b.p.Faults = append(b.p.Faults, d)
		if f.Do != spec.Degrade {
			continue
		}
		for _, id := range d.Links {
			i := slices.IndexFunc(b.p.Links, func(l Link) bool { return l.ID == id })
			b.p.Links[i].Pumped = true
		}
	}
}

// landings are the datacenters that take ingress as every transit router sees
// them, the nearest first.
func (b *builder) landings() {
	if len(b.s.Transit) > 0 {
		return // BGP knows
	}
	for _, t := range b.towns {
		var live []*dc
		for _, d := range b.dcs {
			if !d.spec.Maintenance { // what it does not announce else is in Withheld
				live = append(live, d)
			}
		}
		slices.SortStableFunc(live, func(x, y *dc) int { return cmp.Compare(far(t, x), far(t, y)) })
		for _, d := range live {
			l := Landing{Node: t.node.ID, Datacenter: d.Name, Hops: b.hop(t.node, t.toward(d))}
			if b.six != nil {
				l.Hops6 = b.hop6(t.node, t.toward(d))
			}
			b.p.Landings = append(b.p.Landings, l)
		}
	}
}

// far is how far a datacenter is; its own town's is at no distance, also where
// no position is known.
func far(t *town, d *dc) time.Duration {
	if d.town == t {
		return 0
	}
	return delay(t.pos, d.pos) + 1
}

// toward is the next node on the way to a datacenter.
func (t *town) toward(d *dc) *node {
	if d.town != t {
		return d.town.node
	}
	return d.edge
}
