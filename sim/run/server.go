package run

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// server drives a hub, unmodified, with packets and timers in virtual time.
type server struct {
	world  *world
	plan   *plan.Server
	entity engine.Entity
	node   *node.Node
	hub    Hub
	uplink node.Port
	timer  engine.Timer
	in     hub.Packet // scratch
	out    hub.Out
	// owned says whether the server may use a port; outside are the packets that
	// left with one that it may not (SU-3).
	owned        *journal.Slices
	checked      int64
	outside      int64
	firstOutside netip.AddrPort
	meta         pkt.Meta

	index int
	is    condition
	// config is in force, or will be when the server runs again; lives counts how
	// often it began.
	config hub.Config
	lives  uint64
	// waiting and news are what a server that stands still has not taken yet.
	waiting []held
	news    []hub.Attachment
	// missed is the fault that took its signs of life; detection goes off when its
	// datacenter notices.
	missed    *breakage
	detection engine.Timer
	// past are the totals of lives that ended in order.
	past map[string]int64
}

func (w *world) server(p *plan.Server) error {
	h, err := w.hub(len(w.servers), p.Config)
	if err != nil {
		return fmt.Errorf("server %s: %w", p.Node, err)
	}
	m := w.nodes[p.Node]
	if m == nil || m.ports[p.Interface] == nil {
		return fmt.Errorf("server %s: no interface %q", p.Node, p.Interface)
	}
	s := &server{world: w, plan: p, entity: w.entity(), node: m.node, hub: h, uplink: m.ports[p.Interface], owned: journal.NewSlices(&p.Config), index: len(w.servers), config: p.Config, lives: 1, past: map[string]int64{}}
	s.timer = w.engine.NewTimer(classServer, s.entity, kindServer, uint32(len(w.servers)))
	s.detection = w.engine.NewTimer(classServer, s.entity, kindMissed, uint32(s.index))
	m.server = s
	w.servers = append(w.servers, s)
	return nil
}

// arm sets the timer to what the hub waits for.
func (s *server) arm() {
	s.world.engine.Arm(s.timer, max(s.hub.NextWake(), s.world.engine.Now()))
}

// receive gives a packet to the hub: it came by the edge, which lets nothing pass
// for the network's own that is not.
func (s *server) receive(h packet.Handle) { s.give(h, true) }

func (s *server) give(h packet.Handle, internal bool) {
	if s.away(h, internal) {
		return
	}
	pool := &s.world.pool
	mark := pool.Flow(h)
	s.world.mark = mark
	s.in = hub.Packet{Data: pool.Data(h), Internal: internal}
	s.hub.HandlePacket(s.world.engine.Now(), &s.in, &s.out)
	s.world.mark = 0
	s.deliver(h, mark)
}

// wake lets the hub's timers run.
func (s *server) wake() {
	if s.is != running {
		return
	}
	s.hub.HandleTimer(s.world.engine.Now(), &s.out)
	s.deliver(0, 0)
}

// learn lets the hub know where something is.
func (s *server) learn(news []hub.Attachment) {
	switch s.is {
	case paused:
		s.news = append(s.news, news...)
		return
	case stopped, killed:
		return
	}
	s.hub.Learn(s.world.engine.Now(), news, &s.out)
	s.deliver(0, 0)
}

// deliver does what the hub decided. What it sends is marked as what it came
// from, the packet h, which is taken over; 0 if it came from none.
func (s *server) deliver(h packet.Handle, mark uint32) {
	pool := &s.world.pool
	for i := range s.out.Send {
		x := &s.out.Send[i]
		bare := x.Encap.IsZero()
		if bare {
			s.check(x.Data)
		}
		if bare && len(x.Data) > s.uplink.MTU() {
			s.node.Cut(x.Data, s.uplink, mark)
			continue
		}
		out := packet.Handle(0)
		if from, ok := within(s.in.Data, x.Data); ok && h != 0 && i == len(s.out.Send)-1 {
			pool.Keep(h, from, from+len(x.Data))
			out, h = h, 0
		} else {
			out = pool.Make(x.Data)
			pool.Mark(out, mark)
		}
		if !bare {
			node.Wrap(pool, out, &x.Encap)
		}
		s.uplink.Send(out)
	}
	if h != 0 {
		pool.Free(h)
	}
	for i := range s.out.Events {
		e := &s.out.Events[i]
		if a, ok := e.Attachment(s.plan.Config.Self); ok {
			s.world.store.tell(s.world, a, s.plan.Config.Self)
		}
		if s.world.journal != nil {
			s.world.journal.Hub(s.plan.Node, e)
		}
	}
	s.out.Reset()
	s.arm()
}

// within says where in a packet that it was given the hub's answer lies, if it
// does: it is sent without a copy then.
func within(in, out []byte) (from int, ok bool) {
	from = cap(in) - cap(out)
	ok = len(out) > 0 && from >= 0 && from+len(out) <= len(in) && &in[from] == &out[0]
	return from, ok
}

// check looks at the source port of a packet that leaves for the Internet, as the
// lab's tap beside a server does: of TCP, UDP and echo requests, of fragments the
// first.
func (s *server) check(data []byte) {
	m := &s.meta
	m.Parse(data)
	switch m.Kind {
	case pkt.TCP, pkt.UDP, pkt.EchoRequest:
	default:
		return
	}
	s.checked++
	from := netip.AddrPortFrom(m.Src, m.SrcPort)
	if s.owned.Owns(from, m.Dst, time.Time{}) {
		return
	}
	if s.outside++; s.outside == 1 {
		s.firstOutside = from
	}
}

// close ends the hub's flows, and counts what it counted.
func (s *server) close() error {
	var err error
	switch s.is {
	case paused:
		err = s.revive()
	case stopped, killed:
		return nil
	}
	s.hub.Close(s.world.engine.Now(), &s.out)
	s.deliver(0, 0)
	s.is = stopped
	s.world.engine.Stop(s.timer)
	c := s.hub.Counters()
	for name, n := range journal.Counters(c) {
		s.past[name] += n
	}
	for _, r := range drop.Reasons() {
		if n := c.Drops[r]; n != 0 {
			s.past[journal.CounterOfDrop(r.String())] += int64(n)
		}
	}
	return err
}
