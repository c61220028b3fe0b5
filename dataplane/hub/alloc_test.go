package hub_test

import (
	"bytes"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/policy"
)

// TestNoAllocations: a packet of a live flow, its reply, a hand-over and a drop
// allocate nothing, which `homeward bench hub` prints as hub.hit_allocs.
func TestNoAllocations(t *testing.T) { hubtest.EachFamily(t, testNoAllocations) }

func testNoAllocations(t *testing.T, f hubtest.Family) {
	quiet := func(c *hub.Config) {
		c.Trace = false
		c.Tenants[0].Policies.Network = []policy.Rule{{ID: "all", Action: policy.Allow}}
	}
	alone := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 1, Edit: quiet}
	c := alone.Config()
	h, err := hub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	p := hubtest.IP{Src: f.Till, Dst: f.Web, Payload: []byte("data")}
	up := func(flags hubtest.Flags, seq, ack uint32) []byte {
		return hubtest.GRE(c.OnRamps[0].Remote, hubtest.Tunnel, nil, p.TCP(flags, seq, ack, 0))
	}
	var out hub.Out
	h.HandlePacket(0, &hub.Packet{Data: up(hubtest.Flags{SYN: true}, 1, 0)}, &out)
	egress := hubtest.Decode(out.Send[0].Data).Src
	down := func(flags hubtest.Flags, seq, ack uint32) []byte {
		return hubtest.IP{Src: f.Web, Dst: egress, Payload: []byte("data")}.TCP(flags, seq, ack, 0)
	}
	out.Reset()
	h.HandlePacket(0, &hub.Packet{Data: down(hubtest.Flags{SYN: true, ACK: true}, 1, 2)}, &out)

	// The same network with more servers: most of this goes to another's home.
	pair := hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 2, Edit: quiet}.Config()
	pair.Servers[0].Live = false
	elsewhere, err := hub.New(pair)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		h      *hub.Hub
		packet []byte
		sends  int
	}{
		{"hit", h, up(hubtest.Flags{ACK: true}, 2, 2), 1},
		{"return", h, down(hubtest.Flags{ACK: true}, 2, 2), 1},
		{"hand-over", elsewhere, up(hubtest.Flags{ACK: true}, 2, 2), 1},
		{"no flow", h, hubtest.IP{Src: f.Till, Dst: egress}.UDP(), 0},
		{"orphan", h, hubtest.GRE(c.OnRamps[1].Remote, hubtest.Tunnel, nil, p.TCP(hubtest.Flags{ACK: true}, 1, 1, 0)), 0},
		{"junk", h, []byte{0x45, 1, 2, 3}, 0},
	}
	for _, tt := range tests {
		for _, batch := range []bool{false, true} {
			data := bytes.Clone(tt.packet)
			in := []hub.Packet{{Data: data}}
			n := testing.AllocsPerRun(200, func() {
				out.Reset()
				copy(data, tt.packet)
				if batch {
					tt.h.HandleBatch(1, in, &out)
				} else {
					tt.h.HandlePacket(1, &in[0], &out)
				}
			})
			if n != 0 || len(out.Send) != tt.sends {
				t.Errorf("%s, batch %v: %v allocations, %d packets sent, want 0 and %d", tt.name, batch, n, len(out.Send), tt.sends)
			}
		}
	}
}
