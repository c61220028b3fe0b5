package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// router is a branch router that chooses among its on-ramps by what its own
// pings through each of them tell (SEMANTICS 1.8).
type router struct {
	world   *world
	machine *machine
	choice  *plan.Choice
	ways    []*way
	inUse   []int // indices of ways, in order
	timer   engine.Timer
}

// way is an on-ramp as its router sees it.
type way struct {
	*plan.Way
	world   *world
	port    node.Port
	tracker *health.Tracker // nil: never down
	buf     []byte
}

// echoID marks the routers' own pings.
const echoID = 0x4357

func (w *world) router(b *plan.Branch) error {
	if b.Choice == nil {
		return nil
	}
	m := w.nodes[b.Node]
	r := &router{world: w, machine: m, choice: b.Choice}
	for i := range b.Choice.Ways {
		x := &way{Way: &b.Choice.Ways[i], world: w}
		if x.port = m.ports[x.Hop.Interface]; x.port == nil {
			return fmt.Errorf("%s: %s: no interface %q", b.Node, x.OnRamp, x.Hop.Interface)
		}
		if x.Probing != nil {
			// Spread over an interval, so that ways are not probed at the same moment.
			t := x.Probing.Timing()
			x.tracker = health.New(t, vt.Instant(int64(t.Interval)*int64(i)/int64(len(b.Choice.Ways))))
		}
		r.ways = append(r.ways, x)
	}
	r.inUse = r.usable()
	r.timer = w.engine.NewTimer(classServer, w.entity(), kindRouter, uint32(len(w.routers)))
	w.routers = append(w.routers, r)
	m.node.SetStack(r)
	return nil
}

func (r *router) arm() {
	next := vt.Never
	for _, x := range r.ways {
		if x.tracker != nil {
			next = min(next, x.tracker.NextWake())
		}
	}
	r.world.engine.Arm(r.timer, max(next, r.world.engine.Now()))
}

// wake sends the probes that are due, and chooses.
func (r *router) wake(now vt.Instant) {
	for _, x := range r.ways {
		if x.tracker != nil {
			x.tracker.Tick(now, x.ping)
		}
	}
	r.choose()
	r.arm()
}

// ping sends a probe through the way itself, whatever the routes say.
func (x *way) ping(seq uint16) {
	x.buf = pkt.AppendEcho(x.buf[:0], x.Inner, x.Peer, false, echoID, seq)
	x.port.Send(x.world.pool.Make(x.buf))
}

// Receive implements node.Stack: the answers to probes.
func (r *router) Receive(h packet.Handle, m *pkt.Meta) {
	if m.Kind != pkt.EchoReply || m.DstPort != echoID {
		r.machine.node.Answer(h, m)
		return
	}
	data := r.world.pool.Data(h)
	for _, x := range r.ways {
		if x.tracker != nil && m.Src == x.Peer {
			x.tracker.Answer(r.world.engine.Now(), m.EchoSeq(data))
		}
	}
	r.world.pool.Free(h)
	r.choose()
	r.arm()
}

// usable are the ways that the router should use, in order.
func (r *router) usable() []int {
	return health.Usable(len(r.ways), func(i int) *health.Tracker { return r.ways[i].tracker }, r.choice.Select == spec.ECMP)
}

// choose changes the route if other ways are to be used.
func (r *router) choose() {
	next := r.usable()
	if slices.Equal(next, r.inUse) {
		return
	}
	r.inUse = next
	var ports []node.Port
	var use, down []string
	for i, x := range r.ways {
		if slices.Contains(next, i) {
			ports, use = append(ports, x.port), append(use, x.OnRamp)
		}
		if x.tracker != nil && x.tracker.State() == health.Down {
			down = append(down, x.OnRamp)
		}
	}
	r.machine.node.AddRoute(r.choice.To, ports...)
	text := "sends by " + strings.Join(use, " and ")
	if len(down) > 0 {
		text += ": no answer by " + strings.Join(down, " and ")
	}
	r.world.event(record.Event{Kind: "chosen", Node: r.machine.plan.ID, OnRamp: strings.Join(use, " "), Text: text})
}
