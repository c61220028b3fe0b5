package load_test

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Within so much of each other are the two levels: a share of flows.
const (
	sameBlocking = 0.01
	sameLanding  = 0.02
)

// TestWorkloadOnBothLevels: one file, whose workload the packet level plays packet by
// packet and the flow level without any: as many flows, landing in the same
// datacenters, and as many refused.
func TestWorkloadOnBothLevels(t *testing.T) {
	for _, tt := range []struct {
		rate, on string
		blocked  bool
	}{{"400", "refuse", true}, {"400", "another_server", true}, {"150", "refuse", false}} {
		sets := []spec.Setting{{Path: "workload.rush.rate", Value: tt.rate}, {Path: "workload.rush.for", Value: "12s"}, {Path: "account.on_exhaustion", Value: tt.on}}
		p := loadtest.Shipped(t, "rush_hour", spec.Base, sets...)
		var m record.Memory
		if err := run.Run(context.Background(), p, &m, run.Options{}); err != nil {
			t.Fatal(err)
		}
		model, err := load.New(loadtest.ShippedScenario(t, "rush_hour", spec.Base, sets...), nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := model.Run(1)
		if err != nil {
			t.Fatal(err)
		}
		flows, refused, at := 0.0, 0.0, map[string]float64{}
		for _, f := range m.Records().Flows {
			flows++
			at[f.IngressDC]++
			if f.Result != record.OK {
				refused++ // whom the last server of a ring refuses is not told, and gives up
			}
		}
		same := func(what string, packets, flows, within float64) {
			if math.Abs(packets-flows) > within {
				t.Errorf("%s/%s: %s is %.4f with packets and %.4f without, want them within %v", tt.rate, tt.on, what, packets, flows, within)
			}
		}
		same("blocked", refused/flows, value(t, o, "blocked"), sameBlocking)
		for _, dc := range []string{"lhr", "fra"} {
			same("landing."+dc, at[dc]/flows, value(t, o, "landing."+dc), sameLanding)
		}
		same("offered", 1, value(t, o, "offered")*12/flows, 3/math.Sqrt(flows))
		if got := refused > 0; got != tt.blocked {
			t.Errorf("%s/%s: %v of %v flows are refused", tt.rate, tt.on, refused, flows)
		}
		t.Logf("%s/%s: %v flows, blocked %.4f with packets, %.4f without", tt.rate, tt.on, flows, refused/flows, value(t, o, "blocked"))
	}
}

// TestHostsLandElsewhere: hosts whose datacenter fails are the nearest one's.
func TestHostsLandElsewhere(t *testing.T) {
	s := loadtest.ShippedScenario(t, "rush_hour", spec.Base)
	s.Faults = []spec.Fault{{ID: "f", Do: spec.Drain, On: "fra"}}
	m, err := load.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := m.Run(1)
	if err != nil {
		t.Fatal(err)
	}
	if lhr, moved := value(t, o, "landing.lhr"), value(t, o, "moved"); lhr != 1 || math.Abs(moved-1./3) > 1e-9 {
		t.Errorf("%v land in London, %v moved; want 1 and a third", lhr, moved)
	}
}

// TestWorkloadsOfHostsRefuse: what the flow level would count wrongly it refuses.
func TestWorkloadsOfHostsRefuse(t *testing.T) {
	for path, edit := range map[string]func(*spec.Scenario){
		"accounts": func(s *spec.Scenario) { s.Accounts = []spec.Account{{ID: "b"}, {ID: "c"}} },
		"workload.rush.to": func(s *spec.Scenario) {
			to := &s.Sites[1]
			to.Lan, to.Gateway, to.Hosts = netip.MustParsePrefix("10.0.2.0/24"), netip.Addr{}, map[string]spec.Host{"till": {Address: netip.MustParseAddr("10.0.2.5")}}
			s.Workload[0].From, s.Workload[0].To, s.Workload[0].Popularity = "shop.1.till", "shop.2.till", spec.Popularity{}
		},
		"workload.again.to": func(s *spec.Scenario) {
			w := s.Workload[0]
			w.ID = "again"
			s.Workload = append(s.Workload, w)
		},
	} {
		s := loadtest.ShippedScenario(t, "rush_hour", spec.Base)
		edit(s)
		var unsupported *load.Unsupported
		if _, err := load.New(s, nil); !errors.As(err, &unsupported) || unsupported.Path != path {
			t.Errorf("%v, want %s refused", err, path)
		}
	}
}

// TestWhoClosesDecidesAProxysPorts (SEMANTICS 5.5): a translated pair is held whoever
// closed; a proxy's own socket only if it closed first, as it does when its client has.
func TestWhoClosesDecidesAProxysPorts(t *testing.T) {
	blocked := func(datapath, closes string) float64 {
		s := loadtest.ShippedScenario(t, "rush_hour", spec.Base,
			spec.Setting{Path: "workload.rush.rate", Value: "320"}, spec.Setting{Path: "workload.rush.for", Value: "12s"},
			spec.Setting{Path: "workload.rush.close", Value: closes}, spec.Setting{Path: "datapath", Value: datapath})
		m, err := load.New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := m.Run(1)
		if err != nil {
			t.Fatal(err)
		}
		return value(t, o, "blocked")
	}
	nat := blocked("nat", "client")
	if nat == 0 || blocked("nat", "server") != nat || blocked("nat", "either") != nat {
		t.Errorf("a translated port is held whoever closes: %v, %v, %v", nat, blocked("nat", "server"), blocked("nat", "either"))
	}
	client, either, server := blocked("proxy", "client"), blocked("proxy", "either"), blocked("proxy", "server")
	if client != nat || !(either < client/2) || server != 0 {
		t.Errorf("a proxy's ports: client closes %v, either %v, server %v; want as with nat %v, less than half, 0", client, either, server, nat)
	}
}
