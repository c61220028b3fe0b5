package load_test

import (
	"cmp"
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
internet:
  - {id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}
  - {id: news, address: 203.0.113.10, near: fra, serve: [http, echo]}
timers: {port_hold: 20s}
workload:
  - {id: w, from: "*.1.till", to: TO, rate: RATE, mix: {tcp: 0.8, dns: 0.2}, size: 100B, holding: 200ms, for: 10s}
`

// TestDedicatedOnBothLevels: by whose address flows leave, and from where, is the
// same with packets and without (SEMANTICS 6.2), and so is what finds no port.
func TestDedicatedOnBothLevels(t *testing.T) {
	for name, tt := range map[string]struct {
		policies, rate string
		elsewhere      float64 // of flows
		to             string
	}{
		"the nearest":   {"", "40", 0.8 / 3, ""}, // Frankfurt's leave from London, but what asks resolvers
		"by protocol":   {`{id: u, match: {protocol: [udp]}, action: dedicated, ipv4: 192.0.2.34}`, "40", 0.8 / 3, ""},
		"by country":    {`{id: d, match: {source_country: [DE]}, action: dedicated, ipv4: 192.0.2.34, fallback: 0.0.0.0}, {id: all, action: default}`, "40", 0.8 / 3, ""},
		"all from iad":  {`{id: all, action: dedicated, ipv4: 192.0.2.34}`, "40", 2 * 0.8 / 3, ""},
		"iad's is full": {`{id: all, action: dedicated, ipv4: 192.0.2.34}`, "120", 2 * 0.8 / 3, ""},
		"as usual":      {`{id: all, action: default}`, "40", 0, ""},
		// Half of the flows go to each; of these those of London and Frankfurt from Washington, of the others nobody.
		"by address":  {`{id: n, match: {destination: [203.0.113.10/32]}, action: dedicated, ipv4: 192.0.2.34}, {id: all, action: default}`, "40", 0.8 / 3, `"*"`},
		"by name":     {`{id: n, match: {host: [news]}, action: dedicated, ipv4: 192.0.2.34}, {id: all, action: default}`, "40", 0.8 / 3, `"*"`},
		"by where":    {`{id: n, match: {country: [GB]}, action: dedicated, ipv4: 192.0.2.34}`, "40", (0.8*2/3 + 0.8/3) / 2, `"*"`},
		"one is full": {`{id: n, match: {host: [news]}, action: dedicated, ipv4: 192.0.2.34}, {id: all, action: default}`, "200", 0.8 / 3, `"*"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("POLICIES", tt.policies, "RATE", tt.rate, "TO", cmp.Or(tt.to, "web")).Replace(dedicated)
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
		text := strings.NewReplacer("POLICIES", "{id: all, action: dedicated, ipv4: 192.0.2.34"+fallback+"}", "RATE", "10", "TO", "web").Replace(dedicated)
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

// TestDedicatedRefuses: a population's destinations are nobody's in particular, and
// hosts at the flow level have no users.
func TestDedicatedRefuses(t *testing.T) {
	hosts := strings.NewReplacer("RATE", "10", "TO", "web").Replace(dedicated)
	people := strings.Replace(strings.Replace(hosts, `from: "*.1.till", to: web`, "from: population, to: internet", 1), "sites:", "population: {users: 1000, ases: 500}\nsites:", 1)
	for rule, text := range map[string]string{
		"{id: a, match: {user: [anna]}, action: default}":                  hosts,
		"{id: a, match: {destination: [203.0.113.0/24]}, action: default}": people,
		"{id: a, match: {country: [GB]}, action: default}":                 people,
	} {
		var unsupported *load.Unsupported
		if _, err := load.New(scenario(t, strings.Replace(text, "POLICIES", rule, 1)), nil); !errors.As(err, &unsupported) || unsupported.Path != "account.policies.egress[0].match" {
			t.Errorf("%s: %v, want it refused", rule, err)
		}
	}
}
