package run

import (
	"cmp"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/connected"
	"github.com/homeward-lab/homeward/dataplane/connector"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// connection is the outer end of a connected tunnel: a port of its machine, like
// the lab's interface of that name.
type connection struct {
	world   *world
	machine *machine
	plan    *plan.BranchTunnel
	client  *connected.Client
	nat     *connector.NAT // nil: sources stay
	wan     node.Port
	// encap is the outer header; its source port is that of the beginning in use.
	encap tunnel.Encap
	timer engine.Timer
	// ready: a server has accepted it once.
	ready   bool
	waiting []packet.Handle
	mtu     int
	paths   pathmtu.Table
	meta    pkt.Meta
	count   connectionCount
}

// connectionCount is what a tunnel lost.
type connectionCount struct {
	waiting, refused, junk uint64
	nat                    [drop.Count]uint64
}

// connect makes a connected tunnel of a device or connector.
func (w *world) connect(m *machine, t *plan.BranchTunnel, wan node.Port) error {
	c := t.Connect
	var later []connected.Switch
	for i := range c.Switch {
		later = append(later, connected.Switch{At: c.Switch[i].At, Context: &c.Switch[i].Context})
	}
	client, err := connected.New(&c.Context, later...)
	if err != nil {
		return err
	}
	x := &connection{
		world: w, machine: m, plan: t, client: client, wan: wan,
		encap: tunnel.Encap{Src: t.Local, Dst: t.Remote, Proto: tunnel.ViaUDP, SrcPort: c.SourcePort(0), DstPort: c.Port},
	}
	x.SetMTU(0)
	x.timer = w.engine.NewTimer(classServer, w.entity(), kindConnected, uint32(len(w.connected)))
	w.connected = append(w.connected, x)
	m.tunnels = append(m.tunnels, x)
	m.tunnel(t, x)
	if c.NAT.IsValid() {
		timers := w.plan.Servers[0].Config.Timers
		x.nat = connector.New(connector.Config{Address: c.NAT, Seed: w.plan.Seed, Timeouts: timers.Timeouts()})
		m.node.Yield(c.NAT)
		m.node.AddRoute(netip.PrefixFrom(c.NAT, c.NAT.BitLen()), x)
	}
	return nil
}

// MTU implements node.Port.
func (x *connection) MTU() int {
	return node.PathMTU(&x.paths, x.world.engine.Now(), &x.encap, x.wan, x.mtu)
}

// SetMTU implements resizable.
func (x *connection) SetMTU(mtu int) { x.mtu = cmp.Or(mtu, x.plan.MTU) }

func (x *connection) arm() {
	wake := x.client.NextWake()
	if x.nat != nil {
		wake = min(wake, x.nat.NextWake())
	}
	x.world.engine.Arm(x.timer, max(wake, x.world.engine.Now()))
}

// wake does what is due: it begins anew, or asks again.
func (x *connection) wake(now vt.Instant) {
	was := x.client.Current()
	datagram := x.client.HandleTimer(now)
	if x.client.Current() != was {
		x.encap.SrcPort = x.plan.Connect.SourcePort(x.client.Current())
		if x.plan.Kind == tunnel.Device {
			x.world.hosts.Break(x.machine.plan.ID, "its client's tunnel began anew")
		}
	}
	if datagram != nil {
		x.wrap(x.world.pool.Make(datagram))
	}
	if x.nat != nil {
		x.nat.HandleTimer(now)
	}
	x.arm()
}

// Send implements node.Port: a packet of the machine's goes to the server, or
// waits for its answer.
func (x *connection) Send(h packet.Handle) {
	pool := &x.world.pool
	data := pool.Data(h)
	x.clamp(data)
	if x.nat != nil && !x.translated(x.nat.FromNetwork(x.world.engine.Now(), data, pkt.Offload{})) {
		pool.Free(h)
		return
	}
	switch {
	case x.client.State() == connected.Accepted:
		x.wrap(h)
		return
	case x.client.State() == connected.Refused:
		x.count.refused++
	case len(x.waiting) < connected.Waiting:
		x.waiting = append(x.waiting, h)
		return
	default:
		x.count.waiting++
	}
	pool.Free(h)
}

// wrap sends a datagram to the servers.
func (x *connection) wrap(h packet.Handle) {
	node.Wrap(&x.world.pool, h, &x.encap)
	x.wan.Send(h)
}

// Takes implements taker.
func (x *connection) Takes(h packet.Handle) bool {
	pool := &x.world.pool
	data := pool.Data(h)
	o, ok := pkt.ParseOuter(data)
	if ok && node.Learn(&x.paths, x.world.engine.Now(), &x.encap, &o, data) {
		if x.machine.stack != nil { // a device's: the tunnel's interface takes less
			x.machine.stack.Narrowed()
		}
		pool.Free(h)
		return true
	}
	if !ok || o.Proto != pkt.ProtoUDP || o.Fragment || o.Src != pkt.NumberOf(x.encap.Dst) || o.Dst != pkt.NumberOf(x.encap.Src) {
		return false
	}
	src, dst, payload, reason := tunnel.UDPPayload(x.encap.Dst, x.encap.Src, data[o.Head:o.Len], true)
	if reason != drop.None || src != x.encap.DstPort || dst != x.encap.SrcPort {
		return false
	}
	now := x.world.engine.Now()
	was := x.client.State()
	switch x.client.Receive(now, payload) {
	case connected.Deliver:
		if !tunnel.Unwrapped(pkt.ECNOf(data), payload) {
			x.machine.node.Discard(h, node.NotECT)
			return true
		}
		end := o.Head + pkt.UDPHeader + len(payload)
		pool.Keep(h, end-len(payload), end)
		if x.world.watch.Crossed != nil {
			x.world.watch.Crossed(x.machine.plan.ID, pool.Flow(h), pool.Head(h))
		}
		x.deliver(now, h)
		return true
	case connected.Answer:
		x.settle(was)
	case connected.Junk:
		x.count.junk++
	}
	pool.Free(h)
	return true
}

// deliver gives the machine a packet that came through the tunnel.
func (x *connection) deliver(now vt.Instant, h packet.Handle) {
	data := x.world.pool.Data(h)
	if x.nat != nil && !x.translated(x.nat.FromTunnel(now, data, pkt.Offload{})) {
		x.world.pool.Free(h)
		return
	}
	if x.nat != nil {
		x.arm()
	}
	x.clamp(data)
	x.machine.node.Input(h)
}

// settle follows the client into another state.
func (x *connection) settle(was connected.State) {
	is := x.client.State()
	x.arm()
	if is == was || is == connected.Asking {
		return
	}
	x.ready = x.ready || is == connected.Accepted
	waiting := x.waiting
	x.waiting = nil
	for _, h := range waiting {
		if is == connected.Accepted {
			x.wrap(h)
			continue
		}
		x.count.refused++
		x.world.pool.Free(h)
	}
}

// translated counts why a packet was not.
func (x *connection) translated(reason drop.Reason) bool {
	x.count.nat[reason]++
	return reason == drop.None
}

// clamp lowers the MSS of SYNs to what the tunnel leaves (SEMANTICS 2.10).
func (x *connection) clamp(data []byte) {
	x.meta.Parse(data)
	if x.meta.Kind != pkt.TCP || x.meta.Flags&pkt.SYN == 0 {
		return
	}
	mss := tunnel.MSS(x.MTU())
	if x.meta.Version == 6 {
		mss = tunnel.MSS6(x.MTU())
	}
	x.meta.ClampMSS(data, mss, pkt.Offload{})
}
