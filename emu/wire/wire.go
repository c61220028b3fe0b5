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
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netns"
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
		do    func(i int) error
	}{
		{StageNodes, len(b.places), b.node},
		{StageLinks, len(b.links) + len(b.tunnels), b.pair},
		// Only now: a nexthop object needs the carrier of its link.
		{StageRoutes, len(p.Nodes), b.routes},
	}
	for _, s := range stages {
		tell := func(done int) {
			if progress != nil {
				progress(s.name, done, s.total)
			}
		}
		if err := Each(ctx, s.total, s.do, tell); err != nil {
			return err
		}
	}
	return nil
}

// Each runs do(0) … do(n-1) on as many workers as are of use to the kernel,
// until one fails or ctx ends, and tells how many are done, one call at a time.
func Each(ctx context.Context, n int, do func(i int) error, tell func(done int)) error {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next, done := 0, 0
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	for range min(workers, n) {
		g.Go(func() error {
			for i := take(); i < n; i = take() {
				if err := context.Cause(ctx); err != nil {
					return context.Cause(ctx)
				}
				if err := do(i); err != nil {
					return err
				}
				mu.Lock()
				done++
				tell(done)
				mu.Unlock()
			}
			return nil
		})
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
	places  []*place // as the plan's nodes, then the middle of impaired links if there are any
	links   []pair   // as the plan's links, impaired ones as two halves
	tunnels []pair
	turn    sync.Mutex // held by the worker that wants the kernel's routing lock
}

func newBuilder(p *plan.Plan, space func(node string) *netns.NS) *builder {
	b := &builder{}
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
	for _, p := range b.places {
		if p.conn != nil {
			p.conn.close()
		}
	}
}

// node writes a node's kernel parameters, before it has any interface to
// inherit others, and opens its routing socket.
func (b *builder) node(i int) error {
	p := b.places[i]
	err := p.space.Do(func() error {
		var err error
		if p.conn, err = dial(); err != nil {
			return err
		}
		return applyInTurn(settings(p.plan, p.v6), func(write func() error) error {
			b.turn.Lock()
			defer b.turn.Unlock()
			// A question that the kernel answers under its routing lock sleeps as long as
			// somebody else has that.
			if _, err := p.conn.ask(unix.RTM_GETLINK, 0, ifinfo(loopback)); err != nil {
				return err
			}
			return write()
		})
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", p.plan.ID, err)
	}
	return nil
}

// pair makes the i-th veth, links first, and dresses both ends.
func (b *builder) pair(i int) error {
	var w *pair
	if i < len(b.links) {
		w = &b.links[i]
	} else {
		w = &b.tunnels[i-len(b.links)]
	}
	if err := w.make(); err != nil {
		return fmt.Errorf("%s (%s/%s – %s/%s): %w", w.what,
			w.a.node.plan.ID, w.a.name, w.b.node.plan.ID, w.b.name, err)
	}
	return nil
}

func (w *pair) make() error {
	if err := w.a.node.conn.veth(w.a.end, w.b.end, w.b.node.space.Fd()); err != nil {
		return vethError(err)
	}
	if err := w.a.dress(w.b.end); err != nil {
		return err
	}
	if err := w.b.dress(w.a.end); err != nil {
		return err
	}
	if err := w.a.node.conn.ready(w.a.index); err != nil {
		return fmt.Errorf("%s: %w", w.a.name, err)
	}
	if err := w.b.node.conn.ready(w.b.index); err != nil {
		return fmt.Errorf("%s: %w", w.b.name, err)
	}
	return errors.Join(w.a.settle(), w.b.settle())
}

// settle waits until the end's IPv6 addresses are in use.
func (s *side) settle() error {
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
// behind the other end.
func (s *side) dress(other end) error {
	c := s.node.conn
	if s.node.v6 {
		if err := c.quiet(s.index); err != nil {
			return fmt.Errorf("quieten %s: %w", s.name, err)
		}
	}
	if s.whole {
		if err := s.node.space.Do(func() error { return StopOffloads(s.name) }); err != nil {
			return fmt.Errorf("whole packets on %s: %w", s.name, err)
		}
	}
	if s.shape.Rate > 0 {
		if err := c.shape(s.index, s.shape); err != nil {
			return fmt.Errorf("rate %v on %s: %w", s.shape.Rate, s.name, err)
		}
	}
	if s.own {
		if err := c.ipv4(s.index, acceptLocal, 1); err != nil {
			return fmt.Errorf("accept the node's own addresses on %s: %w", s.name, err)
		}
	}
	if s.deaf {
		if err := s.deafen(); err != nil {
			return fmt.Errorf("stop forwarding on %s: %w", s.name, err)
		}
	}
	for _, a := range s.addresses {
		if err := c.address(s.index, a); err != nil {
			return fmt.Errorf("address %v on %s: %w", a, s.name, err)
		}
	}
	if err := c.up(s.index); err != nil {
		return fmt.Errorf("raise %s: %w", s.name, err)
	}
	mac := other.mac
	if s.neighborMAC != nil {
		mac = s.neighborMAC
	}
	for _, a := range s.neighbors {
		if err := c.neighbor(s.index, a, mac); err != nil {
			return fmt.Errorf("neighbour %v (%v) on %s: %w", a, mac, s.name, err)
		}
	}
	return nil
}

// deafen has the kernel take and forward nothing that arrives. IPv6 forwards by
// one setting for all links: this link has none of it.
func (s *side) deafen() error {
	if err := s.node.conn.ipv4(s.index, forwarding, 0); err != nil || !s.node.v6 {
		return err
	}
	off := []setting{{"net.ipv6.conf." + s.name + ".disable_ipv6", "1", false}}
	return s.node.space.Do(func() error { return apply(off) })
}

// routes finishes the i-th node: loopback, then routes, whose preferred
// sources may be loopback addresses.
func (b *builder) routes(i int) error {
	p := b.places[i]
	if err := p.finish(); err != nil {
		return fmt.Errorf("node %s: %w", p.plan.ID, err)
	}
	return nil
}

func (p *place) finish() error {
	if err := p.conn.up(loopback); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	for _, a := range p.plan.Loopback {
		if err := p.conn.address(loopback, a); err != nil {
			return fmt.Errorf("address %v on lo: %w", a, err)
		}
	}
	if p.v6 && p.plan.Forward {
		if err := p.space.Do(func() error { return apply(forward6) }); err != nil {
			return err
		}
	}
	r := router{conn: p.conn, index: p.index, hops: make(map[hop]uint32)}
	for _, k := range p.plan.Routes {
		if k.Learned {
			continue // its speaker brings it
		}
		if err := r.route(k); err != nil {
			return err
		}
	}
	return nil
}
