package run

import (
	"fmt"
	"iter"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/host"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Hub is what a server runs: a *hub.Hub, or something around one that looks at
// what goes in and comes out.
type Hub interface {
	HandlePacket(now vt.Instant, in *hub.Packet, out *hub.Out)
	HandleTimer(now vt.Instant, out *hub.Out)
	NextWake() vt.Instant
	Learn(now vt.Instant, all []hub.Attachment, out *hub.Out)
	Reconfigure(now vt.Instant, c hub.Config) error
	Close(now vt.Instant, out *hub.Out)
	Counters() hub.Counters
	Sessions() iter.Seq[hub.Session]
}

// Watch is what somebody wants to see of a World. Zero fields are not called.
type Watch struct {
	// Hub makes the hub of a server, numbered as in the plan; nil means hub.New.
	Hub func(server int, c hub.Config) (Hub, error)
	// Arrived is shown each packet that comes to a host's wire, before the host
	// takes it.
	Arrived func(node string, mark uint32)
	// Crossed is shown the headers of each packet that comes out of a wire, to
	// whatever node, or out of a device's or connector's tunnel.
	Crossed func(node string, mark uint32, head []byte)
}

// World is a plan in virtual time for somebody who interferes with it between
// events. Whole runs without that are Run's.
type World struct{ w *world }

// Open builds a plan's world, waits until every tunnel is accepted, and
// schedules flows and faults. Base is when traffic begins.
func Open(p *plan.Plan, o Options) (x *World, base vt.Instant, err error) {
	w, err := newWorld(p, o)
	if err != nil {
		return nil, 0, err
	}
	x = &World{w}
	w.powerOn()
	for t := w.waits(); t != nil; t = w.waits() {
		if base += vt.Instant(time.Millisecond); base > vt.Instant(acceptLimit) {
			return nil, 0, fmt.Errorf("tunnel %s: no server accepted it within %v", t.plan.Name, acceptLimit)
		}
		if err := x.Run(base); err != nil {
			return nil, 0, err
		}
	}
	w.begin(base)
	w.schedule(base, Late{})
	return x, base, w.starts(base, nil)
}

// Run handles all events until an instant, or until Halt. The error is the
// engine's.
func (x *World) Run(until vt.Instant) error { return x.w.engine.Run(x.w, until) }

// Halt has Run come back after the event that is being handled.
func (x *World) Halt() { x.w.engine.Halt() }

// Now is the instant of the last event.
func (x *World) Now() vt.Instant { return x.w.engine.Now() }

// Events is how many events there were.
func (x *World) Events() uint64 { return x.w.engine.Handled() }

// Fingerprint is that of all events.
func (x *World) Fingerprint() engine.Fingerprint { return x.w.engine.Fingerprint() }

// Mark is the mark of the packet that a hub is being given; 0 if it has none, or
// if it is not a packet.
func (x *World) Mark() uint32 { return x.w.mark }

// Astray is how many packets are neither on a wire nor wait for a tunnel: between
// events, those that somebody has lost track of.
func (x *World) Astray() int {
	n := x.w.pool.Live()
	for _, d := range x.w.wires {
		n -= d.Flying()
	}
	for _, c := range x.w.connected {
		n -= len(c.waiting)
	}
	return n
}

// Left is how many flows' clients have something to do.
func (x *World) Left() int { return x.w.hosts.Left() }

// Outcomes are those of the plan's flows, by index.
func (x *World) Outcomes() []host.Outcome { return x.w.hosts.Outcomes() }

// Restart takes a server's state away: it goes on with a new hub, which is told
// where devices and connectors are.
func (x *World) Restart(server int, c hub.Config, known []hub.Attachment) error {
	s := x.w.servers[server]
	h, err := x.w.hub(server, c)
	if err != nil {
		return err
	}
	s.hub = h
	s.learn(known)
	return nil
}

// Reconfigure gives a server another configuration.
func (x *World) Reconfigure(server int, c hub.Config) error {
	s := x.w.servers[server]
	err := s.hub.Reconfigure(x.w.engine.Now(), c)
	s.wake() // what ended is told with the next call
	return err
}

// Outside gives a server a packet, which is copied, as if it had come over a link
// that is not the network's own.
func (x *World) Outside(server int, packet []byte) {
	s := x.w.servers[server]
	s.give(x.w.pool.Make(packet), false)
}

// Cut cuts a link in both directions, or mends it.
func (x *World) Cut(link string, down bool) error {
	found := false
	for _, d := range x.w.wires {
		if d.link.ID == link {
			d.SetDown(down)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no link %q", link)
	}
	return nil
}

// Close ends the flows of all servers.
func (x *World) Close() {
	for _, s := range x.w.servers {
		_ = s.close() // which fails for a server alone that was paused by a fault
	}
}

// hub makes a server's hub.
func (w *world) hub(server int, c hub.Config) (Hub, error) {
	if w.watch.Hub != nil {
		return w.watch.Hub(server, c)
	}
	return hub.New(c)
}
