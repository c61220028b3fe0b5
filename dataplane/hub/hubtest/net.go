package hubtest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Addresses of the network in memory.
var (
	Tunnel  = netip.MustParseAddr("192.0.2.1")
	Tunnel6 = netip.MustParseAddr("2001:db8:2::1")
	// Unconnected is where the edge sends the packets of interconnects, Edge the
	// address that it sends them from.
	Unconnected = netip.MustParseAddr("192.0.2.2")
	Edge        = netip.MustParseAddr("172.31.255.1")
	Web         = netip.MustParseAddrPort("203.0.113.9:443")
	Till        = netip.MustParseAddrPort("10.0.1.5:40000")
	// LAN is what every site calls its own.
	LAN = netip.MustParsePrefix("10.0.1.0/24")
)

// Options shape a network. Zero fields: 2 datacenters of 2 servers with 1
// egress address of IPv4 each, and 2 sites with tunnels over IPv4. Every server
// has an egress address of IPv6 besides.
type Options struct {
	Datacenters, Servers, Addresses, Sites int
	// ARR says which sites have it, by number from 1; nil means none.
	ARR func(site int) bool
	// Routes lists the sites that have a route for LAN at equal priority.
	Routes []int
	// Outer6 runs the tunnels over IPv6.
	Outer6 bool
	// Devices are client devices, on-ramps FirstDevice and up; Connectors are
	// private networks, on-ramps FirstConnector and up, each of Private behind a
	// virtual network of its own from the default on; Interconnects are sites
	// without a tunnel, on-ramps FirstInterconnect and up.
	Devices, Connectors, Interconnects int
	// Translate is that of connectors.
	Translate bool
	// Edit changes the configuration before the hubs are made.
	Edit func(*hub.Config)
}

// All is the ARR option for every site.
func All(int) bool { return true }

// Config is the configuration of such a network, for server 1.
func (o Options) Config() hub.Config {
	c := hub.Config{
		Epoch: 1, Seed: 7, Self: 1, Tunnels: []netip.Addr{Tunnel, Tunnel6}, Trace: true,
		Tenants: []hub.Tenant{{ID: 1, Name: "acme"}},
	}
	for dc := 1; dc <= cmp.Or(o.Datacenters, 2); dc++ {
		var addresses []netip.Addr
		var servers []ident.Server
		for i := range cmp.Or(o.Addresses, 1) {
			addresses = append(addresses, netip.AddrFrom4([4]byte{198, 51, byte(100 + dc), byte(1 + i)}))
		}
		for i := 1; i <= cmp.Or(o.Servers, 2); i++ {
			id := ident.Server(len(c.Servers) + 1)
			servers = append(servers, id)
			c.Servers = append(c.Servers, hub.Server{
				ID: id, Name: fmt.Sprintf("dc%d.%d", dc, i), Datacenter: ident.Datacenter(dc), Live: true,
				Handover: netip.AddrFrom4([4]byte{172, 31, byte(dc), byte(i)}),
			})
		}
		six, err := egress.Hosts(netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 100, 0, byte(dc)}), 64), len(servers))
		if err != nil {
			panic(err)
		}
		addresses = append(addresses, six...)
		assigned, err := egress.Assign(ident.Datacenter(dc), addresses, servers)
		if err != nil {
			panic(err) // the test asked for a network that cannot be
		}
		c.Egress = append(c.Egress, assigned...)
	}
	for site := 1; site <= cmp.Or(o.Sites, 2); site++ {
		ramp := hub.OnRamp{
			ID: ident.OnRamp(site), Name: "shop", Tenant: 1, VNet: 1, Scope: ident.Scope(site), Kind: tunnel.GRE,
			Local: Tunnel, Remote: netip.AddrFrom4([4]byte{198, 18, byte(site >> 8), byte(site)}),
			ARR: o.ARR != nil && o.ARR(site),
		}
		if o.Outer6 {
			ramp.Local, ramp.Remote = Tunnel6, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 18, 14: byte(site >> 8), 15: byte(site)})
		}
		c.OnRamps = append(c.OnRamps, ramp)
	}
	for _, site := range o.Routes {
		for _, f := range Families() {
			c.Routes = append(c.Routes, route.Route{ID: "lan", Tenant: 1, VNet: 1, Prefix: f.LAN, NextHop: ident.OnRamp(site), Priority: 100})
		}
	}
	o.private(&c)
	if o.Edit != nil {
		o.Edit(&c)
	}
	return c
}

// Arrival is a packet that left the network.
type Arrival struct {
	// Site is the on-ramp it left by; 0 is the Internet.
	Site ident.OnRamp
	// Answer is what a server said on a connected tunnel, instead of a packet.
	Answer tunnel.Answer
	// Server sent it, Hops hubs had handled it by then.
	Server ident.Server
	Hops   int
	Packet []byte
}

// Net is the network. Packets of one call run to their end before it returns.
type Net struct {
	TB     testing.TB
	Config hub.Config
	Hubs   map[ident.Server]*hub.Hub
	Now    vt.Instant
	// Enter picks the server at which a packet from outside arrives; nil hashes
	// its outer addresses over all servers, as a router would.
	Enter func(packet []byte) ident.Server
	// Origin answers what reaches the Internet; nil means nobody.
	Origin func(packet []byte) []byte
	// Private answers what reaches a device or connector; nil means nobody.
	Private func(to ident.OnRamp, packet []byte) []byte
	// Cut says which tunnels lose the probes of servers; nil means none.
	Cut func(ident.OnRamp) bool
	// Deaf says which servers lose what is sent to them; nil means none.
	Deaf func(ident.Server) bool
	// Narrow is the largest packet that the way from one server to another passes, outer
	// header included; 0, or nil, is any. A router on the way drops what is larger and
	// tells who sent it; TooBig counts that.
	Narrow func(from, to ident.Server) int
	TooBig int
	// Wire is what every link does to every packet; nil means nothing.
	Wire func(packet []byte)
	// Hold keeps servers from learning where devices are until Learn is called.
	Hold bool
	// Events collects what the hubs said.
	Events []hub.Event
	// Largest is the largest packet that any hub sent, outer headers not counted.
	Largest int

	order []ident.Server
	out   hub.Out
	// at are the outer addresses that devices and connectors have now.
	at   map[ident.OnRamp]netip.AddrPort
	news []hub.Attachment
	// replying: the packet under way is an answer.
	replying bool
}

// New starts the network. tb may be nil outside of tests; then mistakes panic.
func New(tb testing.TB, o Options) *Net {
	n := &Net{TB: tb, Config: o.Config(), Hubs: make(map[ident.Server]*hub.Hub), at: make(map[ident.OnRamp]netip.AddrPort)}
	for _, s := range n.Config.Servers {
		h, err := hub.New(n.ConfigOf(s.ID))
		if err != nil {
			panic(err)
		}
		n.Hubs[s.ID] = h
		n.order = append(n.order, s.ID)
	}
	return n
}

// ConfigOf is the configuration as server id has it.
func (n *Net) ConfigOf(id ident.Server) hub.Config {
	c := n.Config
	c.Self = id
	return c
}

// Reconfigure edits the configuration and gives it to all hubs.
func (n *Net) Reconfigure(edit func(*hub.Config)) {
	c := n.Config
	c.Routes, c.OnRamps, c.Servers, c.Egress = slices.Clone(c.Routes), slices.Clone(c.OnRamps), slices.Clone(c.Servers), slices.Clone(c.Egress)
	c.Epoch++
	edit(&c)
	n.Config = c
	for _, id := range n.order {
		if err := n.Hubs[id].Reconfigure(n.Now, n.ConfigOf(id)); err != nil {
			panic(err)
		}
	}
}

// Timer lets every hub's timers run at n.Now.
func (n *Net) Timer() {
	for _, id := range n.order {
		n.TimerOf(id)
	}
}

// TimerOf is Timer for one hub.
func (n *Net) TimerOf(id ident.Server) {
	var out hub.Out
	n.Hubs[id].HandleTimer(n.Now, &out)
	n.Events = append(n.Events, out.Events...)
	n.listen(id, out.Events)
	for i := range out.Send {
		s := &out.Send[i]
		n.probe(n.run(nil, s.Encap.Append(nil, s.Data), id, 1))
	}
}

// Run lets time pass until end, each hub's timers when they are due.
func (n *Net) Run(end vt.Instant) {
	for n.Now < end {
		next := end
		for _, id := range n.order {
			next = min(next, n.Hubs[id].NextWake())
		}
		n.Now = max(n.Now, next)
		n.Timer()
	}
}

// probe lets the routers of sites do with probes what any router does: answer a
// ping to themselves, and forward back what is for the other end of the tunnel.
func (n *Net) probe(arrived []Arrival) {
	for _, a := range arrived {
		if a.Site == 0 || n.Cut != nil && n.Cut(a.Site) {
			continue
		}
		r, v := n.ramp(a.Site), Decode(a.Packet)
		switch {
		case v.Dst.Addr() == r.Address:
			n.Send(n.wrap(r, a.Packet))
		case v.Dst.Addr() == r.Peer && v.EchoRequest():
			n.Send(n.wrap(r, IP{Src: v.Dst, Dst: v.Src, Seq: v.ICMP.Seq}.Pong()))
		}
	}
}

// FromSite sends an inner packet into the tunnel of a site and returns what
// left the network because of it. The packet is copied.
func (n *Net) FromSite(site ident.OnRamp, inner []byte) []Arrival {
	return n.Send(n.wrap(n.ramp(site), inner))
}

// Send puts a packet on the wire outside the network.
func (n *Net) Send(packet []byte) []Arrival {
	arrived := n.run(nil, slices.Clone(packet), 0, 0)
	if !n.Hold {
		n.Learn()
	}
	return arrived
}

// maxSteps bounds one packet's way: what exceeds it goes in circles.
const maxSteps = 32

func (n *Net) run(arrived []Arrival, packet []byte, from ident.Server, hops int) []Arrival {
	if hops > maxSteps {
		panic("hubtest: a packet goes in circles")
	}
	if n.Wire != nil {
		n.Wire(packet)
	}
	to, internal := n.place(packet, from)
	if to == 0 {
		a := n.arrival(packet)
		a.Server, a.Hops = from, hops
		arrived = append(arrived, a)
		var reply []byte
		switch {
		case a.Site == 0 && n.Origin != nil:
			reply = n.Origin(packet)
		case a.Site >= FirstDevice && a.Answer == 0 && n.Private != nil:
			if reply = n.Private(a.Site, a.Packet); reply != nil {
				reply = n.wrap(n.ramp(a.Site), reply)
			}
		}
		if reply == nil || n.replying {
			return arrived // nobody answers an answer
		}
		n.replying = true
		defer func() { n.replying = false }()
		return n.run(arrived, slices.Clone(reply), 0, 0)
	}
	if n.Deaf != nil && n.Deaf(to) {
		return arrived
	}
	if n.Narrow != nil && internal {
		if mtu := n.Narrow(from, to); mtu > 0 && len(packet) > mtu {
			var m pkt.Meta
			m.Parse(packet)
			n.TooBig++
			return n.run(arrived, m.AppendTooBig(nil, packet, mtu, 0), to, hops+1)
		}
	}
	var out hub.Out
	n.Hubs[to].HandlePacket(n.Now, &hub.Packet{Data: packet, Internal: internal}, &out)
	n.Events = append(n.Events, out.Events...)
	n.listen(to, out.Events)
	for i := range out.Send {
		s := &out.Send[i]
		n.Largest = max(n.Largest, len(s.Data))
		arrived = n.run(arrived, s.Encap.Append(nil, s.Data), to, hops+1)
	}
	return arrived
}

// place is the server that a packet on the wire reaches next; 0 is outside.
func (n *Net) place(packet []byte, from ident.Server) (to ident.Server, internal bool) {
	dst, ok := destination(packet)
	if !ok {
		return n.enter(packet), false
	}
	for _, s := range n.Config.Servers {
		if s.Handover == dst {
			return s.ID, from != 0
		}
	}
	if dst == Unconnected {
		return n.enter(packet), true
	}
	if dst == Tunnel || dst == Tunnel6 || from == 0 || slices.ContainsFunc(n.Config.Egress, func(a egress.Address) bool { return a.Addr == dst }) {
		return n.enter(packet), from != 0
	}
	return 0, false
}

// destination is a packet's outer destination address.
func destination(packet []byte) (netip.Addr, bool) {
	switch {
	case len(packet) < 20:
		return netip.Addr{}, false
	case packet[0]>>4 != 6:
		return netip.AddrFrom4([4]byte(packet[16:20])), true
	case len(packet) < 40:
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(packet[24:40])), true
}

func (n *Net) enter(packet []byte) ident.Server {
	if n.Enter != nil {
		return n.Enter(packet)
	}
	// An IPv6 egress address is one server's own, so its prefix is routed there.
	if dst, ok := destination(packet); ok && dst.Is6() {
		for i := range n.Config.Egress {
			if a := &n.Config.Egress[i]; a.Addr == dst {
				return a.Owner[1]
			}
		}
	}
	var addresses uint64
	if len(packet) >= 24 {
		addresses = binary.BigEndian.Uint64(packet[12:]) ^ uint64(binary.BigEndian.Uint32(packet[20:]))
	}
	return n.order[flow.Mix(addresses)%uint64(len(n.order))]
}

// Counters adds up those of all hubs.
func (n *Net) Counters() (sum hub.Counters) {
	for _, id := range n.order {
		c := n.Hubs[id].Counters()
		sum.Packets += c.Packets
		sum.Forwarded += c.Forwarded
		sum.Returned += c.Returned
		sum.HandedOver += c.HandedOver
		sum.Delivered += c.Delivered
		sum.Routed += c.Routed
		sum.Speaking += c.Speaking
		sum.Failovers += c.Failovers
		sum.Probes += c.Probes
		sum.Answered += c.Answered
		sum.Held += c.Held
		sum.ReassemblyTimeouts += c.ReassemblyTimeouts
		sum.Relayed += c.Relayed
		sum.Guests += c.Guests
		sum.RouteLookups += c.RouteLookups
		sum.FlowsStarted += c.FlowsStarted
		sum.FlowsEnded += c.FlowsEnded
		sum.Flows += c.Flows
		for r, count := range c.Drops {
			sum.Drops[r] += count
		}
	}
	return sum
}

// Echo is an origin that answers UDP with its payload, pings with pongs, and
// TCP segments with a SYN-ACK or an acknowledgement.
func Echo(packet []byte) []byte {
	v := Decode(packet)
	reply := IP{Src: v.Dst, Dst: v.Src, Payload: slices.Clone(v.Payload)}
	switch {
	case v.TCP != nil && v.TCP.SYN:
		reply.Payload = nil
		return reply.TCP(Flags{SYN: true, ACK: true}, 1000, v.TCP.Seq+1, 1460)
	case v.TCP != nil && !v.TCP.RST:
		return reply.TCP(Flags{ACK: true}, v.TCP.Ack, v.TCP.Seq+uint32(len(v.Payload)), 0)
	case v.EchoRequest():
		return reply.Pong()
	case v.Proto == 17:
		return reply.UDP()
	}
	return nil
}
