package hub_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/route"
	"pgregory.net/rapid"
)

// history is a random life of a small network, and the slow obvious book-keeping
// that its events and packets must agree with. Invariants are those of SEMANTICS 9.
type history struct {
	*rapid.T
	n *hubtest.Net
	// live are the sessions started and not ended, by what the outside sees;
	// ended those that are over but may still hold their port.
	live  map[reverse]*book
	over  map[reverse]*book
	ids   map[[16]byte]bool
	ended map[[16]byte]bool
	seen  int // events read
	// packets seen on the wire, to be mutated into junk.
	wire [][]byte
	all  []*book
	id   uint16 // of the last fragmented datagram
}

type reverse struct {
	proto          uint8
	egress, remote netip.AddrPort
}

// book is what the model knows of one session.
type book struct {
	s            hub.Session
	server       ident.Server
	sent, recved uint64 // UDP and ICMP payload that crossed
}

func tenantsAndSites(c *hub.Config) {
	c.Tenants = append(c.Tenants, hub.Tenant{ID: 2, Name: "other", Orphan: hub.OrphanReset})
	for i := range c.OnRamps {
		if i == 3 {
			c.OnRamps[i].Tenant = 2
		}
		if i == 2 {
			c.OnRamps[i].VNet = 2
		}
	}
	c.Routes = []route.Route{
		{ID: "a", Tenant: 1, VNet: 1, Prefix: hubtest.LAN, NextHop: 1},
		{ID: "b", Tenant: 1, VNet: 1, Prefix: hubtest.LAN, NextHop: 2},
		{ID: "c", Tenant: 2, VNet: 1, Prefix: hubtest.LAN, NextHop: 4},
		{ID: "d", Tenant: 1, VNet: 1, Prefix: six().LAN, NextHop: 1},
		{ID: "e", Tenant: 1, VNet: 1, Prefix: six().LAN, NextHop: 2},
		{ID: "f", Tenant: 2, VNet: 1, Prefix: six().LAN, NextHop: 4},
	}
	c.Tenants[0].Policies = someBlocked
	c.Bounds.Flows = 12
	c.Bounds.Fragmented = 4
	c.Timers.PortHold = 5 * time.Second
}

// someBlocked lets a tenant neither ping nor ask names; what else it does is
// recorded.
var someBlocked = policy.Policies{
	Firewall: []policy.Rule{{ID: "no_ping", Action: policy.Block, Match: policy.Match{Protocol: []uint8{1}}}},
	Egress:   []policy.Rule{{ID: "any", Action: policy.Default}},
	Network:  []policy.Rule{{ID: "no_names", Action: policy.Block, Match: policy.Match{Port: []policy.PortRange{policy.Port(53)}}}},
}

// blocked is what someBlocked says of a session.
func blocked(s *hub.Session) bool { return s.Tuple.Proto == 1 || s.Tuple.Dst.Port() == 53 }

func newHistory(rt *rapid.T) *history {
	arr := rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(rt, "arr")
	h := &history{
		T: rt, live: make(map[reverse]*book), over: make(map[reverse]*book),
		ids: make(map[[16]byte]bool), ended: make(map[[16]byte]bool),
		n: hubtest.New(nil, hubtest.Options{Sites: 4, ARR: func(site int) bool { return arr[site-1] }, Edit: tenantsAndSites}),
	}
	return h
}

var payloads = rapid.SampledFrom([][]byte{nil, {1}, []byte("payload"), make([]byte, 1436), make([]byte, 1460), make([]byte, 3001)})

var extensions = rapid.SampledFrom([][]hubtest.Extension{nil, nil, {{Proto: 60, Bytes: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}, {{Bytes: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}})

var tcpFlags = rapid.SampledFrom([]hubtest.Flags{{SYN: true}, {SYN: true}, {ACK: true}, {ACK: true}, {ACK: true, FIN: true}, {RST: true}, {SYN: true, ACK: true}, {SYN: true, FIN: true}, {}})

func (h *history) build(p hubtest.IP) []byte {
	p.Payload = payloads.Draw(h.T, "payload")
	p.ClearDF = rapid.Bool().Draw(h.T, "clear df")
	p.Before = extensions.Draw(h.T, "extensions") // of IPv6 alone
	p.TTL = rapid.SampledFrom([]uint8{64, 64, 64, 2, 1}).Draw(h.T, "ttl")
	switch rapid.IntRange(0, 4).Draw(h.T, "kind") {
	case 0:
		return p.UDP()
	case 1:
		return p.Ping()
	case 2:
		return p.Pong()
	}
	seq := rapid.Uint32Range(0, 3).Draw(h.T, "seq")
	return p.TCP(tcpFlags.Draw(h.T, "flags"), seq, rapid.Uint32Range(0, 3).Draw(h.T, "ack"), 1460)
}

// fromSite sends a packet from a site; clients and destinations are few, so
// that tuples collide all the time.
func (h *history) fromSite(rt *rapid.T) {
	h.T = rt
	site := ident.OnRamp(rapid.IntRange(1, 4).Draw(rt, "site"))
	if !slices.ContainsFunc(h.n.Config.OnRamps, func(o hub.OnRamp) bool { return o.ID == site }) {
		return
	}
	f := rapid.SampledFrom(hubtest.Families()).Draw(rt, "family")
	sibling := f.Till.Addr().Next()
	p := hubtest.IP{
		Src: netip.AddrPortFrom(f.Till.Addr(), rapid.SampledFrom([]uint16{40000, 40001}).Draw(rt, "sport")),
		Dst: rapid.SampledFrom([]netip.AddrPort{f.Web, netip.AddrPortFrom(f.Web.Addr(), 53), netip.AddrPortFrom(sibling, 80), netip.AddrPortFrom(f.Private, 80)}).Draw(rt, "dst"),
	}
	packet := h.build(p)
	h.wire = append(h.wire, packet)
	var arrived []hubtest.Arrival
	for _, part := range h.parts(packet) {
		arrived = append(arrived, h.n.FromSite(site, part)...)
	}
	h.check(hubtest.Whole(arrived))
}

// parts is a packet as it was built, or its fragments: in some order, now and
// then one of them twice or not at all. Each datagram has an identification of
// its own, so that what lacks a fragment stays without it.
func (h *history) parts(packet []byte) [][]byte {
	v := hubtest.Decode(packet)
	routersRead := v.IP == nil && (packet[6] == 0 || packet[6] == 43)
	size := rapid.SampledFrom([]int{0, 0, 0, 24, 552, 1400}).Draw(h.T, "fragments of")
	if size == 0 && len(packet) > 1500 {
		size = 1400
	}
	if size == 0 || routersRead || len(packet) > 40*size {
		return [][]byte{packet}
	}
	h.id++
	parts := rapid.Permutation(hubtest.Cut(packet, size, h.id)).Draw(h.T, "order")
	switch mishap := rapid.IntRange(0, 9).Draw(h.T, "mishap"); {
	case len(parts) == 1: // not a fragment
	case mishap == 0:
		parts = parts[1:]
	case mishap == 1:
		parts = append([][]byte{parts[len(parts)-1]}, parts...)
	}
	for _, p := range parts {
		h.wire = append(h.wire, p)
	}
	return parts
}

// reply answers a session as its origin would, or nearly.
func (h *history) reply(rt *rapid.T) {
	h.T = rt
	if len(h.all) == 0 {
		return
	}
	b := rapid.SampledFrom(h.all).Draw(rt, "session")
	src, dst := b.s.Tuple.Dst, b.s.Egress
	switch rapid.IntRange(0, 9).Draw(rt, "aim") {
	case 0:
		src = netip.AddrPortFrom(src.Addr(), src.Port()+1)
	case 1:
		dst = netip.AddrPortFrom(dst.Addr(), dst.Port()^2048)
	}
	packet := h.build(hubtest.IP{Src: src, Dst: dst})
	v := hubtest.Decode(packet)
	b = h.live[reverse{uint8(v.Proto), v.Dst, v.Src}]
	var arrived []hubtest.Arrival
	for _, part := range h.parts(packet) {
		arrived = append(arrived, h.n.Send(part)...)
	}
	arrived = hubtest.Whole(arrived)
	if b != nil && len(toSites(arrived)) > 0 {
		b.recved += uint64(len(v.Payload))
	}
	h.check(arrived)
}

// junk sends noise, or a packet with bytes changed or cut off.
func (h *history) junk(rt *rapid.T) {
	h.T = rt
	packet := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(rt, "noise")
	if len(h.wire) > 0 && rapid.Bool().Draw(rt, "mutate") {
		site := h.n.Config.OnRamps[0]
		packet = hubtest.GRE(site.Remote, site.Local, site.Key, rapid.SampledFrom(h.wire).Draw(rt, "packet"))
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			packet[rapid.IntRange(0, len(packet)-1).Draw(rt, "at")] = rapid.SampledFrom([]byte{0, 1, 4, 0x20, 0x45, 0x46, 0x4f, 0x60, 0x7f, 0x80, 0xff}).Draw(rt, "byte")
		}
		packet = packet[:rapid.IntRange(0, len(packet)).Draw(rt, "cut")]
	}
	at := ident.Server(rapid.IntRange(1, 4).Draw(rt, "server"))
	h.n.Enter = func([]byte) ident.Server { return at }
	h.check(hubtest.Whole(h.n.Send(packet)))
	h.n.Enter = nil
}

func (h *history) timer(rt *rapid.T) {
	h.T = rt
	h.n.Now = h.n.Now.Add(time.Duration(rapid.SampledFrom([]int64{0, 1, int64(5 * time.Second), int64(30 * time.Second), int64(4 * time.Minute), int64(9 * time.Hour)}).Draw(rt, "ahead")))
	if rapid.Bool().Draw(rt, "sweep") {
		h.n.Timer()
	}
	h.check(nil)
}

// reconfigure takes servers and on-ramps away and brings them back.
func (h *history) reconfigure(rt *rapid.T) {
	h.T = rt
	full := hubtest.Options{Sites: 4, Edit: tenantsAndSites}.Config()
	which := rapid.IntRange(0, 3).Draw(rt, "which")
	what := rapid.IntRange(0, 4).Draw(rt, "what")
	h.n.Reconfigure(func(c *hub.Config) {
		switch what {
		case 0:
			if which%2 == 1 { // server 1 and 3 stay, so that every datacenter has one
				c.Change(c.Servers[which].Name, func(s *hub.Server) { s.Live = !s.Live })
			}
		case 1:
			if which == 2 { // no route names it
				i := slices.IndexFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.ID == 3 })
				if i >= 0 {
					c.OnRamps = slices.Delete(c.OnRamps, i, i+1)
				} else {
					c.OnRamps = append(c.OnRamps, full.OnRamps[2])
				}
			}
		case 2:
			i := which % len(c.OnRamps)
			c.OnRamps[i].ARR = !c.OnRamps[i].ARR
		case 4:
			c.Tenants = slices.Clone(c.Tenants)
			if p := &c.Tenants[0].Policies; p.Firewall == nil {
				*p = someBlocked
			} else {
				*p = policy.Policies{}
			}
		case 3:
			if len(c.Routes) > 0 {
				c.Routes = c.Routes[1:]
			} else {
				c.Routes = full.Routes
			}
		}
	})
	h.n.Timer() // what ended is told with the next call
	h.check(nil)
}

// TestInvariants lives through random histories.
func TestInvariants(t *testing.T) { rapid.Check(t, invariants) }

// FuzzInvariants lives through histories that coverage guides, from random ones
// on.
func FuzzInvariants(f *testing.F) {
	rng := rand.NewChaCha8([32]byte{7})
	for size := 256; size <= 1<<15; size *= 2 {
		seed := make([]byte, size)
		_, _ = rng.Read(seed) // never fails
		f.Add(seed)
	}
	f.Fuzz(rapid.MakeFuzz(invariants))
}

func invariants(rt *rapid.T) {
	h := newHistory(rt)
	rt.Repeat(map[string]func(*rapid.T){
		"site": h.fromSite, "site again": h.fromSite, "reply": h.reply, "reply again": h.reply,
		"junk": h.junk, "timer": h.timer, "reconfigure": h.reconfigure,
	})
	h.T = rt
	for _, hb := range h.n.Hubs {
		var out hub.Out
		hb.Close(h.n.Now, &out)
		h.n.Events = append(h.n.Events, out.Events...)
	}
	h.read()
	if len(h.live) != 0 {
		rt.Fatalf("%d sessions have no end", len(h.live))
	}
}
