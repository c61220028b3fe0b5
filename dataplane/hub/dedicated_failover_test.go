package hub_test

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
)

// down takes a datacenter's servers out, or brings them back.
func down(n *hubtest.Net, dc ident.Datacenter, dead bool) {
	n.Reconfigure(func(c *hub.Config) {
		for i := range c.Servers {
			if c.Servers[i].Datacenter == dc {
				c.Servers[i].Live = !dead
			}
		}
	})
}

// fallbacks are what a policy may do while its primary's place is down: where its
// flows leave then, or why they are refused.
var fallbacks = []struct {
	name     string
	fallback netip.Addr
	dc       ident.Datacenter
	refused  drop.Reason
}{
	{"secondary", inLA, losAngeles, drop.None},
	{"shared pool", netip.IPv4Unspecified(), osaka, drop.None},
	{"none", netip.Addr{}, 0, drop.EgressDown},
}

// TestEG5: while the primary's place is down a policy's flows leave by its
// secondary, by the shared pool, or not at all; IPv6 does not notice. SEMANTICS
// EG-5.
func TestEG5(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8:9::9]:443")
	for _, tt := range fallbacks {
		t.Run(tt.name, func(t *testing.T) {
			n := dedicated(t, rules(policy.Rule{ID: "ours", Action: policy.Dedicated, IPv4: inTokyo, Fallback: tt.fallback}))
			down(n, tokyo, true)
			s, left, back := talk(t, n, 1, syn(hubtest.Web, 40000))
			if s == nil || s.Refused != tt.refused || dcOf(n, left) != tt.dc || back && tt.refused == drop.None && s.Egress.Addr() == inTokyo {
				t.Fatalf("session %+v from server %d, want datacenter %d", s, left, tt.dc)
			}
			if tt.refused != drop.None && s.Close != hub.OriginUnroutable {
				t.Errorf("close reason %v", s.Close)
			}
			if s6, _, _ := talk(t, n, 1, syn(six, 40000)); s6 == nil || !own6.Contains(s6.Egress.Addr()) {
				t.Errorf("IPv6: %+v", s6)
			}
		})
	}
}

// TestEG6: when the primary's place is back new flows return to it, and live ones
// stay where they are. SEMANTICS EG-6.
func TestEG6(t *testing.T) {
	for _, tt := range fallbacks {
		t.Run(tt.name, func(t *testing.T) {
			n := dedicated(t, rules(policy.Rule{ID: "ours", Action: policy.Dedicated, IPv4: inTokyo, Fallback: tt.fallback}))
			down(n, tokyo, true)
			talk(t, n, 1, syn(hubtest.Web, 40000))
			down(n, tokyo, false)
			if s, left, _ := talk(t, n, 1, syn(hubtest.Web, 40001)); s == nil || dcOf(n, left) != tokyo || s.Egress.Addr() != inTokyo {
				t.Errorf("after the return: session %+v from server %d", s, left)
			}
			if tt.refused != drop.None {
				return // nothing lives
			}
			ack := hubtest.IP{Src: netip.AddrPortFrom(hubtest.Till.Addr(), 40000), Dst: hubtest.Web, Payload: []byte("x")}.TCP(hubtest.Flags{ACK: true}, 2, 1001, 0)
			if s, left, back := talk(t, n, 1, ack); s != nil || !back || dcOf(n, left) != tt.dc {
				t.Errorf("the live flow: %+v from server %d, answered %v", s, left, back)
			}
		})
	}
}
