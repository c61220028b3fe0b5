package load

import (
	"errors"
	"math"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/sim/stat"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// steady is a group of one server with so many ports, a load in Erlang of flows of
// mean 1 s, watched for so many intervals of equal length.
func steady(ports int, erlang float64, d spec.Draw, intervals int, length float64, seed uint64) *Group {
	s := newSampler(d).times(1)
	s = s.times(1 / s.mean)
	g := &Group{Slice: ports, Holding: s.draw, Residual: s.residual, Mean: s.mean, Seed: seed}
	for i := range intervals {
		g.Rate, g.Until = append(g.Rate, erlang), append(g.Until, float64(i+1)*length)
	}
	return g
}

func play(t testing.TB, g *Group) *Played {
	t.Helper()
	p, err := g.Play()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func sums(all []int) (n int) {
	for _, x := range all {
		n += x
	}
	return n
}

// TestLossDoesNotDependOnTheShape: an M/G/c/c loss system of 10 ports and 7 Erlang
// refuses 7.87 % (Erlang's table), however flows' times are distributed
// (Sevastyanov 1957), and carries the rest.
func TestLossDoesNotDependOnTheShape(t *testing.T) {
	const want, carried = 0.0787, 7 * (1 - 0.0787)
	for name, d := range map[string]spec.Draw{
		"constant":    {Kind: spec.Constant, A: 1},
		"exponential": {Kind: spec.Exponential, A: 1},
		"log-normal":  {Kind: spec.LogNormal, A: 1, B: 1.5},
		"pareto":      {Kind: spec.Pareto, A: 1, B: 2.5},
		"two":         {Kind: spec.Empirical, Values: []float64{1, 1, 9}, Shares: []float64{0, 0.8, 1}},
	} {
		p := play(t, steady(10, 7, d, 1, 60_000, 1))
		if got := float64(sums(p.Refused)) / float64(sums(p.Tries)); math.Abs(got-want) > 0.003 {
			t.Errorf("%s: %.4f refused, want %.4f", name, got, want)
		}
		if math.Abs(p.Busy-carried) > 0.05 || p.Peak != 10 || p.Ports != 10 {
			t.Errorf("%s: %.3f of %d ports busy, peak %d, want %.3f", name, p.Busy, p.Ports, p.Peak, carried)
		}
	}
}

// TestErlangIsInTheInterval: of many replications so many intervals of blocking
// hold Erlang's formula as they claim to. A run whose batches correlate has none.
func TestErlangIsInTheInterval(t *testing.T) {
	const ports, erlang, level = 64, 60.0, 0.95
	replications, tolerance := 1000, 0.02
	if testing.Short() {
		replications, tolerance = 150, 0.06
	}
	truth := stat.ErlangB(ports, erlang)
	held, refused := 0, 0
	for seed := range uint64(replications) {
		p := play(t, steady(ports, erlang, spec.Draw{Kind: spec.LogNormal, A: 1, B: 1}, 128, 8, seed+1))
		// Both counts go up and down together, so the ratio is estimated by the mean of
		// refused minus truth's share of tries, which is 0 where the formula is right.
		values := make([]float64, len(p.Tries))
		for i := range values {
			values[i] = float64(p.Refused[i]) - truth*float64(p.Tries[i])
		}
		e, err := stat.Batches(values, level)
		switch {
		case errors.Is(err, stat.ErrCorrelated):
			refused++
		case err != nil:
			t.Fatal(err)
		case e.Holds(0):
			held++
		}
	}
	share := float64(held) / float64(replications-refused)
	t.Logf("%.1f%% of %d intervals hold %.4f, %d were refused", 100*share, replications-refused, truth, refused)
	if math.Abs(share-level) > tolerance || refused > replications/10 {
		t.Errorf("%.1f%% hold the truth, %d of %d refused; want %.0f ± %.0f %%", 100*share, refused, replications, 100*level, 100*tolerance)
	}
}

// TestRetriesAddLoad: who tries again finds a port sometimes, and takes it from
// others: fewer flows are lost, more tries refused.
func TestRetriesAddLoad(t *testing.T) {
	g := steady(64, 66, spec.Draw{Kind: spec.Exponential, A: 1}, 1, 4000, 1)
	once := play(t, g)
	g.Retries, g.Backoff = 3, 0.5
	often := play(t, g)
	lostOnce, lostOften := sums(once.Lost), sums(often.Lost)
	if lostOften*2 > lostOnce || sums(often.Refused) <= sums(once.Refused) || sums(often.Flows) != sums(once.Flows) {
		t.Errorf("%d of %d lost with retries, %d of %d without; refused %d and %d", lostOften, sums(often.Flows), lostOnce, sums(once.Flows), sums(often.Refused), sums(once.Refused))
	}
}

// TestPoliciesHelpInTurn: another address takes what one address refuses, another
// server what one server's addresses do, and pooling approaches one great slice.
func TestPoliciesHelpInTurn(t *testing.T) {
	lost := map[hub.OnExhaustion]int{}
	for _, p := range []hub.OnExhaustion{hub.ExhaustionRefuse, hub.ExhaustionAnotherAddress, hub.ExhaustionAnotherServer} {
		g := steady(32, 4*2*30, spec.Draw{Kind: spec.Exponential, A: 1}, 1, 200, 1)
		g.Servers, g.Addresses, g.OnExhaustion = 4, 2, p
		lost[p] = sums(play(t, g).Lost)
	}
	if a, b, c := lost[hub.ExhaustionRefuse], lost[hub.ExhaustionAnotherAddress], lost[hub.ExhaustionAnotherServer]; a < b*5/4 || b < c*5/4 {
		t.Errorf("lost %v, want each policy to lose less", lost)
	}
}

// TestWheelIsExact: what ends is taken out in the step in which it ends, also when
// it is many turns ahead.
func TestWheelIsExact(t *testing.T) {
	w := newWheel(100, 1)
	s := newStream(1, "wheel")
	ends := map[int32]float64{}
	now, n := 0.0, int32(0)
	for i := range uint64(20_000) {
		a, b := s.words(forFlow, i)
		now += exponential(a) / 50
		w.due(now, func(what int32) {
			if ends[what] > now {
				t.Fatalf("%d is taken out at %v and ends at %v", what, now, ends[what])
			}
			delete(ends, what)
		})
		for what, at := range ends {
			if at <= now && i%97 == 0 {
				t.Fatalf("%d has ended at %v and is there at %v", what, at, now)
			}
		}
		ends[n] = now + math.Pow(unitOf(b), -1) // a tail without a mean
		w.add(ends[n], n)
		n++
	}
}

func BenchmarkGroup(b *testing.B) {
	s := newSampler(spec.Draw{Kind: spec.LogNormal, A: 1, B: 1.5})
	s = s.times(1 / s.mean)
	g := &Group{Servers: 31, Rate: []float64{31 * 1954.7}, Until: []float64{float64(b.N) / (31 * 1954.7)}, Holding: s.draw, Residual: s.residual, Mean: 1, Seed: 1}
	if _, err := g.Play(); err != nil {
		b.Fatal(err)
	}
}
