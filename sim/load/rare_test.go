package load

import (
	"math"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/stat"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// rarely plays a group so many times, by splitting, and gives the interval of the
// share of tries that are refused.
func rarely(t *testing.T, times int, make func(seed uint64) *Group) (stat.Estimate, *Rare) {
	t.Helper()
	var values []float64
	var last *Rare
	for seed := range uint64(times) {
		g := make(seed + 1)
		p, err := g.PlayRare()
		if err != nil {
			t.Fatal(err)
		}
		refused, expected := 0.0, 0.0
		for k := range p.Refused {
			refused += p.Refused[k]
			from := 0.0
			if k > 0 {
				from = g.Until[k-1]
			}
			expected += g.Rate[k] * p.Share * (g.Until[k] - from)
		}
		values, last = append(values, refused/expected), p
	}
	e, err := stat.Mean(values, 0.95)
	if err != nil {
		t.Fatal(err)
	}
	return e, last
}

// TestSplittingIsUnbiased: by splitting, the share that is refused is Erlang's, down
// to where no run would ever see it, however long flows last (Sevastyanov 1957), and
// the interval is narrow enough to say so. Four standard errors: one of 16,000 fails
// by chance.
func TestSplittingIsUnbiased(t *testing.T) {
	exponential, long := spec.Draw{Kind: spec.Exponential, A: 1}, spec.Draw{Kind: spec.LogNormal, A: 1, B: 1}
	for _, tt := range []struct {
		ports  int
		erlang float64
		d      spec.Draw
		seen   float64 // half the interval, as a share, at most
	}{{64, 52, exponential, 0.15}, {64, 40, long, 0.3}, {64, 34, exponential, 0.5}, {64, 34, long, 0.5}} {
		want := stat.ErlangB(tt.ports, tt.erlang)
		e, last := rarely(t, 50, func(seed uint64) *Group { return steady(tt.ports, tt.erlang, tt.d, 2, 60, seed) })
		off := (e.Mean - want) / (e.Half / 2)
		t.Logf("%v Erlang, %s: %.3g ± %.2g, Erlang's formula %.3g (%+.1f standard errors), %d continuations", tt.erlang, tt.d.Kind, e.Mean, e.Half, want, off, last.Trials)
		if math.Abs(off) > 4 || e.Half > tt.seen*want {
			t.Errorf("%v Erlang at %d ports, %s: %.3g ± %.2g, want %.3g", tt.erlang, tt.ports, tt.d.Kind, e.Mean, e.Half, want)
		}
	}
}

// TestSplittingOfPolicies: several servers and addresses, by each policy, refuse as a
// plain run says where that sees enough, and flows and tries are what they are.
func TestSplittingOfPolicies(t *testing.T) {
	for policy, load := range map[hub.OnExhaustion]float64{hub.ExhaustionRefuse: 24, hub.ExhaustionAnotherAddress: 27, hub.ExhaustionAnotherServer: 30} {
		group := func(seed uint64, length float64) *Group {
			g := steady(32, 3*2*load, spec.Draw{Kind: spec.Exponential, A: 1}, 2, length, seed)
			g.Servers, g.Addresses, g.OnExhaustion, g.Retries, g.Backoff = 3, 2, policy, 1, 0.5
			return g
		}
		plain := play(t, group(99, 400))
		tries, flows := float64(sums(plain.Tries)), float64(sums(plain.Flows))
		e, last := rarely(t, 40, func(seed uint64) *Group { return group(seed, 5) })
		want := float64(sums(plain.Refused)) / flows
		if math.Abs(e.Mean-want) > 2.5*e.Half+0.1*want {
			t.Errorf("%s: %.4g ± %.2g refused by splitting, %.4g of %v tries without", policy, e.Mean, e.Half, want, tries)
		}
		if got := (last.Flows[0] + last.Flows[1]) / last.Share / (3 * 2 * load * 10); math.Abs(got-1) > 0.2 {
			t.Errorf("%s: %v of the flows that there are", policy, got)
		}
	}
}
