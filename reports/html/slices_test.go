package html

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/reports/record"
)

// TestMarks: of each server, address and destination the most sessions that were
// open at once, and the site that had most of them; when the first was refused.
func TestMarks(t *testing.T) {
	session := func(server, ramp string, start, end int64) record.Session {
		return record.Session{EgressServer: server, EgressIP: "198.51.100.1", Protocol: "TCP", OriginIP: "203.0.113.9", OriginPort: 443, OnRamp: ramp, StartNs: start, EndNs: end}
	}
	rec := &record.Records{Run: record.Run{Variant: "base", Topology: record.Topology{
		Nodes: []record.TopologyNode{{ID: "shop.1.router", Site: "shop.1"}, {ID: "shop.2.router", Site: "shop.2"}},
		Links: []record.TopologyLink{{ID: "shop.1.wan", A: "shop.1.router", Kind: "gre"}, {ID: "shop.2.wan", A: "shop.2.router", Kind: "gre"}},
	}}}
	rec.Sessions = []record.Session{
		session("lhr.1", "shop.1.wan", 1, 10), session("lhr.1", "shop.1.wan", 2, 5), session("lhr.1", "shop.2.wan", 4, 0),
		session("lhr.1", "shop.1.wan", 5, 9), // one ends as it begins
		session("lhr.2", "shop.2.wan", 1, 2),
	}
	if got, telling := marks([]*record.Records{rec}); telling || len(got) != 2 {
		t.Errorf("%v, telling %v, want both servers', and that they are nearly empty", got, telling)
	}
	late, first := session("", "shop.1.wan", 8, 8), session("", "shop.2.wan", 6, 6)
	late.Refused, first.Refused = "ports_exhausted", "ports_exhausted"
	late.ConnectionCloseReason, first.ConnectionCloseReason = "EGRESS_PORT_ALLOCATION_ERROR", "EGRESS_PORT_ALLOCATION_ERROR"
	other := first
	other.OriginPort = 80
	rec.Sessions = append(rec.Sessions, late, first, other)
	want := []mark{
		{Run: "base", Server: "lhr.1", Address: "198.51.100.1", Destination: "TCP 203.0.113.9:443", Most: 3, AtNs: 4, Site: "shop.1", SiteMost: 2, Refused: 2, FirstNs: 6, Cause: "EGRESS_PORT_ALLOCATION_ERROR"},
		{Run: "base", Server: "lhr.2", Address: "198.51.100.1", Destination: "TCP 203.0.113.9:443", Most: 1, AtNs: 1, Site: "shop.2", SiteMost: 1, Refused: 2, FirstNs: 6, Cause: "EGRESS_PORT_ALLOCATION_ERROR"},
	}
	got, telling := marks([]*record.Records{rec})
	if diff := cmp.Diff(want, got); diff != "" || !telling {
		t.Errorf("telling %v, (-want +got):\n%s", telling, diff)
	}
	for _, tt := range []struct {
		most, all int
		want      string
	}{{2048, 2048, "the slice was full"}, {1290, 40_000, "the address had 40000"}, {1290, 39_999, ""}} {
		m := mark{Most: tt.most}
		if m.refusals([]*record.Session{&first}, tt.all); m.Bound != tt.want {
			t.Errorf("%d of a slice and %d of the address: %q, want %q", tt.most, tt.all, m.Bound, tt.want)
		}
		m = mark{Most: tt.most}
		if m.refusals(nil, tt.all); m.Bound != "" {
			t.Errorf("nobody was refused, and %q", m.Bound)
		}
	}
	rec.Run.Metrics = record.Metrics{PortsSeen: 70, PortOutsideSlice: 1}
	if diff := cmp.Diff([]ports{{"base", 70, 1}}, portsOf([]*record.Records{rec, {}})); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}
