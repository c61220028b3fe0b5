package run

import (
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// server drives a hub, unmodified, with packets and timers in virtual time.
type server struct {
	world  *world
	plan   *plan.Server
	hub    *hub.Hub
	uplink node.Port
	timer  engine.Timer
	out    hub.Out
	// events hears what the hub says.
	events func(node string, e *hub.Event)
}

func (w *world) server(p *plan.Server) error {
	h, err := hub.New(p.Config)
	if err != nil {
		return fmt.Errorf("server %s: %w", p.Node, err)
	}
	m := w.nodes[p.Node]
	s := &server{world: w, plan: p, hub: h, uplink: m.ports[p.Interface]}
	s.timer = w.engine.NewTimer(classServer, w.entity(), kindServer, uint32(len(w.servers)))
	m.server = s
	w.servers = append(w.servers, s)
	return nil
}

// receive gives a packet to the hub.
func (s *server) receive(h packet.Handle) {
	pool := &s.world.pool
	mark := pool.Flow(h)
	s.hub.HandlePacket(s.world.engine.Now(), &hub.Packet{Data: pool.Data(h), Internal: true}, &s.out)
	s.deliver(mark)
	pool.Free(h)
}

// wake lets the hub's timers run.
func (s *server) wake() {
	s.hub.HandleTimer(s.world.engine.Now(), &s.out)
	s.deliver(0)
}

// deliver does what the hub decided. What it sends is marked as what it came
// from.
func (s *server) deliver(mark uint32) {
	pool := &s.world.pool
	for i := range s.out.Send {
		x := &s.out.Send[i]
		h, buf := pool.New(x.Encap.Overhead() + len(x.Data))
		x.Encap.Append(buf[:0], x.Data)
		pool.Mark(h, mark)
		s.uplink.Send(h)
	}
	if s.events != nil {
		for i := range s.out.Events {
			s.events(s.plan.Node, &s.out.Events[i])
		}
	}
	s.out.Reset()
	s.world.engine.Arm(s.timer, s.hub.NextWake())
}

// close ends the hub's flows.
func (s *server) close() {
	s.hub.Close(s.world.engine.Now(), &s.out)
	s.deliver(0)
}
