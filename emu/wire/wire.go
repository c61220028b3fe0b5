// Package wire builds what a plan says inside namespaces that exist: kernel
// parameters, veth pairs, addresses, permanent neighbours, routes, and the
// branches' tunnel devices.
//
// It owns no namespace (emu/keeper does), attaches no program to anything
// (emu/branch and emu/agent do) and delays no packet: a link that is to do more
// than a plain wire is cut in two halves, whose inner ends meet in a namespace of
// their own (Middle), and emu/pump carries packets between them.
//
// The law: nothing is ever made in the namespace of the caller. Each veth end
// is born in its own namespace, so that there is no name to clash with, no
// moment at which an interface could be left behind, and no slow move.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/rtnl"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// workers build at the same time. The kernel's routing lock admits one change
// at a time, so that a third would only wait.
const workers = 2

// Stages that Build reports.
const (
	StageNodes  = "nodes"
	StageLinks  = "links"
	StageRoutes = "routes"
)

// Progress is told how far a stage is. It is not called concurrently.
type Progress func(stage string, done, total int)

// Build makes everything of the plan in the namespaces that space returns for
// each node id. The namespaces are fresh. On error, also that of ctx, what was
// made so far stays in them: the caller closes them.
func Build(ctx context.Context, p *plan.Plan, space func(node string) *netns.NS, progress Progress) error {
	if err := Check(p); err != nil {
		return err
	}
	b := newBuilder(p, space)
	defer b.close()
	stages := []struct {
		name  string
		total int
		do    func(t *netns.Thread, i int) error
		then  func(ctx context.Context) error // nil: nothing
	}{
		{StageNodes, len(b.places), b.node, b.parameters.check},
		{StageLinks, len(b.links) + len(b.tunnels), b.pair, b.carriers},
		// Only now: a nexthop object needs the carrier of its link.
		{StageRoutes, len(p.Nodes), b.routes, nil},
	}
	for _, s := range stages {
		tell := func(done int) {
			if progress != nil {
				progress(s.name, done, s.total)
			}
		}
		err := Each(ctx, s.total, s.do, tell)
		if err == nil && s.then != nil {
			err = s.then(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Each runs do(0) … do(n-1) on as many threads as are of use to the kernel,
// until one fails or ctx ends, and tells how many are done, one call at a time.
// What a thread is in when do begins is what it was left in.
func Each(ctx context.Context, n int, do func(t *netns.Thread, i int) error, tell func(done int)) error {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next, done := 0, 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	work := func(t *netns.Thread) error {
		for i := take(); i < n; i = take() {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := do(t, i); err != nil {
				return err
			}
			mu.Lock()
			done++
			tell(done)
			mu.Unlock()
		}
		return nil
	}
	for range min(workers, n) {
		g.Go(func() error { return netns.Tour(work) })
	}
	return g.Wait()
}

// side is one end of a pair together with what lives on it.
type side struct {
	end
	node      *place
	addresses []netip.Prefix
	neighbors []netip.Addr
	// neighborMAC is what neighbors resolve to; nil means the other end's.
	neighborMAC net.HardwareAddr
	// whole lets out only what a wire would carry: no superpackets, no
	// checksums left to fill in.
	whole bool
	// shape is the rate of what the end sends, and its queue; 0 is none.
	shape impair.Config
	// own lets in packets that come from an address of the node itself: a tunnel's
	// probe of type reply is one, and is to be forwarded back (SEMANTICS 2.8).
	own bool
	// deaf keeps the kernel from routing what arrives: it sees each packet that a
	// program takes from there, and would send it once more.
	deaf bool
}

// pair is a veth to be made.
type pair struct {
	what string // for errors: "link shop.1.router-transit.lhr"
	a, b side
}

// place is a node and its namespace.
type place struct {
	plan  *plan.Node
	space *netns.NS
	conn  *conn
	index map[string]int // ifindex by interface name
	v6    bool           // something gives the node an IPv6 address
}

// builder holds a plan with every interface numbered.
type builder struct {
	places     []*place // as the plan's nodes, then the middle of impaired links if there are any
	links      []pair   // as the plan's links, impaired ones as two halves
	tunnels    []pair
	parameters parameters
}

func newBuilder(p *plan.Plan, space func(node string) *netns.NS) *builder {
	b := &builder{parameters: parameters{kinds: make(map[string]*kind)}}
	byID := make(map[string]*place, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		pl := &place{plan: n, space: space(n.ID), index: make(map[string]int)}
		pl.sees(n.Loopback)
		byID[n.ID] = pl
		b.places = append(b.places, pl)
	}
	numbers := make(map[*place]int)
	number := func(s *side) {
		if numbers[s.node] == 0 {
			numbers[s.node] = loopback
		}
		numbers[s.node]++
		s.end.index = numbers[s.node]
		s.node.index[s.name] = s.end.index
		s.node.sees(s.addresses)
	}
	of := func(e *plan.Endpoint, mtu int) side {
		return side{
			end:       end{name: e.Interface, mac: e.MAC, mtu: mtu},
			node:      byID[e.Node],
			addresses: e.Addresses,
			neighbors: e.Neighbors, neighborMAC: e.NeighborMAC,
		}
	}
	cut := b.middle(p, space)
	for i := range p.Links {
		l := &p.Links[i]
		w := pair{what: "link " + l.ID, a: of(&l.A, l.MTU), b: of(&l.B, l.MTU)}
		w.a.shape, w.b.shape = l.Bucket(impair.AB), l.Bucket(impair.BA)
		if l.VLAN != 0 {
			inside := w.tag(l)
			number(&inside.a)
			number(&inside.b)
			b.tunnels = append(b.tunnels, inside)
		}
		for _, part := range cut(l, w) {
			number(&part.a)
			number(&part.b)
			b.links = append(b.links, part)
		}
	}
	for i := range p.Branches {
		for j := range p.Branches[i].Tunnels {
			w := tunnel(byID[p.Branches[i].Node], &p.Branches[i].Tunnels[j])
			number(&w.a)
			number(&w.b)
			b.tunnels = append(b.tunnels, w)
		}
	}
	return b
}

// sees notes whether the node has anything to do with IPv6.
func (p *place) sees(addresses []netip.Prefix) {
	for _, a := range addresses {
		p.v6 = p.v6 || a.Addr().Is6()
	}
}

func (b *builder) close() {
	b.parameters.close()
	for _, p := range b.places {
		if p.conn != nil {
			p.conn.Close()
		}
	}
}

// node opens a node's routing socket and writes its kernel parameters, before it
// has any interface to inherit others.
func (b *builder) node(t *netns.Thread, i int) error {
	p := b.places[i]
	err := t.Enter(p.space)
	if err == nil {
		p.conn, err = dial()
	}
	if err == nil {
		err = b.parameters.write(p)
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", p.plan.ID, err)
	}
	return nil
}

// of is the i-th pair, links first.
func (b *builder) of(i int) *pair {
	if i < len(b.links) {
		return &b.links[i]
	}
	return &b.tunnels[i-len(b.links)]
}

func (w *pair) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s (%s/%s – %s/%s): %w", w.what, w.a.node.plan.ID, w.a.name, w.b.node.plan.ID, w.b.name, err)
}

// pair makes the i-th veth and dresses both ends.
func (b *builder) pair(t *netns.Thread, i int) error {
	w := b.of(i)
	err := w.a.dress(t, w.b.end, veth(w.a.end, w.b.end, w.b.node.space.Fd()))
	if err == nil {
		err = w.b.dress(t, w.a.end)
	}
	return w.explain(err)
}

// carriers waits until all links carry packets. The kernel makes them ready in
// the background, meanwhile others are made.
func (b *builder) carriers(ctx context.Context) error {
	return Each(ctx, len(b.links)+len(b.tunnels), func(_ *netns.Thread, i int) error {
		w := b.of(i)
		return w.explain(errors.Join(w.a.settle(), w.b.settle()))
	}, func(int) {})
}

// settle waits until the end's carrier is there and its IPv6 addresses are in use.
func (s *side) settle() error {
	if err := s.node.conn.ready(s.index); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	for _, a := range s.addresses {
		if !a.Addr().Is6() {
			continue
		}
		if err := s.node.conn.addressed(a.Addr()); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// dress gives an end its addresses, raises it, and tells it for good who is
// behind the other end, all in one system call with what is to be done before.
// Only what rtnetlink has no message for takes one of its own.
func (s *side) dress(t *netns.Thread, other end, before ...rtnl.Message) error {
	ms := before
	add := func(m rtnl.Message, format string, args ...any) {
		ms = append(ms, explained(m, format+" "+s.name, args...))
	}
	// now has the kernel do all of that, and then does f in the namespace.
	now := func(f func() error) error {
		err := s.node.conn.Send(ms...)
		ms = nil
		if err == nil {
			err = t.Enter(s.node.space)
		}
		if err != nil {
			return err
		}
		return f()
	}
	if s.node.v6 {
		add(quiet(s.index), "quieten")
	}
	if s.whole {
		if err := now(func() error { return StopOffloads(s.name) }); err != nil {
			return fmt.Errorf("whole packets on %s: %w", s.name, err)
		}
	}
	if s.shape.Rate > 0 {
		add(shape(s.index, s.shape), "rate %v on", s.shape.Rate)
	}
	if s.own {
		add(ipv4(s.index, acceptLocal, 1), "accept the node's own addresses on")
	}
	if s.deaf {
		add(ipv4(s.index, forwarding, 0), "stop forwarding on")
	}
	if s.deaf && s.node.v6 {
		if err := now(s.deafen6); err != nil {
			return fmt.Errorf("stop forwarding on %s: %w", s.name, err)
		}
	}
	for _, a := range s.addresses {
		add(address(s.index, a), "address %v on", a)
	}
	add(up(s.index), "raise")
	mac := other.mac
	if s.neighborMAC != nil {
		mac = s.neighborMAC
	}
	for _, a := range s.neighbors {
		add(neighbor(s.index, a, mac), "neighbour %v (%v) on", a, mac)
	}
	return s.node.conn.Send(ms...)
}

// deafen6 takes IPv6 from the link: it forwards by one setting for all links.
func (s *side) deafen6() error {
	return apply([]setting{{key: "net.ipv6.conf." + s.name + ".disable_ipv6", value: "1"}})
}

// routes finishes the i-th node: loopback, then routes, whose preferred
// sources may be loopback addresses.
func (b *builder) routes(t *netns.Thread, i int) error {
	p := b.places[i]
	if err := p.finish(t); err != nil {
		return fmt.Errorf("node %s: %w", p.plan.ID, err)
	}
	return nil
}

func (p *place) finish(t *netns.Thread) error {
	r := router{index: p.index, hops: make(map[hop]uint32)}
	r.add(up(loopback), "raise lo")
	for _, a := range p.plan.Loopback {
		r.add(address(loopback, a), "address %v on lo", a)
	}
	if p.v6 && p.plan.Forward {
		err := errors.Join(p.conn.Send(r.messages...), t.Enter(p.space))
		if err == nil {
			err = apply(forward6)
		}
		if err != nil {
			return err
		}
		r.messages = nil
	}
	for _, k := range p.plan.Routes {
		if k.Learned {
			continue // its speaker brings it
		}
		if err := r.route(k); err != nil {
			return err
		}
	}
	return p.conn.Send(r.messages...)
}
