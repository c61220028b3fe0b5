package run

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A customer's router speaks BGP with the network through its tunnel (SEMANTICS
// 2.7). Servers carry that, and whatever breaks the way breaks the session, so it is
// packets here: a TCP segment without payload is a message. Its sequence number says
// how often the router has changed what it tells, its acknowledgement how much of
// that was heard; what is not acknowledged is said again, as TCP would have it.

// bgpPort is TCP's for BGP, dialPort that of a router's first connection.
const (
	bgpPort  = 179
	dialPort = 49152
)

// again is how long after it was said an update is repeated (RFC 6298 section 2.4).
const again = time.Second

// customer is a session as a customer's router has it: it dials.
type customer struct {
	world   *world
	speaker *plan.Speaker
	session *plan.Session
	port    node.Port // the on-ramp's
	timer   engine.Timer
	up      bool
	source  uint16 // its port of this connection
	// told are the origins after each change, the first at 1; acked is the last that
	// was heard of.
	told  [][]bgp.Origin
	acked uint32
	heard vt.Instant
	spoke vt.Instant
}

// relayEnd is a session as a datacenter's edge has it.
type relayEnd struct {
	world      *world
	datacenter string
	session    *plan.Session
	customer   *customer
	node       *node.Node
	timer      engine.Timer
	up         bool
	source     uint16
	version    uint32
	heard      vt.Instant
	spoke      vt.Instant
}

// talk is a node's stack where BGP with customers ends: by the address of the other
// end.
type talk struct {
	world *world
	node  *node.Node
	next  node.Stack // nil: the node itself
	by    map[netip.Addr]func(m *pkt.Meta)
}

func (w *world) talk(n *node.Node) *talk {
	if t, ok := n.Stack().(*talk); ok {
		return t
	}
	t := &talk{world: w, node: n, next: n.Stack(), by: map[netip.Addr]func(*pkt.Meta){}}
	n.SetStack(t)
	return t
}

// Receive implements node.Stack.
func (t *talk) Receive(h packet.Handle, m *pkt.Meta) {
	hear := t.by[m.Src]
	switch {
	case hear != nil && m.Kind == pkt.TCP && (m.SrcPort == bgpPort || m.DstPort == bgpPort):
		message := *m
		t.world.pool.Free(h)
		hear(&message)
	case t.next != nil:
		t.next.Receive(h, m)
	default:
		t.node.Answer(h, m)
	}
}

// customer makes the sessions of a customer's router, established.
func (w *world) customer(s *plan.Speaker) error {
	m := w.nodes[s.Node]
	for i := range s.Sessions {
		x := &s.Sessions[i]
		c := &customer{world: w, speaker: s, session: x, port: m.ports[x.Interface], up: true, source: dialPort, acked: 1, told: [][]bgp.Origin{nil, s.Origins}}
		if c.port == nil {
			return fmt.Errorf("%s: no interface %q", s.Node, x.Interface)
		}
		c.timer = w.engine.NewTimer(classServer, w.entity(), kindCustomer, uint32(len(w.customers)))
		w.talk(m.node).by[x.Remote] = c.receive
		w.customers = append(w.customers, c)
	}
	return nil
}

// relay makes a datacenter's ends of customers' sessions, established where their
// tunnels land.
func (w *world) relay(i int) error {
	s, dc := &w.plan.Relays[i], w.plan.Datacenters[i].Name
	m := w.nodes[s.Node]
	for k := range s.Sessions {
		x := &s.Sessions[k]
		r := &relayEnd{world: w, datacenter: dc, session: x, node: m.node}
		for _, c := range w.customers {
			if c.session.OnRamp == x.OnRamp {
				r.customer = c
			}
		}
		if w.nodes[x.Node].plan.Datacenter == dc {
			r.up, r.source, r.version = true, r.customer.source, 1
		}
		r.timer = w.engine.NewTimer(classServer, w.entity(), kindRelay, uint32(len(w.relays)))
		w.talk(m.node).by[x.Remote] = r.receive
		w.relays = append(w.relays, r)
	}
	return nil
}

// keepalive is how often an end speaks that has nothing to say (RFC 4271 section
// 4.4).
func (w *world) keepalive() time.Duration { return w.plan.Hold / 3 }

// say makes a message.
func (w *world) say(from, to netip.AddrPort, flags uint8, seq, ack uint32) packet.Handle {
	return w.pool.Make(pkt.AppendSegment(nil, from, to, flags, seq, ack))
}

// version is the number of what the router tells now.
func (c *customer) version() uint32 { return uint32(len(c.told) - 1) }

// tell has the router tell these from now on.
func (c *customer) tell(origins []bgp.Origin) {
	c.told = append(c.told, origins)
	if c.up {
		c.speak(pkt.ACK)
	}
	c.arm()
}

func (c *customer) speak(flags uint8) {
	c.spoke = c.world.engine.Now()
	here, there := netip.AddrPortFrom(c.session.Local, c.source), netip.AddrPortFrom(c.session.Remote, bgpPort)
	c.port.Send(c.world.say(here, there, flags, c.version(), 0))
}

// arm waits for what is next: to speak, the hold time, or another attempt.
func (c *customer) arm() {
	next := c.spoke.Add(connectRetry)
	if c.up {
		next = min(c.spoke.Add(c.world.keepalive()), c.heard.Add(c.world.plan.Hold))
		if c.acked != c.version() {
			next = min(next, c.spoke.Add(again))
		}
	}
	c.world.engine.Arm(c.timer, max(next, c.world.engine.Now()))
}

func (c *customer) wake() {
	now := c.world.engine.Now()
	switch {
	case !c.up:
		c.source++
		c.speak(pkt.SYN)
	case now >= c.heard.Add(c.world.plan.Hold):
		c.speak(pkt.RST)
		c.end("hold timer expired")
	default:
		c.speak(pkt.ACK)
	}
	c.arm()
}

func (c *customer) end(why string) {
	c.up = false
	c.world.event(journal.BGPSession(c.speaker.Node, c.session.Node, false, why))
}

// receive takes what the network's end says.
func (c *customer) receive(m *pkt.Meta) {
	switch {
	case m.DstPort != c.source:
		return // of an earlier connection
	case m.Flags&pkt.RST != 0:
		if c.up {
			c.end("the other end closed it")
		}
		return
	case !c.up && m.Flags&pkt.SYN != 0:
		c.up, c.acked = true, 0
		c.world.event(journal.BGPSession(c.speaker.Node, c.session.Node, true, ""))
		c.heard = c.world.engine.Now()
		c.speak(pkt.ACK)
	case c.up:
		c.heard, c.acked = c.world.engine.Now(), max(c.acked, m.Ack)
	}
	c.arm()
}

func (r *relayEnd) speak(to uint16, flags uint8) {
	r.spoke = r.world.engine.Now()
	here, there := netip.AddrPortFrom(r.session.Local, bgpPort), netip.AddrPortFrom(r.session.Remote, to)
	r.node.Output(r.world.say(here, there, flags, 0, r.version))
}

func (r *relayEnd) arm() {
	if !r.up {
		r.world.engine.Stop(r.timer)
		return
	}
	next := min(r.spoke.Add(r.world.keepalive()), r.heard.Add(r.world.plan.Hold))
	r.world.engine.Arm(r.timer, max(next, r.world.engine.Now()))
}

func (r *relayEnd) wake() {
	if now := r.world.engine.Now(); now >= r.heard.Add(r.world.plan.Hold) {
		r.speak(r.source, pkt.RST)
		r.end("hold timer expired")
	} else {
		r.speak(r.source, pkt.ACK)
	}
	r.arm()
}

// end forgets all that came by the session.
func (r *relayEnd) end(why string) {
	if !r.up {
		return
	}
	r.up = false
	r.world.event(journal.BGPSession(r.node.Name(), r.session.Node, false, why))
	r.change(0)
}

// receive takes what the customer's router says.
func (r *relayEnd) receive(m *pkt.Meta) {
	switch {
	case m.Flags&pkt.SYN != 0:
		r.end("the other end connects anew")
		r.up, r.source, r.version = true, m.SrcPort, 0
		r.world.event(journal.BGPSession(r.node.Name(), r.session.Node, true, ""))
		r.heard = r.world.engine.Now()
		r.speak(r.source, pkt.SYN|pkt.ACK)
	case m.Flags&pkt.RST != 0:
		if r.source == m.SrcPort {
			r.end("the other end closed it")
		}
	case !r.up || m.SrcPort != r.source:
		r.speak(m.SrcPort, pkt.RST)
	default:
		r.heard = r.world.engine.Now()
		if m.Seq > r.version {
			r.change(m.Seq)
			r.speak(r.source, pkt.ACK)
		}
	}
	r.arm()
}

// change has the datacenter hear what the router tells by a version, and nothing
// else.
func (r *relayEnd) change(version uint32) {
	was, now := r.told(r.version), r.told(version)
	r.version = version
	differ := func(o bgp.Origin, all []bgp.Origin) bool {
		return !slices.ContainsFunc(all, func(x bgp.Origin) bool { return x.Prefix == o.Prefix })
	}
	for _, o := range was {
		if differ(o, now) {
			r.hear(o, true)
		}
	}
	for _, o := range now {
		if differ(o, was) {
			r.hear(o, false)
		}
	}
}

// told are the origins of a version that are for this session.
func (r *relayEnd) told(version uint32) []bgp.Origin {
	n := slices.IndexFunc(r.customer.speaker.Sessions, func(x plan.Session) bool { return x.OnRamp == r.session.OnRamp })
	return slices.DeleteFunc(slices.Clone(r.customer.told[version]), func(o bgp.Origin) bool { return !o.Tells(n) })
}

func (r *relayEnd) hear(o bgp.Origin, gone bool) {
	l, priority := plan.Learned{OnRamp: r.session.OnRamp, Prefix: o.Prefix}, route.BGPPriority(o.Communities, o.Prepend)
	r.world.event(journal.Told(r.world.plan, r.datacenter, l, priority, gone))
	r.world.faults.hear(r.datacenter, l, priority, gone)
}
