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

// Space makes the namespace of the i-th node of a plan, or of Middle, which comes after
// all nodes. It is fresh, and the thread is in it when Space returns.
type Space func(t *netns.Thread, i int) (*netns.NS, error)

// Build makes everything of the plan. On error, also that of ctx, what was made so far
// stays in the namespaces: the caller closes them. The error is ErrChanged where another
// attempt is worth it.
func Build(ctx context.Context, p *plan.Plan, space Space, progress Progress) error {
	if err := Check(p); err != nil {
		return err
	}
	if progress == nil {
		progress = func(string, int, int) {}
	}
	b := newBuilder(p, space)
	defer b.close()
	if err := b.raise(ctx, progress); err != nil {
		return err
	}
	if err := b.parameters.check(); err != nil {
		return err
	}
	b.parameters.close()
	if err := b.carriers(ctx); err != nil {
		return err
	}
	// Only now: a nexthop object needs the carrier of its link.
	return Each(ctx, len(p.Nodes), b.routes, func(done int) { progress(StageRoutes, done, len(p.Nodes)) })
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
	plan   *plan.Node
	number int // among places
	space  *netns.NS
	conn   *conn
	index  map[string]int // ifindex by interface name
	v6     bool           // something gives the node an IPv6 address
	// switch6 is the open file of the parameter that turns IPv6 off or on, written when
	// the node gets its first link; -1 without one.
	switch6  int
	grounded sync.Once
}

func newPlace(n *plan.Node, number int) *place {
	return &place{plan: n, number: number, index: make(map[string]int), switch6: -1}
}

// builder holds a plan with every interface numbered.
type builder struct {
	space      Space
	places     []*place // as the plan's nodes, then the middle of impaired links if there are any
	links      []pair   // as the plan's links, impaired ones as two halves
	tunnels    []pair
	parameters parameters
}

func newBuilder(p *plan.Plan, space Space) *builder {
	b := &builder{space: space, parameters: parameters{kinds: make(map[class]*kind)}}
	byID := make(map[string]*place, len(p.Nodes))
	for i := range p.Nodes {
		n := &p.Nodes[i]
		pl := newPlace(n, i)
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
	cut := b.middle(p)
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
	b.parameters.all.Wait()
	for _, p := range b.places {
		if p.conn != nil {
			p.conn.Close()
		}
		if p.switch6 >= 0 {
			unix.Close(p.switch6)
		}
	}
}

// node makes a node's namespace, opens its routing socket and writes its kernel
// parameters, before it has any interface to inherit others.
func (b *builder) node(t *netns.Thread, i int) (err error) {
	p := b.places[i]
	if p.space, err = b.space(t, i); err == nil {
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

// ground gives a node without links what it is to have before the first one. What else
// it is to have goes before the next messages: it is returned the first time.
func (p *place) ground() (ms []rtnl.Message, err error) {
	p.grounded.Do(func() {
		// The write that follows does not sleep until the kernel's routing lock is free:
		// it fails, and the kernel makes it again at once, on the processor that whoever
		// holds the lock may be waiting for. This sleeps.
		m := explained(ipv4(loopback, everyInterface()...), "set parameters of lo")
		if err = p.conn.Send(m); err != nil {
			return
		}
		if p.switch6 >= 0 {
			if _, e := unix.Write(p.switch6, []byte(off6(p.v6))); e != nil {
				err = fmt.Errorf("set %s: %w", disable6, e)
				return
			}
			err = unix.Close(p.switch6)
			p.switch6 = -1
		}
		ms = append(ms, explained(up(loopback), "raise lo"))
		for _, a := range p.plan.Loopback {
			ms = append(ms, explained(address(loopback, a), "address %v on lo", a))
		}
	})
	return ms, err
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
	forA, err := w.a.node.ground()
	if err != nil {
		return w.explain(err)
	}
	forB, err := w.b.node.ground()
	if err != nil {
		return w.explain(err)
	}
	w.a.up = w.a.plain()
	err = w.a.dress(t, w.b.end, append(forA, veth(w.a.end, w.b.end, w.b.node.space.Fd()))...)
	if err == nil {
		err = w.b.dress(t, w.a.end, forB...)
	}
	return w.explain(err)
}

// carriers waits until all links carry packets. The kernel makes the end that was raised
// first ready in the background, meanwhile others are made; the other one it makes ready as
// it raises it.
func (b *builder) carriers(ctx context.Context) error {
	return Each(ctx, len(b.links)+len(b.tunnels), func(_ *netns.Thread, i int) error {
		w := b.of(i)
		if err := w.a.node.conn.ready(w.a.index); err != nil {
			return w.explain(fmt.Errorf("%s: %w", w.a.name, err))
		}
		return w.explain(errors.Join(w.a.settle(), w.b.settle()))
	}, func(int) {})
}

// settle waits until the end's IPv6 addresses are in use.
func (s *side) settle() error {
	for _, a := range s.addresses {
		if !a.Addr().Is6() {
			continue
		}
		if err := s.node.conn.addressed(s.index, a); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// plain is an end to which nothing is to be done before it is raised.
func (s *side) plain() bool {
	return !s.node.v6 && !s.whole && s.shape.Rate == 0 && !s.own && !s.deaf
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
		add(ipv4(s.index, value{acceptLocal, 1}), "accept the node's own addresses on")
	}
	if s.deaf {
		add(ipv4(s.index, value{forwarding, 0}), "stop forwarding on")
	}
	if s.deaf && s.node.v6 {
		if err := now(s.deafen6); err != nil {
			return fmt.Errorf("stop forwarding on %s: %w", s.name, err)
		}
	}
	for _, a := range s.addresses {
		add(address(s.index, a), "address %v on", a)
	}
	if !s.up {
		add(up(s.index), "raise")
	}
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

// routes finishes the i-th node. Its loopback addresses are there: routes may prefer them
// as sources.
func (b *builder) routes(t *netns.Thread, i int) error {
	p := b.places[i]
	if err := p.finish(t); err != nil {
		return fmt.Errorf("node %s: %w", p.plan.ID, err)
	}
	return nil
}

func (p *place) finish(t *netns.Thread) error {
	ms, err := p.ground()
	if err != nil {
		return err
	}
	r := router{index: p.index, hops: make(map[hop]uint32), messages: ms}
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
