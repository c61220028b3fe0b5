package run

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/emu/connected"
	"github.com/homeward-lab/homeward/emu/interconnect"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// acceptLimit is how long a server may take to accept a device or connector: a
// few contexts may get lost.
const acceptLimit = 5 * time.Second

// branch brings the tunnels of a router to life that need no server to accept them.
func (r *runner) branch(i int) error {
	b := r.plan.Branches[i]
	gre := b
	gre.Tunnels = nil
	for _, t := range b.Tunnels {
		if t.Connect == nil {
			gre.Tunnels = append(gre.Tunnels, t)
		}
	}
	if len(gre.Tunnels) == 0 {
		return nil
	}
	gateways := map[string]net.HardwareAddr{}
	for _, t := range gre.Tunnels {
		wan := cmp.Or(t.WAN, b.WAN)
		_, gateway, _, err := r.link(b.Node, wan)
		if err != nil {
			return err
		}
		gateways[wan] = gateway
	}
	t, err := branch.Attach(r.lab.NS(b.Node), gre, branch.Options{Gateways: gateways, IO: branchIO(r.options.IO, len(r.plan.Branches)), Programs: &r.branches})
	if err != nil {
		return err
	}
	r.onDown(t.Close)
	r.raising.Lock()
	defer r.raising.Unlock()
	r.manifest.Features["tunnel"] = t.Feature()
	return nil
}

// devices are the connected tunnels of a plan, which are not attached yet.
func devices(p *plan.Plan) []attached {
	var all []attached
	for _, b := range p.Branches {
		for _, t := range b.Tunnels {
			if t.Connect != nil {
				all = append(all, attached{node: b.Node, plan: t})
			}
		}
	}
	return all
}

// connect attaches a connected tunnel and waits until a server has taken it, so
// that no first packet of the traffic has to wait for that. Routing is at rest
// before: the server that takes it is the one that its packets go to.
func (r *runner) connect(ctx context.Context, a attached) error {
	var err error
	a.tunnel, err = connected.Attach(r.lab.NS(a.node), a.plan, connected.Options{Seed: r.plan.Seed, Timeouts: r.timers().Timeouts()})
	if err != nil {
		return err
	}
	r.onDown(a.tunnel.Close)
	a.tunnel.Watch(r.lateOf(a.node), r.start)
	r.raising.Lock()
	r.manifest.Features["connected"] = connected.Feature
	r.connected = append(r.connected, a)
	r.raising.Unlock()
	ctx, cancel := context.WithTimeout(ctx, acceptLimit)
	defer cancel()
	return a.tunnel.Ready(ctx)
}

// timers are the file's, the same on every server and behind them.
func (r *runner) timers() hub.Timers {
	if len(r.plan.Servers) == 0 {
		return hub.Timers{}
	}
	return r.plan.Servers[0].Config.Timers
}

// attached is a connected tunnel of the lab.
type attached struct {
	node   string
	plan   plan.BranchTunnel
	tunnel *connected.Tunnel
}

// edge brings the interconnects of one edge to life, and the tags at the sites'
// ends of their links.
func (r *runner) edge(node string) error {
	var own []plan.Interconnect
	for _, x := range r.plan.Interconnects {
		if x.Edge != node {
			continue
		}
		own = append(own, x)
		if x.VLAN == 0 {
			continue
		}
		if err := r.tag(x); err != nil {
			return err
		}
	}
	e, err := interconnect.Attach(r.lab.NS(node), own, r.plan.Seed)
	if err != nil {
		return err
	}
	e.Watch(r.lateOf(node), r.start)
	r.manifest.Features["interconnect"] = interconnect.Feature
	r.closers = append(r.closers, e.Close)
	return nil
}

func (r *runner) tag(x plan.Interconnect) error {
	i := slices.IndexFunc(r.plan.Links, func(l plan.Link) bool { return l.B.Node == x.Edge && l.B.Interface == x.Interface })
	if i < 0 {
		return fmt.Errorf("plan: %s has no link %s", x.Edge, x.Interface)
	}
	l := r.plan.Links[i]
	t, err := interconnect.Tag(r.lab.NS(l.A.Node), l)
	if err != nil {
		return err
	}
	t.Watch(r.lateOf(l.A.Node), r.start)
	r.closers = append(r.closers, t.Close)
	return nil
}

// edges are the nodes at which interconnects end.
func (r *runner) edges() []string {
	var all []string
	for _, x := range r.plan.Interconnects {
		if !slices.Contains(all, x.Edge) {
			all = append(all, x.Edge)
		}
	}
	return all
}

// begin tells the connected tunnels when the first traffic starts, from which
// their switches are counted, and returns when the devices among them begin
// anew, counted from start: the connections that a device has then are over
// (SEMANTICS 3.2).
func (r *runner) begin(start time.Time) map[string][]time.Duration {
	if r.first.IsZero() {
		r.first = start
		r.store.begin()
		for _, a := range r.connected {
			a.tunnel.Begin(start)
		}
	}
	breaks := map[string][]time.Duration{}
	for _, a := range r.connected {
		if a.plan.Kind != tunnel.Device {
			continue
		}
		for _, s := range a.plan.Connect.Switch {
			breaks[a.node] = append(breaks[a.node], r.first.Add(s.At).Sub(start))
		}
	}
	return breaks
}
