package run

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// A tap that did not see every packet is no witness that none left by a port of
// another's.
func TestSlicesNeedAWitness(t *testing.T) {
	for name, tt := range map[string]struct {
		count  probe.EgressCount
		flows  int
		want   string // in the error; empty means none
		events int
	}{
		"all seen":     {probe.EgressCount{Checked: 10}, 10, "", 0},
		"nothing sent": {probe.EgressCount{}, 0, "", 0},
		"outside":      {probe.EgressCount{Checked: 10, Outside: 2, First: netip.MustParseAddrPort("198.51.100.0:1")}, 10, "", 1},
		"overflow":     {probe.EgressCount{Checked: 9, Dropped: 1}, 10, "missed 1 packets", 0},
		"blind":        {probe.EgressCount{}, 10, "saw none of the packets of 10 flows", 0},
	} {
		sink := &record.Memory{}
		r := &runner{sink: sink}
		err := r.slices("lhr.1", tt.count, tt.flows)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if got := r.manifest.Metrics.PortOutsideSlice; got != tt.count.Outside {
			t.Errorf("%s: %d outside, want %d", name, got, tt.count.Outside)
		}
		if got := len(sink.Records().Events); got != tt.events {
			t.Errorf("%s: %d events, want %d", name, got, tt.events)
		}
	}
}

// Servers that divide an address otherwise than the plan says serve every flow, and
// the taps beside them see each packet leave by a port that is not its server's: that
// is judged on the wire, and by nothing that servers say (SEMANTICS SU-3).
func TestLivePortsOutside(t *testing.T) {
	need.Root(t)
	p := loadtest.Plan(t, `version: 1
name: outside
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/32]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
traffic: [{id: ask, from: shop.1.till, to: web, udp: 7, flows: 12, connect: 2s}]
`, "base")
	sink := &record.Memory{}
	r := newRunner(p, sink, Options{AgentArgs: []string{"serve-as-agent"}})
	for i := range p.Servers {
		c := &p.Servers[i].Config
		c.Egress = slices.Clone(c.Egress) // the taps have what was
		c.Egress[0].Owner[1], c.Egress[0].Owner[2] = c.Egress[0].Owner[2], c.Egress[0].Owner[1]
	}
	if err := r.lifetime(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range sink.Records().Flows {
		if f.Result != record.OK {
			t.Errorf("%s#%d: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		}
	}
	if m := r.manifest.Metrics; m.PortsSeen < 12 || m.PortOutsideSlice != m.PortsSeen {
		t.Errorf("%d of %d packets are seen to leave by ports of others, want all", m.PortOutsideSlice, m.PortsSeen)
	}
}
