package bpf

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/internal/need"
)

var (
	testMAC     = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	testGateway = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	egressPort  = netip.MustParseAddrPort("198.51.101.1:2049")
)

// plane is the fast path of server 1 of a network of hubtest, alone unless o says
// otherwise, and packets as its two sites and the Internet send them.
type plane struct {
	*Dataplane
	t *testing.T
}

func newPlane(t *testing.T, o hubtest.Options, spec Spec) plane {
	t.Helper()
	need.BPF(t)
	if o.Servers == 0 {
		o.Datacenters, o.Servers = 1, 1
	}
	o.ARR = hubtest.All
	spec.Config = o.Config()
	spec.Config.Trace = false
	spec.MAC, spec.Gateway = testMAC, testGateway
	d, err := NewDataplane(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { d.Close() })
	return plane{d, t}
}

// udpFlow is a flow of a site's client that says b.
func udpFlow(site int, b hubtest.IP, egress netip.AddrPort) *Flow {
	return flowOf(site, b.UDP(), egress)
}

func flowOf(site int, packet []byte, egress netip.AddrPort) *Flow {
	var m pkt.Meta
	m.Parse(packet)
	return &Flow{
		Key: flow.ForwardKey(1, hubSite(site).Scope, 1, &m), Egress: egress, OnRamp: hubSite(site).ID,
		Timeout: time.Minute, Progress: flow.Progress{Deadline: vt.Never}, Tag: uint32(egress.Port()),
	}
}

func hubSite(site int) hub.OnRamp { return hubtest.Options{Sites: site}.Config().OnRamps[site-1] }

func (p plane) install(f *Flow) {
	p.t.Helper()
	if err := p.Install(f); err != nil {
		p.t.Fatal(err)
	}
}

// bySite sends a client's packet through its site's tunnel, send any packet to
// the uplink. They return what leaves, nil if it is left or dropped, and why.
func (p plane) bySite(site int, packet []byte) ([]byte, Outcome) {
	p.t.Helper()
	return p.send(hubtest.GRE(hubSite(site).Remote, hubtest.Tunnel, nil, packet))
}

func (p plane) send(packet []byte) ([]byte, Outcome) {
	p.t.Helper()
	before, err := p.Tally()
	if err != nil {
		p.t.Fatal(err)
	}
	verdict, out, _ := run(p.t, p.objects.FastPath, ethernet(testMAC, testGateway, etherType(packet), packet), 0)
	after, err := p.Tally()
	if err != nil {
		p.t.Fatal(err)
	}
	for o := range after {
		if after[o] != before[o] {
			if verdict != redirect {
				out = nil
			}
			return slices.Clip(out[min(len(out), 14):]), Outcome(o)
		}
	}
	return nil, 0
}

// home checks that a reply comes to a client by its site's tunnel.
func (p plane) home(reply []byte, site int, client netip.AddrPort) {
	p.t.Helper()
	out, why := p.send(reply)
	if why != Returned {
		p.t.Errorf("%+v: %v, want it returned to %v", hubtest.Decode(reply), why, client)
		return
	}
	outer, inner := hubtest.Decode(out), hubtest.Decode(out[24:])
	if outer.Dst.Addr() != hubSite(site).Remote || inner.Dst != client {
		p.t.Errorf("went to %v by %v, want %v by site %d", inner.Dst, outer.Dst, client, site)
	}
}

// Flows that share an egress port are told apart by remote end and protocol,
// whichever has the port's own place; as each goes, the others stay.
func TestFurtherEndpoints(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{})
	web, other, port := hubtest.Web, netip.MustParseAddrPort("203.0.113.10:443"), netip.MustParseAddrPort("203.0.113.9:444")
	clients := []hubtest.IP{
		{Src: netip.MustParseAddrPort("10.0.1.5:40000"), Dst: web}, {Src: netip.MustParseAddrPort("10.0.1.6:40000"), Dst: other},
		{Src: netip.MustParseAddrPort("10.0.1.7:40000"), Dst: port}, {Src: netip.MustParseAddrPort("10.0.1.8:40000"), Dst: web},
	}
	ack := hubtest.Flags{ACK: true}
	var flows []*Flow
	for i, c := range clients {
		f := udpFlow(1+i%2, c, egressPort)
		if i == 3 { // TCP between the ends that the first has for UDP
			f = flowOf(2, c.TCP(ack, 1, 1, 0), egressPort)
		}
		f.Tag = uint32(i)
		flows = append(flows, f)
		p.install(f)
	}
	for gone := range flows {
		for i, f := range flows {
			packet, reply := clients[i].UDP(), hubtest.IP{Src: clients[i].Dst, Dst: egressPort}.UDP()
			if i == 3 {
				packet, reply = clients[i].TCP(ack, 1, 1, 0), hubtest.IP{Src: clients[i].Dst, Dst: egressPort}.TCP(ack, 1, 1, 0)
			}
			if i < gone {
				if _, why := p.send(reply); why != LeftMiss {
					t.Errorf("reply of flow %d, which is gone: %v", i, why)
				}
				if _, why := p.bySite(int(f.OnRamp), packet); why != LeftMiss {
					t.Errorf("packet of flow %d, which is gone: %v", i, why)
				}
				continue
			}
			p.home(reply, int(f.OnRamp), clients[i].Src)
			if out, why := p.bySite(int(f.OnRamp), packet); why != Forwarded || hubtest.Decode(out).Src != egressPort {
				t.Errorf("packet of flow %d: %v", i, why)
			}
		}
		var tags []uint32
		for c := range p.All {
			tags = append(tags, c.Tag)
		}
		if slices.Sort(tags); len(tags) != len(flows)-gone || tags[0] != uint32(gone) {
			t.Errorf("All yields %v, want those from %d on", tags, gone)
		}
		if c, ok := p.Remove(flows[gone]); !ok || c.Up != uint32(gone+1) || c.Down != uint32(gone+1) {
			t.Errorf("flow %d ends with %+v, %v; want %d packets each way", gone, c, ok, gone+1)
		}
		if _, ok := p.Remove(flows[gone]); ok {
			t.Errorf("flow %d was removed twice", gone)
		}
	}
}

// Two flows never share a reverse key, and at the bound nothing half is left.
func TestInstallRefuses(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{Flows: 2})
	at := func(n uint16) hubtest.IP {
		return hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), 40000+n), Dst: hubtest.Web}
	}
	p.install(udpFlow(1, at(1), egressPort))
	if err := p.Install(udpFlow(1, at(2), egressPort)); !errors.Is(err, ErrTaken) {
		t.Errorf("a second flow with the same reverse key: %v", err)
	}
	p.home(hubtest.IP{Src: hubtest.Web, Dst: egressPort}.UDP(), 1, at(1).Src)
	var err error
	n := uint16(2)
	next := func() *Flow { return udpFlow(1, at(n), netip.AddrPortFrom(egressPort.Addr(), 2048+n)) }
	for ; err == nil && n < 100; n++ {
		err = p.Install(next())
	}
	n--
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d flows with a bound of 2: %v", n, err)
	}
	if _, why := p.send(hubtest.IP{Src: hubtest.Web, Dst: next().Egress}.UDP()); why != LeftMiss {
		t.Errorf("the reply of a flow that was refused: %v", why)
	}
	if _, ok := p.Look(next()); ok {
		t.Error("a flow that was refused is there")
	}
	if err := p.Clear(); err != nil {
		t.Fatal(err)
	}
	for c := range p.All {
		t.Errorf("after Clear: %+v", c)
	}
	if _, why := p.bySite(1, at(1).UDP()); why != LeftMiss {
		t.Errorf("after Clear: %v", why)
	}
	p.install(udpFlow(1, at(1), egressPort))
}

// The client keeps a UDP flow alive and the outside does not; over TCP both do;
// a flow whose time has come is the hub's, both ways (SEMANTICS 1.9, 8).
func TestLifetimes(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{Base: int64(monotonic())}) // so that now is about 0
	c, reply := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}, hubtest.IP{Src: hubtest.Web, Dst: egressPort}
	ack := hubtest.Flags{ACK: true}
	soon := vt.Instant(10 * time.Second)
	for _, k := range []struct {
		name         string
		up, down     []byte
		byUp, byDown bool
	}{
		{"UDP", c.UDP(), reply.UDP(), true, false},
		{"TCP", c.TCP(ack, 1, 1, 0), reply.TCP(ack, 1, 1, 0), true, true},
		{"ICMP", c.Ping(), reply.Pong(), true, false},
	} {
		f := flowOf(1, k.up, egressPort)
		f.Progress.Deadline = soon
		extended := func() bool {
			c, ok := p.Look(f)
			if !ok || c.Progress.Deadline != soon && (c.Progress.Deadline < vt.Instant(time.Minute) || c.Progress.Deadline > vt.Instant(2*time.Minute)) {
				t.Errorf("%s: %+v, %v; want the deadline at %v or a minute from now", k.name, c, ok, soon)
			}
			return c.Progress.Deadline != soon
		}
		for _, d := range []struct {
			name string
			send func() ([]byte, Outcome)
			by   bool
		}{
			{"the client", func() ([]byte, Outcome) { return p.bySite(1, k.up) }, k.byUp},
			{"the remote end", func() ([]byte, Outcome) { return p.send(k.down) }, k.byDown},
		} {
			f.Progress.Deadline = soon
			p.install(f)
			if _, why := d.send(); why.ToHub() || extended() != d.by {
				t.Errorf("%s: a packet of %s: %v; extended %v, want %v", k.name, d.name, why, extended(), d.by)
			}
			p.Remove(f)
			f.Progress.Deadline = vt.Instant(-time.Second)
			p.install(f)
			if _, why := d.send(); why != LeftExpired {
				t.Errorf("%s: late, a packet of %s: %v", k.name, d.name, why)
			}
			p.Remove(f)
		}
	}
}

// While an on-ramp is asked about, replies into it are left; packets from it not.
func TestAsk(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{})
	c := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	f := udpFlow(2, c, egressPort)
	p.install(f)
	reply := hubtest.IP{Src: hubtest.Web, Dst: egressPort}.UDP()
	for _, ask := range []bool{true, true, false} {
		if err := p.Ask(2, ask); err != nil {
			t.Fatal(err)
		}
		if _, why := p.send(reply); (why == LeftRamp) != ask {
			t.Errorf("asked %v: a reply is %v", ask, why)
		}
		if _, why := p.bySite(2, c.UDP()); why != Forwarded {
			t.Errorf("asked %v: a packet is %v", ask, why)
		}
	}
}

// An address that drains keeps the places of its flows: an address that comes
// then has none of them, until they are over.
func TestDrainedPlaces(t *testing.T) {
	p := newPlane(t, hubtest.Options{}, Spec{})
	c := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	f := udpFlow(1, c, egressPort)
	p.install(f)
	next := p.spec.Config
	next.Egress = slices.Clone(next.Egress)
	fresh := next.Egress[0]
	fresh.Addr = netip.MustParseAddr("198.51.100.77")
	next.Egress[0].Closed = true
	next.Egress = append(next.Egress, fresh)
	configure := func() (places bool) {
		t.Helper()
		if err := p.Configure(next); err != nil {
			t.Fatal(err)
		}
		_, places = p.network.slots[fresh.Addr]
		return places
	}
	if configure() {
		t.Error("an address has places in which another one's flows are")
	}
	out, why := p.bySite(1, c.UDP())
	if why != Forwarded || hubtest.Decode(out).Src != egressPort {
		t.Errorf("a flow of an address that drains: %v, from %v", why, hubtest.Decode(out).Src)
	}
	if _, ok := p.Remove(f); !ok {
		t.Error("a flow of an address that drains cannot be removed")
	}
	if !configure() {
		t.Error("the places of an address without flows are not given to the next")
	}
}

// Another configuration is in force at once, and flows stay.
func TestConfigure(t *testing.T) {
	p := newPlane(t, hubtest.Options{Datacenters: 2, Servers: 2, Edit: func(c *hub.Config) {
		for i := range c.Servers {
			c.Servers[i].Live = i == 0
		}
	}}, Spec{})
	c := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}
	f := udpFlow(1, c, egressPort)
	p.install(f)
	reply := hubtest.IP{Src: hubtest.Web, Dst: egressPort}.UDP()
	p.home(reply, 1, c.Src)
	edit := func(change func(*hub.Config)) {
		t.Helper()
		next := p.spec.Config
		next.Servers, next.OnRamps, next.Egress = slices.Clone(next.Servers), slices.Clone(next.OnRamps), slices.Clone(next.Egress)
		change(&next)
		if err := p.Configure(next); err != nil {
			t.Fatal(err)
		}
	}
	// Every bucket is server 2's: the same packet is handed over.
	edit(func(c *hub.Config) { c.Servers[0].Live, c.Servers[1].Live = false, true })
	if out, why := p.bySite(1, c.UDP()); why != HandedOver || hubtest.Decode(out).Dst.Addr() != p.spec.Config.Servers[1].Handover {
		t.Errorf("home is elsewhere: %v", why)
	}
	p.home(reply, 1, c.Src)
	// Nobody's.
	edit(func(c *hub.Config) { c.Servers[1].Live = false })
	if _, why := p.bySite(1, c.UDP()); why != Outcome(drop.NoOwner) {
		t.Errorf("home is nowhere: %v", why)
	}
	edit(func(c *hub.Config) { c.Servers[0].Live = true })
	if _, why := p.bySite(1, c.UDP()); why != Forwarded {
		t.Errorf("home is here again: %v", why)
	}
	// The slice goes to a server of the other datacenter.
	edit(func(c *hub.Config) {
		for k := 1; k < len(c.Egress[0].Owner); k++ {
			c.Egress[0].Owner[k] = 3
		}
	})
	context := steer.Context{Hops: 1}.Key()
	if out, why := p.send(reply); why != HandedOver || !bytes.Equal(out, hubtest.GRE(p.spec.Config.Servers[0].Handover, p.spec.Config.Servers[2].Handover, &context, reply)) && hubtest.Decode(out).Dst.Addr() != p.spec.Config.Servers[2].Handover {
		t.Errorf("the slice is elsewhere: %v, %x", why, out)
	}
	// The on-ramp is gone.
	edit(func(c *hub.Config) { c.OnRamps = c.OnRamps[1:] })
	if _, why := p.bySite(1, c.UDP()); why != Outcome(drop.UnknownTunnel) {
		t.Errorf("the on-ramp is gone: %v", why)
	}
	next := p.spec.Config
	next.Self = 2
	if p.Configure(next) == nil {
		t.Error("the fast path became another server")
	}
}

// What is the machine's own is not touched, and counts as nothing.
func TestKernelsOwnPasses(t *testing.T) {
	own, own6 := netip.MustParseAddr("172.31.1.200"), netip.MustParseAddr("fd31::200")
	p := newPlane(t, hubtest.Options{}, Spec{Own: []netip.Addr{own, own6}})
	from, from6 := netip.MustParseAddrPort("172.31.1.201:9"), netip.MustParseAddrPort("[fd31::201]:9")
	for name, frame := range map[string][]byte{
		"IPv4":  ethernet(testMAC, testGateway, etherIPv4, hubtest.IP{Src: from, Dst: netip.AddrPortFrom(own, 9)}.UDP()),
		"IPv6":  ethernet(testMAC, testGateway, etherIPv6, hubtest.IP{Src: from6, Dst: netip.AddrPortFrom(own6, 9)}.UDP()),
		"group": ethernet(testMAC, testGateway, etherIPv6, hubtest.IP{Src: from6, Dst: netip.MustParseAddrPort("[ff02::1]:9")}.UDP()),
		"ARP":   ethernet(testMAC, testGateway, 0x0806, make([]byte, 46)),
	} {
		verdict, out, _ := run(t, p.objects.FastPath, frame, 0)
		if verdict != next || !bytes.Equal(out, frame) {
			t.Errorf("%s: verdict %d, out %x", name, int32(verdict), out)
		}
	}
	if tally, err := p.Tally(); err != nil || tally != (Tally{}) {
		t.Errorf("counted %v, %v", tally.Map(), err)
	}
}

// The C enums are the Go ones, name by name.
func TestOutcomesAreTheirs(t *testing.T) {
	spec, err := loadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("outcome", &enum); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, v := range enum.Values {
		name, o := v.Name, Outcome(v.Value)
		if name == "OUTCOMES" {
			if o != outcomeCount {
				t.Errorf("C has %d outcomes, Go %d", o, outcomeCount)
			}
			continue
		}
		want := map[bool]string{true: "DROP_", false: ""}[int(o) < drop.Count]
		if o == HandedOver || o == Forwarded || o == Returned {
			want = "OUT_"
		}
		if got := want + upper(o.String()); got != name {
			t.Errorf("outcome %d is %s in C and %s in Go", o, name, got)
		}
		if o >= Forwarded {
			seen++
		}
	}
	if want := int(outcomeCount - Forwarded); seen != want {
		t.Errorf("C names %d outcomes besides drops, Go %d", seen, want)
	}
}

func upper(s string) string { return string(bytes.ToUpper([]byte(s))) }

// The forward key in the kernel is flow.Key in memory.
func TestForwardKeyIsTheHubs(t *testing.T) {
	k := flow.Key{Scope: 0x01020304, Tenant: 5, VNet: 6, SrcPort: 7, DstPort: 8, Proto: 17}
	k.Src, k.Dst = hubtest.Till.Addr().As16(), hubtest.Web.Addr().As16()
	c := forwardKey(&k)
	got, want := (*[48]byte)(unsafe.Pointer(&c)), (*[48]byte)(unsafe.Pointer(&k))
	if *got != *want {
		t.Errorf("got %x\nwant %x", got, want)
	}
}
