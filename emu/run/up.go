package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"syscall"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/capture"
	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/emu/uplink"
	"github.com/homeward-lab/homeward/emu/userns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// up brings everything up in the order in which it is needed: wires, witnesses,
// servers, branches and what is like them, origins.
func (r *runner) up(ctx context.Context) error {
	r.sweep(ctx)
	lab, err := keeper.Up(ctx, r.plan, r.sink.Progress)
	if err != nil {
		return err
	}
	r.lab = lab
	r.closers = append(r.closers, lab.Close)
	if err := r.wires(); err != nil {
		return err
	}
	edges, devices := r.edges(), devices(r.plan)
	spoken := 0
	if r.speaks() {
		spoken = 1
	}
	steps := []struct {
		stage string
		total func() int
		each  func(i int) error
		many  bool // at once
	}{
		{"uplinks", func() int { return len(r.plan.Uplinks) }, func(i int) error { return r.uplink(ctx, i) }, false},
		{"speakers", func() int { return spoken }, func(int) error { return r.speak() }, false},
		{"taps", func() int { return len(r.plan.Nodes) }, r.tap, true},
		{"servers", func() int { return len(r.plan.Servers) }, r.server, true},
		{"scripts", func() int { return len(r.scripted()) }, r.script, false},
		{"branches", func() int { return len(r.plan.Branches) }, r.branch, true},
		{"interconnects", func() int { return len(edges) }, func(i int) error { return r.edge(edges[i]) }, false},
		{"routing", func() int { return spoken }, func(int) error { return r.routed(ctx) }, false},
		{"devices", func() int { return len(devices) }, func(i int) error { return r.connect(ctx, devices[i]) }, true},
		{"attachments", func() int { return min(1, len(devices)) }, func(int) error { return r.settled(ctx) }, false},
		{"origins", func() int { return len(r.plan.Services) }, r.origin, false},
		{"programs", func() int { return len(r.plan.Programs) }, r.program, false},
	}
	if err := r.startCapture(); err != nil {
		return err
	}
	for _, s := range steps {
		total := s.total()
		tell := func(done int) { r.sink.Progress(s.stage, done, total) }
		if s.many {
			if err := r.each(ctx, total, s.each, tell); err != nil {
				return err
			}
			continue
		}
		for i := range total {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := s.each(i); err != nil {
				return err
			}
			tell(i + 1)
		}
	}
	if err := r.routers(); err != nil {
		return err
	}
	r.breakable()
	if err := r.probing(ctx); err != nil {
		return err
	}
	return r.sound(ctx)
}

// tap listens on the wire of a host that asks, for replies to anybody; of a
// device that is its tunnel.
func (r *runner) tap(i int) error {
	if r.options.Unwatched {
		return nil
	}
	node := r.plan.Nodes[i]
	iface := hostInterface
	switch node.Kind {
	case plan.KindHost:
	case plan.KindDevice:
		b, ok := r.plan.Branch(node.ID)
		if !ok || len(b.Tunnels) == 0 {
			return fmt.Errorf("plan: device %s has no tunnel", node.ID)
		}
		iface = b.Tunnels[0].Interface
	default:
		return nil
	}
	t, err := probe.Start(node.ID, r.lab.NS(node.ID), iface, len(r.plan.Nodes))
	if err != nil {
		return fmt.Errorf("tap on %s: %w", node.ID, err)
	}
	r.onDown(t.Close)
	r.raising.Lock()
	defer r.raising.Unlock()
	r.taps[node.ID] = t
	return nil
}

const (
	// hostInterface is a host's only link (topologies/plan).
	hostInterface = "eth0"
	// hubSocket is where programs inside a server connect to its hub; no other
	// node sees the name.
	hubSocket = "@homeward"
)

// server brings up a server, and the tap beside it.
func (r *runner) server(i int) error {
	s := r.plan.Servers[i]
	if r.options.Dataplane != NFTables {
		quiet := s
		unprobe(&quiet.Config)
		a, err := r.serve(i, quiet)
		if err != nil {
			return err
		}
		r.fleet.add(i, a, s.Config)
		r.store.add(known{datacenter: s.Datacenter, learn: func(news []hub.Attachment) error { return r.fleet.learn(i, news) }, id: s.Config.Self})
		r.raising.Lock()
		r.manifest.Features["io"] = string(a.Hello().IO)
		r.raising.Unlock()
	}
	if r.options.Unwatched {
		return nil
	}
	_, _, edge, err := r.link(s.Node, s.Interface)
	if err != nil {
		return err
	}
	t, err := probe.StartEgress(r.lab.NS(edge.Node), probe.EgressConfig{Interface: edge.Interface, Incoming: true, Prefixes: r.egressPrefixes(), Owned: r.fleet.owned[i].Owns})
	if err != nil {
		return fmt.Errorf("tap beside %s: %w", s.Node, err)
	}
	r.egress[i] = t
	r.onDown(t.Close)
	return nil
}

// serve starts the process of a server.
func (r *runner) serve(i int, s plan.Server) (*agent.Agent, error) {
	uplink, gateway, edge, err := r.link(s.Node, s.Interface)
	if err != nil {
		return nil, err
	}
	if r.options.IO == agent.IOXDP {
		if err := r.lab.NS(edge.Node).Do(func() error { return wire.StopOffloads(edge.Interface) }); err != nil {
			return nil, fmt.Errorf("link of %s: %w", s.Node, err)
		}
	}
	return agent.Start(r.lab.Spawn, s, agent.Options{
		Exe: r.exe(), Args: r.options.AgentArgs, Base: r.base, IO: r.options.IO, Dataplane: r.options.Dataplane.agents(), Peer: r.options.Peer,
		UplinkMAC: uplink, GatewayMAC: gateway, Socket: hubSocket, OnEvent: r.learns(i),
		Realtime: r.timed, Flows: r.carried(),
	})
}

// leastCarried is how many flows a server's kernel part has room for however few
// the plan has.
const leastCarried = 4096

// carried is the bound of flows that a server's kernel part carries; 0 means its
// default, which is as much as a lab wants that somebody else sends through: its
// owner, or programs of the user's. Of others the plan knows every flow. Four for
// each leave room for those that they need (names, probes) and for those that
// ended but have not timed out; what is more, the hub serves.
func (r *runner) carried() int {
	if r.open || len(r.plan.Programs)+len(r.plan.Uplinks) > 0 {
		return 0
	}
	return 1 << bits.Len(uint(max(4*len(r.plan.Flows), leastCarried)-1))
}

// exe is the program that serves as a child.
func (r *runner) exe() string { return cmp.Or(r.options.Exe, "/proc/self/exe") }

func (r *runner) egressPrefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, d := range r.plan.Datacenters {
		all = append(all, d.Egress...)
	}
	return all
}

// link finds the MACs at both ends of a node's link, and the other end.
func (r *runner) link(node, iface string) (own, other net.HardwareAddr, far plan.Endpoint, err error) {
	for _, l := range r.plan.Links {
		for _, e := range []struct{ at, to plan.Endpoint }{{l.A, l.B}, {l.B, l.A}} {
			if e.at.Node == node && e.at.Interface == iface {
				return e.at.MAC, e.to.MAC, e.to, nil
			}
		}
	}
	return nil, nil, plan.Endpoint{}, fmt.Errorf("plan: %s has no link %s", node, iface)
}

func (r *runner) origin(i int) error {
	s := r.plan.Services[i]
	c, err := host.Serve(context.Background(), r.lab.NS(s.Node), s, host.Options{Key: r.key, Observe: r.seen, Late: r.lateHost})
	if err != nil {
		return fmt.Errorf("serve %s on %s: %w", s.Kind, s.Node, err)
	}
	r.closers = append(r.closers, c.Close)
	return nil
}

func (r *runner) startCapture() error {
	if r.options.Capture == "" {
		return nil
	}
	c, err := capture.Start(r.lab, capture.Points(r.plan), 0)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	r.capture = c
	r.closers = append(r.closers, c.Close)
	return nil
}

// Possible says whether this machine can bring up the plan's lab; the error
// says what is missing and how to get it.
func Possible(p *plan.Plan) error {
	if err := keeper.Fits(p); err != nil {
		return err
	}
	for _, u := range p.Uplinks {
		if err := uplink.Possible(u, uplink.Options{}); err != nil {
			return err
		}
	}
	ns, err := netns.New()
	switch {
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("no room for one more open file: %w", err)
	case err != nil && userns.Inside():
		return fmt.Errorf("root of a user namespace may not make network namespaces here: %s (%w)", userns.Mend(), err)
	case err != nil:
		return fmt.Errorf("a lab needs the right to make network namespaces: run as root, for example with sudo; homeward doctor says what else is missing (%w)", err)
	}
	return ns.Close()
}

// Lacks says whether an error of Up or Run is a lack of the machine's: of rights,
// of a kernel's feature, of open files, of a host's own program, of what connects one to the outside.
func Lacks(err error) bool {
	return errors.As(err, new(*keeper.LimitError)) ||
		errors.As(err, new(*wire.LackError)) || errors.Is(err, wire.ErrNoVeth) || errors.Is(err, fs.ErrPermission) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, uplink.ErrNoNetwork) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Refused are the words of the plan that this engine cannot do. It does
// what every plan has (sites with GRE on-ramps, ARR, routes, traffic, checks),
// users' programs and uplinks; plan.Features lists what goes beyond.
func Refused(p *plan.Plan) []plan.Feature {
	return slices.DeleteFunc(slices.Clone(p.Features), func(f plan.Feature) bool { return f.Word == "run" || f.Word == "uplink" })
}
