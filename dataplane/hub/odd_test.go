package hub_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/internal/need"
)

// oddPackets are packets that nobody here made: fragments, options, nested
// tunnels and lies about length, each from its IP header on.
func oddPackets(t *testing.T) (all [][]byte) {
	t.Helper()
	name := filepath.Join(need.Data(t), "packets", "odd-suricata-verify.pcap.xz")
	unpacked, err := exec.Command(need.Tool(t, "xz"), "--decompress", "--stdout", name).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	r, err := pcapgo.NewReader(bytes.NewReader(unpacked))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for {
		packet, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: packet %d: %v", name, len(all)+1, err)
		}
		all = append(all, packet)
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no packets", name)
	}
	return all
}

// oddities sends packets through a network of two sites that have ARR and no
// routes, so that whatever comes to a site is an answer to that very site.
type oddities struct {
	*testing.T
	n *hubtest.Net
	// label says which packet is under way.
	label string
}

func newOddities(t *testing.T) *oddities {
	return &oddities{T: t, n: hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Edit: func(c *hub.Config) {
		c.Tunnels = append(c.Tunnels, hubtest.Tunnel6)
		six := hubtest.Options{Outer6: true}.Config().OnRamps[1]
		c.OnRamps[1].Local, c.OnRamps[1].Remote = six.Local, six.Remote
		c.Tunnels = slices.Compact(c.Tunnels)
	}})}
}

// came checks that nothing came to any site but those that may get something,
// and that every hub accounts for every packet once.
func (o *oddities) came(arrived []hubtest.Arrival, may ...ident.OnRamp) {
	o.Helper()
	for _, a := range toSites(arrived) {
		if !slices.Contains(may, a.Site) {
			o.Fatalf("%s: site %d got %x, which is for %v", o.label, a.Site, a.Packet, may)
		}
	}
	for id, h := range o.n.Hubs {
		if c := h.Counters(); accounted(&c) != c.Packets || c.Drops[drop.None] != 0 {
			o.Fatalf("%s: server %d got %d packets and accounts for %d: %+v", o.label, id, c.Packets, accounted(&c), c)
		}
	}
}

// accounted is the packets that a hub says it has dealt with.
func accounted(c *hub.Counters) uint64 {
	sum := c.Forwarded + c.Returned + c.HandedOver + c.Delivered + c.Routed + c.Speaking + c.Answered + c.Held
	for _, n := range c.Drops {
		sum += n
	}
	return sum
}

// both sends a packet from both sites, then as if each origin sent the same
// back.
func (o *oddities) both(packet []byte) {
	o.Helper()
	for site := ident.OnRamp(1); site <= 2; site++ {
		out := o.n.FromSite(site, packet)
		o.came(out, site)
		for _, a := range toInternet(out) {
			o.came(o.n.Send(turned(a.Packet)), site)
		}
	}
}

// fromOutside sends a packet as it is, and to a port of an egress address.
func (o *oddities) fromOutside(packet []byte, port uint16) {
	o.Helper()
	o.came(o.n.Send(packet))
	aimed := slices.Clone(packet)
	for i := range o.n.Config.Egress {
		a := &o.n.Config.Egress[i]
		switch {
		case a.Addr.Is4() && len(aimed) >= 20 && aimed[0]>>4 == 4:
			copy(aimed[16:], a.Addr.AsSlice())
		case a.Addr.Is6() && len(aimed) >= 40 && aimed[0]>>4 == 6:
			copy(aimed[24:], a.Addr.AsSlice())
		default:
			continue
		}
		if head := headerOf(aimed); len(aimed) >= head+4 {
			binary.BigEndian.PutUint16(aimed[head+2:], port)
		}
		// Nobody asks at these ports but by a chance of the mutation, and then
		// both sites may.
		o.came(o.n.Send(aimed), 1, 2)
		mend(aimed)
		o.came(o.n.Send(aimed), 1, 2)
	}
}

func headerOf(packet []byte) int {
	if packet[0]>>4 == 6 {
		return 40
	}
	return int(packet[0]&0xf) * 4
}

// toWeb is a packet as if a till had sent it to an origin on the Internet: other
// addresses, and an IP header sum that is as right or wrong as it was.
func toWeb(packet []byte) []byte {
	p := slices.Clone(packet)
	f, at := hubtest.Families()[0], 12
	switch {
	case len(p) >= 40 && p[0]>>4 == 6:
		f, at = six(), 8
	case len(p) < 20 || p[0]>>4 != 4:
		return p
	}
	addresses := append(f.Till.Addr().AsSlice(), f.Web.Addr().AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(addresses); i += 2 { // RFC 1624, equation 3
		sum += uint32(^binary.BigEndian.Uint16(p[at+i:])) + uint32(binary.BigEndian.Uint16(addresses[i:]))
	}
	copy(p[at:], addresses)
	if p[0]>>4 == 4 {
		for sum += uint32(^binary.BigEndian.Uint16(p[10:])); sum>>16 != 0; {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	}
	return p
}

// turned is a packet as its receiver might send it back: source and destination
// in each other's place, ports too, which leaves every checksum as good as it
// was.
func turned(packet []byte) []byte {
	p := slices.Clone(packet)
	at, size := 12, 4
	if p[0]>>4 == 6 {
		at, size = 8, 16
	}
	swap(p[at:], size)
	if head := headerOf(p); len(p) >= head+4 {
		switch p[at-3] {
		case 6, 17:
			swap(p[head:], 2)
		case 1: // a request becomes a reply; the sum counts the type
			if p[head] == 8 {
				p[head] = 0
				sum := uint32(binary.BigEndian.Uint16(p[head+2:])) + 0x0800
				binary.BigEndian.PutUint16(p[head+2:], uint16(sum+sum>>16))
			}
		}
	}
	return p
}

func swap(b []byte, size int) {
	for i := range size {
		b[i], b[size+i] = b[size+i], b[i]
	}
}

// TestOddPackets: packets from other people's collections of trouble go through
// the hubs as a site's, as replies, and from the Internet: none panics, each is
// accounted for once, and no site gets what it did not ask for.
func TestOddPackets(t *testing.T) {
	all := oddPackets(t)
	o := newOddities(t)
	for i, packet := range all {
		o.label = fmt.Sprint("packet ", i+1)
		o.both(packet)
		o.both(toWeb(packet))
		o.fromOutside(packet, 2048+uint16(i))
		o.n.Now = o.n.Now.Add(time.Millisecond)
	}
	c := o.n.Counters()
	if c.Forwarded < uint64(len(all))/4 || c.Returned == 0 || c.Held == 0 || c.Answered == 0 {
		t.Errorf("of %d packets too few got anywhere: %+v", len(all), c)
	}
	t.Logf("%d packets: %d hub visits, %d forwarded, %d returned, %d answered, %d held", len(all), c.Packets, c.Forwarded, c.Returned, c.Answered, c.Held)
	for r, n := range c.Drops {
		if n > 0 {
			t.Logf("dropped %d %v", n, drop.Reason(r))
		}
	}
}

// TestOddPacketsMutated: the same packets with bytes changed, cut off or put on,
// header sums mended or not.
func TestOddPacketsMutated(t *testing.T) {
	all := oddPackets(t)
	o := newOddities(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 * len(all) {
		packet := slices.Clone(all[round%len(all)])
		for range 1 + rng.IntN(4) {
			packet[rng.IntN(min(len(packet), 80))] = byte(rng.Uint32())
		}
		switch rng.IntN(4) {
		case 0:
			packet = packet[:1+rng.IntN(len(packet))]
		case 1:
			packet = append(packet, make([]byte, rng.IntN(64))...)
		}
		if rng.IntN(3) > 0 {
			mend(packet)
		}
		o.label = fmt.Sprint("mutation ", round)
		o.both(packet)
		o.both(toWeb(packet))
		o.fromOutside(packet, uint16(rng.Uint32()))
		o.n.Now = o.n.Now.Add(50 * time.Millisecond)
		if round%100 == 0 {
			o.n.Timer()
			o.n.Events = o.n.Events[:0]
		}
	}
	if c := o.n.Counters(); c.Forwarded == 0 || c.Returned == 0 || c.ReassemblyTimeouts == 0 {
		t.Errorf("too few got anywhere: %+v", c)
	}
}

// insideRamps gives a network an interconnect and a connector, on-ramps 3 and 4.
func insideRamps(c *hub.Config) {
	unconnected := netip.MustParseAddr("198.18.0.2")
	c.Unconnected = []netip.Addr{unconnected}
	c.OnRamps = append(slices.Clone(c.OnRamps[:2]),
		hub.OnRamp{ID: 3, Name: "plant.wan", Tenant: 1, VNet: 1, Scope: 3, Kind: tunnel.Interconnect, Local: unconnected, Remote: netip.MustParseAddr("172.31.1.254"), ARR: true},
		hub.OnRamp{ID: 4, Name: "lab.mesh", Tenant: 1, VNet: 1, Scope: 4, Kind: tunnel.Connector, Local: hubtest.Tunnel, Registration: hub.Registration{15: 4}, ARR: true})
}

// oneWithRamps is a server alone with insideRamps, its connector connected as
// port 1.
func oneWithRamps(t testing.TB) *hub.Hub {
	t.Helper()
	h, err := hub.New(hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1, Edit: insideRamps}.Config())
	if err != nil {
		t.Fatal(err)
	}
	context := tunnel.Context{Kind: tunnel.Connector, Tenant: 1, Registration: [16]byte{15: 4}}
	first, err := context.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out hub.Out
	h.HandlePacket(0, &hub.Packet{Data: first, Port: 1}, &out)
	if len(out.Hangup) != 0 {
		t.Fatal("the connector was refused")
	}
	return h
}

// interconnected wraps a packet as the edge does with those of on-ramp 3.
func interconnected(h *hub.Hub, packet []byte) []byte {
	r := h.Config().OnRamps[2]
	gue := tunnel.Encap{Proto: tunnel.ViaGUE, Src: r.Remote, Dst: r.Local, SrcPort: 50000, DstPort: tunnel.GUEPort, Context: tunnel.GUEContext{Tenant: 1, OnRamp: 3}}
	return gue.Append(nil, packet)
}

// TestOddPacketsInside: the same packets through an interconnect and a
// connector: what a tunnel with a context carries is no better than what GRE
// does. OX-1, OX-3.
func TestOddPacketsInside(t *testing.T) {
	h, total := oneWithRamps(t), uint64(1)
	for n, odd := range oddPackets(t) {
		for _, packet := range [][]byte{odd, toWeb(odd)} {
			for i, in := range []hub.Packet{{Data: interconnected(h, packet), Internal: true}, {Data: slices.Clone(packet), Port: 1}} {
				ramp := ident.OnRamp(3 + i)
				var out hub.Out
				h.HandlePacket(vt.Instant(n)*vt.Instant(time.Millisecond), &in, &out)
				total++
				for j := range out.Send {
					s := &out.Send[j]
					outside := s.Port == 0 && s.Encap.IsZero()
					back := ramp == 3 && s.Encap.Context.OnRamp == 3 && s.Encap.Context.Return || ramp == 4 && s.Port == 1
					if !outside && !back {
						t.Fatalf("packet %d from on-ramp %d went to port %d, %+v", n+1, ramp, s.Port, s.Encap)
					}
				}
			}
		}
	}
	c := h.Counters()
	if c.Packets != total || accounted(&c) != total || c.Forwarded < 100 || len(slices.Collect(h.Sessions())) < 20 {
		t.Errorf("of %d packets: %+v", total, c)
	}
}
