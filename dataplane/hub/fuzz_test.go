package hub_test

import (
	"encoding/binary"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
)

// FuzzHub: whatever comes in a tunnel or from the Internet, the hub does not
// panic, accounts for it once, and sends nothing that is not IPv4. DESIGN 7.
func FuzzHub(f *testing.F) {
	c := hubtest.Options{ARR: hubtest.All, Datacenters: 1}.Config()
	p := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte("payload")}
	for _, inner := range [][]byte{p.UDP(), p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460), p.Ping(), hubtest.Unreachable(hubtest.Till.Addr(), 4, 1400, p.UDP())} {
		f.Add(hubtest.GRE(c.OnRamps[0].Remote, hubtest.Tunnel, nil, inner), uint16(0), false)
		f.Add(inner, uint16(1000), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, segment uint16, internal bool) {
		h, err := hub.New(c)
		if err != nil {
			t.Fatal(err)
		}
		mend(data, 0)
		if len(data) > 44 && data[9] == 47 {
			mend(data, 24)
		}
		var out hub.Out
		in := hub.Packet{Data: data, Internal: internal}
		in.Offload.Segment, in.Offload.Partial = segment, segment%2 == 1
		h.HandlePacket(0, &in, &out)
		got := h.Counters()
		sum := got.Forwarded + got.Returned + got.HandedOver + got.Routed + got.Answered
		for _, n := range got.Drops {
			sum += n
		}
		if got.Packets != 1 || sum != 1 {
			t.Fatalf("counted %+v", got)
		}
		for i := range out.Send {
			if d := out.Send[i].Data; len(d) < 20 || d[0]>>4 != 4 || int(binary.BigEndian.Uint16(d[2:])) != len(d) {
				t.Fatalf("sent %x", d)
			}
		}
		h.Close(1, &out)
		if got := h.Counters(); got.Flows != 0 {
			t.Fatalf("%d flows after Close", got.Flows)
		}
	})
}

// mend makes the IPv4 header at a place right, so that fuzzing gets past it.
func mend(b []byte, at int) {
	if len(b) < at+20 {
		return
	}
	b = b[at:]
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
