package hub_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
)

// outerHash is of what all packets of a tunnel have in common: outer source,
// destination and protocol, as an edge router's ECMP sees them.
func outerHash(packet []byte) uint64 {
	return flow.Mix(binary.BigEndian.Uint64(packet[12:]) ^ uint64(packet[9]))
}

// TestOuterKeyIsOnlyWhereTunnelsLand: a tunnel's outer key has a bucket (SEMANTICS
// 5.3), which says which server its packets come to first. That server keeps no
// state of it: it looks at the inner flow, whose own bucket has first and second
// hop. So however often the tunnel's bucket is reassigned, and to whom, a connection
// goes on, by the same egress address and port; and one tunnel's flows spread over
// all servers, and their slices.
func TestOuterKeyIsOnlyWhereTunnelsLand(t *testing.T) {
	const servers, flows = 3, 120
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: servers})
	// tables are the tunnel's buckets before and after each reassignment: every time
	// the server where it landed is taken out.
	landed := map[ident.Server]bool{}
	live := []steer.Server{{ID: 1, Live: true}, {ID: 2, Live: true}, {ID: 3, Live: true}}
	var table *steer.Table
	n.Enter = func(packet []byte) ident.Server {
		if packet[9] != 47 {
			return 1
		}
		at := table.Home(outerHash(packet))
		landed[at] = true
		return at
	}
	var egress [flows]netip.AddrPort
	homes := map[ident.Server]int{}
	for reassigned := range servers {
		table = steer.New(7, live)
		landed = map[ident.Server]bool{}
		for i := range flows {
			packet := client(i).TCP(hubtest.Flags{SYN: reassigned == 0, ACK: reassigned > 0}, 1, uint32(reassigned), 0)
			out := toInternet(n.FromSite(1, packet))
			if len(out) != 1 {
				t.Fatalf("reassigned %d times: flow %d went %+v", reassigned, i, out)
			}
			src := hubtest.Decode(out[0].Packet).Src
			switch {
			case reassigned == 0:
				egress[i] = src
				homes[out[0].Server]++
			case src != egress[i]:
				t.Fatalf("reassigned %d times: flow %d leaves by %v, before by %v", reassigned, i, src, egress[i])
			}
		}
		if len(landed) != 1 {
			t.Fatalf("reassigned %d times: one tunnel landed at %v, want one server", reassigned, landed)
		}
		for i := range live {
			live[i].Live = live[i].Live && !landed[live[i].ID]
		}
	}
	for id := range ident.Server(servers) {
		if homes[id+1] < flows/servers/3 {
			t.Errorf("server %d is home to %d of %d flows of one tunnel", id+1, homes[id+1], flows)
		}
	}
	if c := n.Counters(); c.FlowsStarted != flows {
		t.Errorf("%d flows began, want %d", c.FlowsStarted, flows)
	}
}
