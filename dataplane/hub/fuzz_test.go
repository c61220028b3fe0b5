package hub_test

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// FuzzHub: whatever comes in a tunnel or from the Internet, the hub does not
// panic, accounts for it once, and sends nothing that is not IP.
func FuzzHub(f *testing.F) {
	outer6 := hubtest.Options{Outer6: true}.Config().OnRamps[1]
	c := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Edit: func(c *hub.Config) {
		c.OnRamps[1].Local, c.OnRamps[1].Remote = outer6.Local, outer6.Remote
	}}.Config()
	ramp := c.OnRamps[0]
	for _, ip := range hubtest.Families() {
		p := hubtest.IP{Src: ip.Till, Dst: ip.Web, Payload: []byte("payload")}
		late, long := p, p
		late.TTL = 1
		long.Before = []hubtest.Extension{{Bytes: []byte{0, 0, 1, 4, 0, 0, 0, 0}}, {Proto: 43, Bytes: make([]byte, 8)}, {Proto: 60, Bytes: []byte{0, 0, 1, 4, 0, 0, 0, 0}}}
		to := hubtest.IP{Src: ip.Web, Dst: ip.Till}
		for _, a := range c.Egress {
			if a.Addr.Is4() == ip.Web.Addr().Is4() {
				to.Dst = netip.AddrPortFrom(a.Addr, 2048)
			}
		}
		for _, inner := range [][]byte{
			p.UDP(), p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460), p.Ping(), p.Pong(), late.UDP(), long.UDP(),
			hubtest.Unreachable(ip.Till.Addr(), 4, 1400, p.UDP()), to.UDP(), hubtest.Unreachable(ip.Router, 4, 1300, to.UDP()),
		} {
			f.Add(hubtest.GRE(ramp.Remote, hubtest.Tunnel, nil, inner), uint16(0), false)
			f.Add(hubtest.GRE(outer6.Remote, hubtest.Tunnel6, nil, inner), uint16(0), false)
			f.Add(inner, uint16(1000), true)
			if len(inner) > 60 {
				continue
			}
			f.Add(hubtest.GRE(ramp.Remote, hubtest.Tunnel, nil, hubtest.Cut(inner, 16, 1)[0]), uint16(0), false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, segment uint16, internal bool) {
		h, err := hub.New(c)
		if err != nil {
			t.Fatal(err)
		}
		mend(data)
		switch {
		case len(data) > 24 && data[0]>>4 == 4 && data[9] == 47:
			mend(data[24:])
		case len(data) > 44 && data[0]>>4 == 6 && data[6] == 47:
			mend(data[44:])
		}
		var out hub.Out
		in := hub.Packet{Data: data, Internal: internal}
		in.Offload.Segment, in.Offload.Partial = segment, segment%2 == 1
		h.HandlePacket(0, &in, &out)
		got := h.Counters()
		if got.Packets != 1 || accounted(&got) != 1 {
			t.Fatalf("counted %+v", got)
		}
		for i := range out.Send {
			d := out.Send[i].Data
			four := len(d) >= 20 && d[0]>>4 == 4 && int(binary.BigEndian.Uint16(d[2:])) == len(d)
			six := len(d) >= 40 && d[0]>>4 == 6 && int(binary.BigEndian.Uint16(d[4:]))+40 == len(d)
			if !four && !six {
				t.Fatalf("sent %x", d)
			}
		}
		h.Close(1, &out)
		if got := h.Counters(); got.Flows != 0 {
			t.Fatalf("%d flows after Close", got.Flows)
		}
	})
}

// FuzzInside: whatever an interconnect or a connector sends, wrapped by the
// network's own or in a connected tunnel from inside, and whatever a datagram to
// the ports of these tunnels holds: accounted for once, and nothing leaves by
// another on-ramp. OX-1, OX-3.
func FuzzInside(f *testing.F) {
	const ways = 4
	one := oneWithRamps(f)
	server := one.Config().Servers[0].Handover
	for _, ip := range hubtest.Families() {
		p := hubtest.IP{Src: ip.Till, Dst: ip.Web, Payload: []byte("payload")}
		late, private := p, p
		late.TTL, private.Dst = 1, netip.AddrPortFrom(ip.Private, 80)
		for _, inner := range [][]byte{
			p.UDP(), p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460), p.TCP(hubtest.Flags{ACK: true}, 1, 0, 0), p.Ping(), p.Pong(), late.UDP(), private.UDP(),
			hubtest.Unreachable(ip.Till.Addr(), 4, 1400, p.UDP()), hubtest.Cut(p.UDP(), 8, 1)[0], {}, {0x45},
		} {
			for way := range uint8(ways) {
				f.Add(inner, way, way%2 == 0)
			}
		}
	}
	for _, context := range []tunnel.Context{{Kind: tunnel.Connector, Tenant: 1, Registration: [16]byte{15: 4}}, {Kind: tunnel.Device, Tenant: 1, VNet: 9, Registration: [16]byte{15: 4}, User: "ana", Country: "DE", Token: make([]byte, 32)}} {
		datagram, err := context.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		for way := range uint8(ways) {
			f.Add(datagram, way, false)
			f.Add(datagram[:len(datagram)-1], way, false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, way uint8, mended bool) {
		h := oneWithRamps(t)
		if mended {
			mend(data)
		}
		in := hub.Packet{Internal: true}
		outer := tunnel.Encap{Proto: tunnel.ViaUDP, Src: netip.MustParseAddr("192.88.99.1"), Dst: hubtest.Tunnel, SrcPort: 50000, DstPort: tunnel.ConnectedPort}
		switch way % ways {
		case 0:
			in.Data = interconnected(h, data)
		case 1:
			in.Data, in.Port = data, 1
		case 2:
			in.Data = outer.Append(nil, data)
		case 3:
			outer.Dst, outer.DstPort = server, tunnel.GUEPort
			in.Data = outer.Append(nil, data)
		}
		var out hub.Out
		h.HandlePacket(0, &in, &out)
		if c := h.Counters(); c.Packets != 2 || accounted(&c) != 2 || c.Drops[drop.None] != 0 {
			t.Fatalf("counted %+v", c)
		}
		for i := range out.Send {
			s := &out.Send[i]
			back := way%ways == 0 && s.Encap.Context.OnRamp == 3 || way%ways == 1 && s.Port == 1 || way%ways == 2 && s.Encap.Dst == outer.Src
			if !back && (s.Port != 0 || !s.Encap.IsZero()) {
				t.Fatalf("way %d: sent to port %d, %+v", way%ways, s.Port, s.Encap)
			}
		}
	})
}

// FuzzConfig: whatever is read as a configuration makes a hub or an error that
// says it is the hub's, never both.
func FuzzConfig(f *testing.F) {
	for _, edit := range []func(*hub.Config){func(*hub.Config) {}, insideRamps, tenantsAndSites} {
		text, err := json.Marshal(hubtest.Options{Sites: 4, ARR: hubtest.All, Edit: edit}.Config())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"self":1,"servers":[{"id":1,"datacenter":1,"handover":"172.31.1.1"}]}`))
	f.Add([]byte(`{"countries":[{"prefix":"","code":""}],"sources":[{}],"unconnected":[""],"tunnels":[""],"onramps":[{}],"routes":[{}],"egress":[{}],"tenants":[{"vnets":[{}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c hub.Config
		if json.Unmarshal(text, &c) != nil || c.Bounds.Fragmented > 1<<12 || c.Bounds.FragmentBytes > 1<<24 {
			return
		}
		h, err := hub.New(c)
		if (h == nil) == (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "hub: ") {
			t.Fatalf("a hub %v and error %v", h != nil, err)
		}
		if err != nil {
			return
		}
		if err := h.Reconfigure(0, c); err != nil {
			t.Fatalf("its own configuration: %v", err)
		}
		packet := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP()
		var out hub.Out
		for _, r := range c.OnRamps {
			if r.Kind == tunnel.GRE && r.Local.Is4() {
				h.HandlePacket(0, &hub.Packet{Data: hubtest.GRE(r.Remote, r.Local, r.Key, packet)}, &out)
			}
		}
		if got := h.Counters(); accounted(&got) != got.Packets {
			t.Fatalf("counted %+v", got)
		}
	})
}

// mend makes an IP header right, so that fuzzing gets past it: what is not IPv6
// becomes IPv4.
func mend(b []byte) {
	if len(b) >= 40 && b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return
	}
	if len(b) < 20 {
		return
	}
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[10], b[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
}
