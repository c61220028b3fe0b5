package hub_test

import (
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// TestOX4: what links make of a packet's ECN field on the outside of tunnels and
// hand-overs, the ends inside get: of both directions, at any server, and as it was
// where no link did anything. SEMANTICS OX-4, RFC 6040.
func TestOX4(t *testing.T) {
	const flows = 60
	n := hubtest.New(t, hubtest.Options{ARR: hubtest.All, Datacenters: 2, Servers: 3})
	ecn, handed := pkt.NotECT, false
	n.Origin = func(packet []byte) []byte {
		answer := hubtest.Echo(packet)
		pkt.SetECN(answer, ecn)
		return answer
	}
	for congested, want := range map[bool][4]pkt.ECN{
		true:  {pkt.NotECT: pkt.NotECT, pkt.ECT1: pkt.CE, pkt.ECT0: pkt.CE, pkt.CE: pkt.CE},
		false: {pkt.NotECT: pkt.NotECT, pkt.ECT1: pkt.ECT1, pkt.ECT0: pkt.ECT0, pkt.CE: pkt.CE},
	} {
		n.Wire = nil
		if congested {
			n.Wire = func(packet []byte) { pkt.Mark(packet) }
		}
		for i := range flows {
			ecn = pkt.ECN(i % 4)
			packet := client(i).UDP()
			pkt.SetECN(packet, ecn)
			arrived := n.FromSite(1, packet)
			if len(arrived) != 2 || len(toSites(arrived)) != 1 {
				t.Fatalf("congested %v, flow %d: %d packets arrived, want a question and its answer", congested, i, len(arrived))
			}
			for _, a := range arrived {
				handed = handed || a.Hops > 1
				if _, sound := pkt.ParseOuter(a.Packet); !sound || pkt.ECNOf(a.Packet) != want[ecn] {
					t.Errorf("congested %v, from %d at site %d: %d; sound %v; want %d", congested, ecn, a.Site, pkt.ECNOf(a.Packet), sound, want[ecn])
				}
			}
		}
	}
	if !handed {
		t.Error("no packet was handed over")
	}
}

// TestOX4Dropped: a tunnel's packet that was marked although what is inside
// understands no marks goes nowhere, and is counted as that.
func TestOX4Dropped(t *testing.T) {
	n := alone(t, nil)
	n.Wire = func(packet []byte) { pkt.SetECN(packet, pkt.CE) }
	packet := client(1).UDP()
	for ecn := pkt.NotECT; ecn <= pkt.CE; ecn++ {
		pkt.SetECN(packet, ecn)
		if got := len(n.FromSite(1, packet)); got != min(int(ecn), 1) {
			t.Errorf("%d packets with %d arrived", got, ecn)
		}
	}
	if d := n.Counters().Drops; d[drop.NotECT] != 1 {
		t.Errorf("drops %v, want one not_ect", d)
	}
}
