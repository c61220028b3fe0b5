package load_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// three branches, and an account with addresses in two of three datacenters.
const dedicated = `
version: 1
name: dedicated
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/32]}
  - {id: fra, servers: 1, egress: [198.51.100.1/32]}
  - {id: iad, servers: 1, egress: [198.51.100.2/32]}
account:
  on_exhaustion: refuse
  dedicated: [{ipv4: 192.0.2.33, datacenter: lhr}, {ipv4: 192.0.2.34, datacenter: iad}]
  policies: {egress: [POLICIES]}
sites:
  - {id: london, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: frankfurt, near: fra, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: washington, near: iad, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
timers: {port_hold: 20s}
workload:
  - {id: w, from: "*.1.till", to: web, rate: RATE, mix: {tcp: 0.8, dns: 0.2}, size: 100B, holding: 200ms, for: 10s}
`

// TestDedicatedOnBothLevels: by whose address flows leave, and from where, is the
// same with packets and without (SEMANTICS 6.2), and so is what finds no port.
func TestDedicatedOnBothLevels(t *testing.T) {
	for name, tt := range map[string]struct {
		policies, rate string
		elsewhere      float64 // of flows
	}{
		"the nearest":   {"", "40", 0.8 / 3}, // Frankfurt's leave from London, but what asks resolvers
		"by protocol":   {`{id: u, match: {protocol: [udp]}, action: dedicated, ipv4: 192.0.2.34}`, "40", 0.8 / 3},
		"by country":    {`{id: d, match: {source_country: [DE]}, action: dedicated, ipv4: 192.0.2.34, fallback: 0.0.0.0}, {id: all, action: default}`, "40", 0.8 / 3},
		"all from iad":  {`{id: all, action: dedicated, ipv4: 192.0.2.34}`, "40", 2 * 0.8 / 3},
		"iad's is full": {`{id: all, action: dedicated, ipv4: 192.0.2.34}`, "120", 2 * 0.8 / 3},
		"as usual":      {`{id: all, action: default}`, "40", 0},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("POLICIES", tt.policies, "RATE", tt.rate).Replace(dedicated)
			o := outcome(t, text, 1)
			var m record.Memory
			if err := run.Run(context.Background(), loadtest.Plan(t, text, "base"), &m, run.Options{}); err != nil {
				t.Fatal(err)
			}
			flows, away, lost := 0.0, 0.0, 0.0
			for _, f := range m.Records().Flows {
				flows++
				switch {
				case f.Result != record.OK:
					lost++
				case f.EgressDC != f.IngressDC:
					away++
				}
			}
			if got := value(t, o, "elsewhere"); math.Abs(got-tt.elsewhere) > 1e-9 || lost == 0 && math.Abs(got-away/flows) > 0.02 {
				t.Errorf("%.4f of flows leave elsewhere, want %.4f; with packets %.4f", got, tt.elsewhere, away/flows)
			}
			// Both draw how many flows there are: so far apart are two numbers of one mean.
			if got := value(t, o, "blocked"); math.Abs(got-lost/flows) > 3*math.Sqrt(2/flows) || (got > 0) != (lost > 0) {
				t.Errorf("%.4f blocked; with packets %.4f", got, lost/flows)
			}
		})
	}
}

// TestDedicatedPlaceIsDown (SEMANTICS 6.2, EG-5): without a fallback flows fail, with
// one they leave by it.
func TestDedicatedPlaceIsDown(t *testing.T) {
	for fallback, blocked := range map[string]float64{"": 0.8, ", fallback: 0.0.0.0": 0, ", fallback: 192.0.2.33": 0} {
		text := strings.NewReplacer("POLICIES", "{id: all, action: dedicated, ipv4: 192.0.2.34"+fallback+"}", "RATE", "10").Replace(dedicated)
		text = strings.Replace(text, "timers:", "faults: [{id: f, do: drain, on: iad}]\ntimers:", 1)
		o := outcome(t, text, 1)
		if got := value(t, o, "blocked"); math.Abs(got-blocked) > 0.01 {
			t.Errorf("fallback %q: %v blocked, want %v", fallback, got, blocked)
		}
		if lost := value(t, o, "lost.egress"); (lost > 0) != (blocked > 0) {
			t.Errorf("fallback %q: %v user-minutes without an address", fallback, lost)
		}
	}
}

// TestEG7AtTheFlowLevel: an address of an account's own carries so many flows toward
// one destination, whatever ports its thirty-one slices have left.
func TestEG7AtTheFlowLevel(t *testing.T) {
	g := &load.Group{Servers: 31, Together: egress.Together, Rate: []float64{5000}, Until: []float64{10}, Mean: 60, Holding: func(uint64) float64 { return 60 }, Seed: 1, Hash: 1}
	p, err := g.Play()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Flows[0] - p.Lost[0]; got != egress.Together {
		t.Errorf("%d of %d flows got a port, want %d", got, p.Flows[0], egress.Together)
	}
}

func TestDedicatedRefuses(t *testing.T) {
	for _, rule := range []string{"{id: a, match: {host: [web]}, action: default}", "{id: a, match: {country: [GB]}, action: default}"} {
		text := strings.NewReplacer("POLICIES", rule, "RATE", "10").Replace(dedicated)
		var unsupported *load.Unsupported
		if _, err := load.New(scenario(t, text), nil); !errors.As(err, &unsupported) || unsupported.Path != "account.policies.egress[0].match" {
			t.Errorf("%s: %v, want it refused", rule, err)
		}
	}
}
