package hub_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TestSpeaking: what a customer's router and the datacenter's edge say to each other
// in BGP passes any server as it is, by each session's own tunnel, and is no flow;
// what only looks like it is not let through. SEMANTICS 2.7.
func TestSpeaking(t *testing.T) {
	speaking := hubtest.Options{Edit: func(c *hub.Config) {
		probed(false)(c)
		for i := range c.OnRamps {
			c.OnRamps[i].Probing, c.OnRamps[i].BGP = nil, c.OnRamps[i].ID == 1
		}
	}}
	at := func(last byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{169, 254, 240, last}), port)
	}
	segment := func(from, to netip.AddrPort) []byte { return pkt.AppendSegment(nil, from, to, pkt.SYN, 7, 0) }
	tests := map[string]struct {
		from, to netip.AddrPort
		site     ident.OnRamp // by its tunnel; 0: from the edge
		passes   bool
	}{
		"router dials":             {at(3, 50000), at(2, 179), 1, true},
		"network answers":          {at(2, 179), at(3, 50000), 0, true},
		"router answers":           {at(3, 179), at(2, 50000), 1, true},
		"another port":             {at(3, 50000), at(2, 80), 1, false},
		"another's address":        {at(5, 50000), at(2, 179), 1, false},
		"by another's tunnel":      {at(3, 50000), at(2, 179), 2, false},
		"does not speak":           {at(5, 50000), at(4, 179), 2, false},
		"network, another port":    {at(2, 80), at(3, 50000), 0, false},
		"network, another's":       {at(4, 179), at(3, 50000), 0, false},
		"network to a silent site": {at(4, 179), at(5, 50000), 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n, packet := hubtest.New(t, speaking), segment(tt.from, tt.to)
			want := bytes.Clone(packet)
			var got []hubtest.Arrival
			if tt.site > 0 {
				got = n.FromSite(tt.site, packet)
			} else {
				got = n.Send(packet)
			}
			c := n.Counters()
			if (c.Speaking == 1) != tt.passes {
				t.Fatalf("%d packets passed as BGP, want it to pass: %v", c.Speaking, tt.passes)
			}
			if !tt.passes {
				return
			}
			if c.Flows != 0 || len(got) != 1 || !bytes.Equal(got[0].Packet, want) || c.Drops != [drop.Count]uint64{} {
				t.Errorf("arrived: %+v, want the packet as it was", got)
			}
		})
	}
}
