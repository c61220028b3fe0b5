package pathbench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Goals: times faster than the baseline or shares of it.
const (
	goalRoute  = 1.3
	goalDIY    = 3
	goalHubPPS = 0.7
)

// payload makes an Ethernet frame of 60 bytes of the inner packet.
const payload = 18

// way is one way to build a server.
type way struct {
	name string
	// dataplane and script make the server; tunnelled says that it takes GRE.
	dataplane run.Dataplane
	script    func(b *Bench, p *plan.Plan) ([]byte, error)
	tunnelled bool
	io        agent.IO
	// peer passes by the queue of the server's link.
	peer bool
	// handed has packets land at a server that hands them over to another.
	handed bool
	// attach puts something else at the uplink; may be nil.
	attach func(ifindex int, macs [12]byte) (attached, error)
	// translated says that sources become the server's.
	translated bool
	// both has packets in GRE measured too, as if it had flows.
	both bool
	// userspace says that packets cross into it: it gets no more than it can take.
	userspace bool
}

func shell(text string) func(*Bench, *plan.Plan) ([]byte, error) {
	return func(*Bench, *plan.Plan) ([]byte, error) { return []byte(text), nil }
}

const (
	routing = "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.up0.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.up0.send_redirects=0\n"
	// serverOnly is the part of a script before what edges are spared.
	serverOnly = "case $1 in *.edge) exit 0 ;; esac\n"
	masquerade = `nft -f - <<'END'
table ip bench {
	chain translate {
		type nat hook postrouting priority srcnat;
		oifname "up0" meta l4proto { tcp, udp, icmp } snat to 198.51.100.0-198.51.100.3:2048-4095
	}
}
END
`
)

// ways to build a server; the first is the baseline of most.
func ways() []way {
	return []way{
		{name: "route", dataplane: run.NFTables, script: shell(serverOnly + routing)},
		{name: "masquerade", dataplane: run.NFTables, script: shell(serverOnly + routing + masquerade), translated: true},
		{name: "diy", dataplane: run.NFTables, script: func(b *Bench, p *plan.Plan) ([]byte, error) { return b.Script(p) }, tunnelled: true, translated: true},
		{name: "hub", dataplane: run.Hub, userspace: true, tunnelled: true, translated: true},
		{name: "hub_xdp", dataplane: run.Hub, userspace: true, io: agent.IOXDP, tunnelled: true, translated: true},
		{name: "ebpf", dataplane: run.EBPF, tunnelled: true, translated: true},
		{name: "ebpf_peer", dataplane: run.EBPF, tunnelled: true, translated: true, peer: true},
		{name: "handed", dataplane: run.EBPF, tunnelled: true, translated: true, peer: true, handed: true},
		{name: "redirect", dataplane: run.NFTables, script: shell("exit 0\n"), attach: redirectBy(asm.FnRedirect)},
		{name: "redirect_peer", dataplane: run.NFTables, script: shell("exit 0\n"), attach: redirectBy(asm.FnRedirectPeer), both: true},
		{name: "helpers", dataplane: run.NFTables, script: shell("exit 0\n"), attach: attachHelpers, both: true},
		{name: "hub_io", dataplane: run.NFTables, script: shell("exit 0\n"), attach: attachEcho, both: true, userspace: true},
	}
}

// room is a way that is up: a lab in which a flow's packets are put on the
// server's link, and come back on it.
type room struct {
	way    way
	lab    *run.Lab
	edge   string // interface of the edge toward the server
	tx     *afpacket.Sender
	rx     *afpacket.Receiver
	packet []byte
	// frame is what stands before a packet on the link, index the edge's end.
	frame []byte
	index int
	// slice is its home's.
	slice int
	// sources are of what is measured: what the client sends and, of a way that
	// has flows, what comes back for it.
	sources []*source
	// thread works for what is attached to the uplink, see attached.
	thread  *atomic.Int32
	closers closers
	// each holds what a packet of each source took, ns a packet of any.
	each  [2][]float64
	ns    []float64
	equal bool
}

// packetRows are what a small packet costs through one server.
func (b *Bench) packetRows(ctx context.Context) (rows []figure.Row, err error) {
	rooms := map[string]*room{}
	lacks := map[string]string{}
	defer func() {
		for _, r := range rooms {
			err = errors.Join(err, r.closers.close())
		}
	}()
	if err := b.openWays(ctx, rooms, lacks); err != nil {
		return nil, err
	}
	for range b.Rounds {
		for _, w := range ways() {
			if r := rooms[w.name]; r != nil {
				if err := r.measure(b.Length); err != nil {
					return nil, fmt.Errorf("%s: %w", w.name, err)
				}
			}
		}
	}
	cost := func(name string) float64 {
		if r := rooms[name]; r != nil {
			return median(r.ns)
		}
		return 0
	}
	sound := func(names ...string) bool {
		for _, n := range names {
			if r := rooms[n]; r != nil && !r.equal {
				return false
			}
		}
		return true
	}
	const what = "plain kernel routing"
	diy := "do-it-yourself ARR"
	if lacks["diy"] != "" {
		diy += ": " + lacks["diy"]
	}
	add := func(id, name, baseline, base string, faster float64) {
		if cost(name) > 0 {
			rows = append(rows, figure.Cost(id, cost(name), "ns").Beside(baseline, cost(base)).Times(faster).Checked(sound(name, base)))
		}
	}
	add("dataplane.arr_vs_route", "ebpf_peer", what, "route", goalRoute)
	for i, direction := range []string{"up", "down"} {
		if arr, route := rooms["ebpf_peer"], rooms["route"]; arr != nil && route != nil {
			rows = append(rows, figure.Cost("dataplane.arr_"+direction+"_vs_route", median(arr.each[i]), "ns").Beside(what, median(route.ns)).Checked(sound("ebpf_peer", "route")))
		}
	}
	add("dataplane.arr_vs_diy", "ebpf_peer", diy, "diy", goalDIY)
	add("dataplane.arr_queued_vs_route", "ebpf", what, "route", 0)
	add("dataplane.arr_queued_vs_diy", "ebpf", diy, "diy", 0)
	add("dataplane.handover_vs_home", "handed", "the same, at home where it lands", "ebpf_peer", 0)
	add("dataplane.diy_vs_route", "diy", what, "route", 0)
	add("dataplane.masquerade_vs_route", "masquerade", what, "route", 0)
	add("dataplane.redirect_vs_route", "redirect", what, "route", 0)
	add("dataplane.redirect_peer_vs_route", "redirect_peer", what, "route", 0)
	if least := (cost("helpers") + cost("redirect_peer")) / 2; cost("helpers") > 0 && cost("route") > 0 {
		rows = append(rows, figure.Cost("dataplane.helpers_vs_route", least, "ns").Beside(what, cost("route")).Checked(sound("helpers", "redirect_peer", "route")))
	}
	add("dataplane.hub_io_vs_route", "hub_io", what, "route", 0)
	add("dataplane.hub_vs_route", "hub", what, "route", 0)
	add("dataplane.hub_xdp_vs_route", "hub_xdp", what, "route", 0)
	if cost("hub_xdp") > 0 && cost("route") > 0 {
		rows = append(rows, figure.Rate("dataplane.hub_pps_vs_route", 1e3/cost("hub_xdp"), "Mpps").Beside(what, 1e3/cost("route")).Times(goalHubPPS).Checked(sound("hub_xdp", "route")))
	}
	return rows, nil
}

// openWays brings all ways up that can be, and says of the others what lacks.
func (b *Bench) openWays(ctx context.Context, rooms map[string]*room, lacks map[string]string) error {
	for _, w := range ways() {
		r, err := b.open(ctx, w)
		switch {
		case err != nil && run.Lacks(err):
			lacks[w.name] = err.Error()
		case err != nil:
			return fmt.Errorf("%s: %w", w.name, err)
		default:
			rooms[w.name] = r
		}
	}
	return nil
}

// open brings a way up and sends one packet there and back.
func (b *Bench) open(ctx context.Context, w way) (_ *room, err error) {
	servers := 1
	if w.handed {
		servers = 2
	}
	p, err := b.Compile(servers)
	if err != nil {
		return nil, err
	}
	quiet(p)
	o := b.Lab
	o.Dataplane, o.IO, o.Unwatched, o.Peer = w.dataplane, w.io, true, w.peer
	if w.script != nil {
		if o.Script, err = w.script(b, p); err != nil {
			return nil, err
		}
	}
	if !w.tunnelled {
		withoutSites(p)
	}
	r := &room{way: w}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closers.close())
		}
	}()
	if r.lab, err = run.Up(ctx, p, &record.Memory{}, o); err != nil {
		return nil, err
	}
	r.closers = append(r.closers, r.lab.Down)
	if err := r.wire(p); err != nil {
		return nil, err
	}
	return r, r.greet()
}

// quiet has servers tell of nothing but sessions.
func quiet(p *plan.Plan) {
	for i := range p.Servers {
		p.Servers[i].Config.Trace = false
	}
}

// withoutSites leaves out branches and what is behind them, so that nothing at the
// uplink looks for tunnels.
func withoutSites(p *plan.Plan) {
	gone := map[string]bool{}
	p.Nodes = slices.DeleteFunc(p.Nodes, func(n plan.Node) bool {
		gone[n.ID] = n.Site != ""
		return gone[n.ID]
	})
	p.Links = slices.DeleteFunc(p.Links, func(l plan.Link) bool { return gone[l.A.Node] || gone[l.B.Node] })
	for i := range p.Nodes { // the transit router's route to the branch's own link
		n := &p.Nodes[i]
		n.Routes = slices.DeleteFunc(n.Routes, func(r plan.KernelRoute) bool {
			return slices.ContainsFunc(r.Hops, func(h plan.Hop) bool { return !has(p, n.ID, h.Interface) })
		})
	}
	p.Branches = nil
}

// has says whether a node has an interface.
func has(p *plan.Plan, node, iface string) bool {
	return slices.ContainsFunc(p.Links, func(l plan.Link) bool {
		return l.A.Node == node && l.A.Interface == iface || l.B.Node == node && l.B.Interface == iface
	})
}

// wire opens the edge's end of the server's link. What comes back there has
// nowhere to go on, the same in every way.
func (r *room) wire(p *plan.Plan) error {
	s, home := p.Servers[0], p.Servers[len(p.Servers)-1]
	in, back := uplink(p, s.Node), uplink(p, home.Node)
	own, other := in.B.MAC, in.A.MAC
	edge := in.B.Node
	r.edge, r.slice = back.B.Interface, home.Index
	ramp := &s.Config.OnRamps[0]
	inner := hubtest.IP{Src: hubtest.Till, Dst: target(), Payload: make([]byte, payload)}.UDP()
	for port := hubtest.Till.Port(); r.way.handed && homeOf(&s.Config, inner) != home.Config.Self; port++ {
		inner = hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), port), Dst: target(), Payload: make([]byte, payload)}.UDP()
	}
	r.packet = inner
	wrapped := hubtest.GRE(ramp.Remote, ramp.Local, ramp.Key, inner)
	if r.way.tunnelled {
		r.packet = wrapped
	}
	err := r.lab.NS(edge).Do(func() error {
		link, err := netlink.LinkByName(r.edge)
		if err != nil {
			return err
		}
		sink, err := attachSink(link.Attrs().Index)
		if err != nil {
			return err
		}
		listen, err := afpacket.Listen(link.Attrs().Index)
		if err != nil {
			return err
		}
		r.rx = afpacket.NewReceiver(listen)
		r.closers = append(r.closers, listen.Close, sink)
		first, err := netlink.LinkByName(in.B.Interface)
		if err != nil {
			return err
		}
		out, err := afpacket.Dial(first.Attrs().Index)
		if err != nil {
			return err
		}
		r.closers = append(r.closers, out.Close)
		r.tx = afpacket.NewSender(out, own, other)
		r.frame, r.index = append(append(bytes.Clone(other), own...), 8, 0), first.Attrs().Index // IPv4
		if r.way.both {
			if err := r.repeat(wrapped); err != nil {
				return err
			}
		}
		return r.repeat(r.packet)
	})
	if err != nil {
		return err
	}
	return r.attach(p, [12]byte(append(bytes.Clone(own), other...)))
}

func (r *room) attach(p *plan.Plan, macs [12]byte) error {
	for i := range p.Servers {
		if err := r.attachAt(&p.Servers[i], macs); err != nil {
			return err
		}
	}
	return nil
}

func (r *room) attachAt(s *plan.Server, macs [12]byte) error {
	return r.lab.NS(s.Node).Do(func() error {
		up, err := netlink.LinkByName(s.Interface)
		if err != nil {
			return err
		}
		if err := takeFrames(up.Attrs().Name); err != nil || r.way.attach == nil {
			return err
		}
		a, err := r.way.attach(up.Attrs().Index, macs)
		if err == nil {
			r.closers = append(r.closers, a.close)
			r.thread = a.thread
		}
		return err
	})
}

// uplink is a server's link to its edge.
func uplink(p *plan.Plan, server string) *plan.Link {
	return &p.Links[slices.IndexFunc(p.Links, func(l plan.Link) bool { return l.A.Node == server })]
}

// homeOf is whose the bucket of a packet from the site is.
func homeOf(c *hub.Config, inner []byte) ident.Server {
	var m pkt.Meta
	m.Parse(inner)
	var key flow.Key
	ramp := &c.OnRamps[0]
	key.SetForward(ramp.Tenant, c.ScopeOf(ramp), ramp.VNet, &m)
	return c.Buckets().Home(flow.Hash(c.Seed, &key))
}

// target is the remote end.
func target() netip.AddrPort { return netip.MustParseAddrPort("203.0.113.9:7") }

// greet sends the flow's first packets, there and back until the flow is what it
// will be, and looks whether what comes out is right.
func (r *room) greet() error {
	var out hubtest.View
	var reply []byte
	for range 3 {
		got, err := r.exchange(r.packet)
		if err != nil {
			return fmt.Errorf("the packet did not come out: %w", err)
		}
		out = hubtest.Decode(got)
		if !r.way.tunnelled {
			break
		}
		reply = hubtest.IP{Src: out.Dst, Dst: out.Src, Payload: make([]byte, payload)}.UDP()
		back, err := r.exchange(reply)
		if err != nil {
			return fmt.Errorf("the reply did not come out: %w", err)
		}
		if len(back) <= pkt.IPv4Header || back[9] != pkt.ProtoGRE {
			return fmt.Errorf("the reply came out as %x, want GRE", back)
		}
	}
	first := uint16(r.slice) * egress.SliceSize
	last := first + egress.SliceSize - 1
	r.equal = out.Dst == target() && (out.Src == hubtest.Till) != r.way.translated
	if r.way.translated {
		r.equal = r.equal && out.Src.Port() >= first && out.Src.Port() <= last && strings.HasPrefix(out.Src.Addr().String(), "198.51.100.")
	}
	if !r.equal {
		return fmt.Errorf("came out as %v > %v", out.Src, out.Dst)
	}
	if reply != nil {
		if err := r.repeat(reply); err != nil {
			return err
		}
	}
	return r.deafen()
}

// exchange puts a packet on the link and returns the one that comes back.
func (r *room) exchange(packet []byte) ([]byte, error) {
	r.tx.Whole(packet, pkt.Offload{}, 0)
	r.tx.Flush()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n, err := r.rx.Receive()
		if err != nil {
			return nil, err
		}
		for i := range n {
			frame, _ := r.rx.Frame(i)
			if got, ok := afpacket.Packet(frame); ok {
				return bytes.Clone(got), nil
			}
		}
	}
	return nil, errors.New("nothing within 2 s")
}

// deafen closes the socket that received: it would cost every packet a copy.
func (r *room) deafen() error { return r.closers[1]() }

// takeFrames lets an interface take XDP frames: a veth does with GRO.
func takeFrames(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const setGRO = 0x2c // ETHTOOL_SGRO
	value := struct{ command, data uint32 }{setGRO, 1}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], name)
	request.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("GRO of %s: %w", name, errno)
	}
	return nil
}
