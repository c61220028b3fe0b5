package hub_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
)

// FuzzHub: whatever comes in a tunnel or from the Internet, the hub does not
// panic, accounts for it once, and sends nothing that is not IP. DESIGN 7.
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
		sum := got.Forwarded + got.Returned + got.HandedOver + got.Routed + got.Answered + got.Held
		for _, n := range got.Drops {
			sum += n
		}
		if got.Packets != 1 || sum != 1 {
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
