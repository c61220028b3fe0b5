package hub_test

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
)

// homeOf is whose the bucket of a client of site 1 is now, TCP.
func homeOf(n *hubtest.Net, from hubtest.IP) ident.Server {
	var key flow.Key
	var m pkt.Meta
	m.Parse(from.TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	c := n.ConfigOf(1)
	o := &c.OnRamps[0]
	key.SetForward(o.Tenant, c.ScopeOf(o), route.DefaultVNet, &m)
	return c.Buckets().Home(flow.Hash(c.Seed, &key))
}

// TestReassignment: connections survive one reassignment of their bucket, not two
// (SEMANTICS 5.3); that other buckets were reassigned since costs them nothing. New
// ones are at the new home, while a drained server answers for its slices.
func TestReassignment(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 3})
	const flows = 300
	var egress [flows]netip.AddrPort
	var homes [flows][]ident.Server
	look := func() {
		for i := range homes {
			homes[i] = append(homes[i], homeOf(n, client(i)))
		}
	}
	syn := func(i int) hubtest.Arrival {
		out := toInternet(n.FromSite(1, client(i).TCP(hubtest.Flags{SYN: true}, 1, 0, 0)))
		if len(out) != 1 {
			t.Fatalf("SYN %d went %+v", i, out)
		}
		return out[0]
	}
	for i := range flows {
		egress[i] = hubtest.Decode(syn(i).Packet).Src
	}
	look()
	for _, server := range []int{0, 1} {
		n.Reconfigure(func(c *hub.Config) { c.Drain(c.Servers[server].Name, true) })
		look()
	}
	survived := map[bool]int{}
	for i, h := range homes {
		once := h[0] == h[1] || h[1] == h[2]
		out := toInternet(n.FromSite(1, client(i).TCP(hubtest.Flags{ACK: true}, 2, 2, 0)))
		survives := len(out) == 1 && hubtest.Decode(out[0].Packet).Src == egress[i]
		survived[survives]++
		if survives != once {
			t.Fatalf("flow %d with homes %v: survives %v", i, h, survives)
		}
		reply := hubtest.IP{Src: client(i).Dst, Dst: egress[i]}.TCP(hubtest.Flags{ACK: true}, 2, 2, 0)
		if back := toSites(n.Send(reply)); len(back) != 1 || back[0].Site != 1 {
			t.Fatalf("flow %d with homes %v: its reply went %+v", i, h, back)
		}
	}
	if survived[true] < flows/2 || survived[false] < flows/20 {
		t.Errorf("%d flows survived and %d did not, want some of each", survived[true], survived[false])
	}
	for i := range 20 {
		if got := syn(flows + i).Server; got != 3 {
			t.Fatalf("a new flow is at server %d, want 3, the only one that is not drained", got)
		}
	}
	n.Reconfigure(func(c *hub.Config) { c.Drain(c.Servers[2].Name, true) })
	if got := homeOf(n, client(0)); got != homes[0][0] {
		t.Errorf("with all drained server %d has a bucket of server %d, want all as it was", got, homes[0][0])
	}
}

// TestReassignmentTakesTime: servers learn of it one after the other. Between two
// of which each takes the other for home no packet goes to and fro: one of a flow
// stays where that is, and one that opens a flow with who is home by now.
func TestReassignmentTakesTime(t *testing.T) {
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 1, Servers: 3})
	const flows = 100
	for i := range flows {
		n.FromSite(1, client(i).TCP(hubtest.Flags{SYN: true}, 1, 0, 0))
	}
	before := n.Config
	n.Reconfigure(func(c *hub.Config) { c.Drain(c.Servers[0].Name, true) })
	old := before
	old.Self, old.Epoch = 2, n.Config.Epoch
	if err := n.Hubs[2].Reconfigure(n.Now, old); err != nil { // it has not heard of it
		t.Fatal(err)
	}
	for i := range flows {
		for _, f := range []struct {
			what   string
			packet []byte
		}{{"ACK", client(i).TCP(hubtest.Flags{ACK: true}, 2, 2, 0)}, {"SYN", client(flows+i).TCP(hubtest.Flags{SYN: true}, 1, 0, 0)}} {
			for enter := range ident.Server(3) {
				n.Enter = at(enter + 1)
				if out := toInternet(n.FromSite(1, f.packet)); len(out) != 1 {
					t.Fatalf("%s of flow %d by server %d went %+v", f.what, i, enter+1, out)
				}
			}
		}
	}
	if c := n.Counters(); c.Drops[drop.HopLimit] != 0 {
		t.Errorf("%d packets went to and fro", c.Drops[drop.HopLimit])
	}
}
