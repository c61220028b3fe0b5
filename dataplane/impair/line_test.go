package impair_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

const ms = time.Millisecond

func line(t testing.TB, c impair.Config) *impair.Line {
	t.Helper()
	l, err := impair.New(c, impair.NewStream(7, "shop.1.router-transit.lhr", impair.AB), 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fates sends packets of 1000 bytes with a gap between them, far enough apart
// that none meets another unless the gap says so.
func fates(t testing.TB, c impair.Config, n int, gap time.Duration) []impair.Fate {
	l := line(t, c)
	all := make([]impair.Fate, n)
	for i := range all {
		all[i] = l.Send(vt.Instant(i)*vt.Instant(gap), 1000)
	}
	return all
}

// within fails unless got is want, give or take some standard errors. Seeds are
// fixed, so that what passes once passes always.
func within(t *testing.T, what string, got, want, sigma float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 3*sigma {
		t.Errorf("%s is %v, want %v ± %v", what, got, want, 3*sigma)
	}
}

func TestDelayAndRate(t *testing.T) {
	at := func(c impair.Config, sizes ...int) string {
		var out []string
		l := line(t, c)
		for _, size := range sizes {
			f := l.Send(0, size)
			out = append(out, map[impair.End]string{impair.Passed: f.At.String(), impair.Overflow: "full"}[f.End])
		}
		return strings.Join(out, " ")
	}
	trace, err := impair.ReadTrace(strings.NewReader("0\n5\n10\n"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		c     impair.Config
		sizes []int
		want  string
	}{
		{"plain", impair.Config{}, []int{1500, 1500}, "0s 0s"},
		{"delay", impair.Config{Delay: 5 * ms}, []int{1500, 40}, "5ms 5ms"},
		{"rate: one after the other", impair.Config{Rate: 8 * unit.Mbit}, []int{1000, 500, 1}, "1ms 1.5ms 1.501ms"},
		{"rate, then delay", impair.Config{Rate: 8 * unit.Mbit, Delay: 5 * ms}, []int{1000, 1000}, "6ms 7ms"},
		{"queue full to the byte", impair.Config{Rate: 8 * unit.Mbit, Queue: 2000}, []int{1000, 1000, 1}, "1ms 2ms full"},
		{"smaller packets still fit", impair.Config{Rate: 8 * unit.Mbit, Queue: 2000}, []int{1500, 1000, 500}, "1.5ms full 2ms"},
		{"longer than the queue", impair.Config{Rate: 8 * unit.Mbit, Queue: 100}, []int{1000, 1000}, "1ms full"},
		{"default queue", impair.Config{Rate: 80 * unit.Kbit}, []int{29000, 1000, 1}, "2.9s 3s full"},
		{"trace: shared and spanning", impair.Config{Trace: trace, Queue: 1 << 20}, []int{700, 800, 1501, 1499}, "0s 0s 10ms 10ms"},
		{"trace begins again", impair.Config{Trace: trace, Queue: 1 << 20}, []int{4500, 1500, 1500}, "10ms 10ms 15ms"},
	}
	for _, tt := range tests {
		if got := at(tt.c, tt.sizes...); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// pattern is what happens to packets by number alone: all but when.
func pattern(fs []impair.Fate) []impair.Fate {
	out := slices.Clone(fs)
	for i := range out {
		out[i].At = 0
	}
	return out
}

// The same seed gives the same packets the same end, whatever the timing.
func TestPatternIsByPacketNumber(t *testing.T) {
	c := impair.Config{Delay: 10 * ms, Jitter: ms, Correlation: 0.5, Loss: 0.1, LossBurst: 3, Reorder: 0.1, ReorderGap: 3, Duplicate: 0.1, Corrupt: 0.1}
	slow, fast := fates(t, c, 5000, time.Second), fates(t, c, 5000, time.Nanosecond)
	if !slices.Equal(pattern(slow), pattern(fast)) {
		t.Error("the pattern depends on the time")
	}
	// A queue that refuses packets moves no draw of the others.
	c.Rate, c.Queue = 80*unit.Mbit, 3000
	refused := 0
	for i, f := range pattern(fates(t, c, 5000, 90*time.Microsecond)) {
		if f.End == impair.Overflow {
			refused++
		} else if f != pattern(slow[i : i+1])[0] {
			t.Fatalf("packet %d: %+v, and without a rate %+v", i, f, slow[i])
		}
	}
	if refused == 0 || refused == 5000 {
		t.Errorf("%d packets refused, want some", refused)
	}
}

// To change one word moves no draw of another.
func TestWordsAreIndependent(t *testing.T) {
	lost := func(c impair.Config) (at []int) {
		for i, f := range fates(t, c, 2000, time.Second) {
			if f.End == impair.Lost {
				at = append(at, i)
			}
		}
		return at
	}
	alone := lost(impair.Config{Loss: 0.05})
	if with := lost(impair.Config{Loss: 0.05, Delay: ms, Jitter: ms, Duplicate: 0.3, Corrupt: 0.3, Reorder: 0.3}); !slices.Equal(alone, with) {
		t.Errorf("lost alone %v, with other words %v", alone, with)
	}
	more := map[int]bool{}
	for _, i := range lost(impair.Config{Loss: 0.06}) {
		more[i] = true
	}
	for _, i := range alone {
		if !more[i] {
			t.Errorf("packet %d is lost at 5%% and not at 6%%", i)
		}
	}
}

func TestShares(t *testing.T) {
	const n = 200000
	fs := fates(t, impair.Config{Delay: ms, Loss: 0.01, Duplicate: 0.02, Corrupt: 0.03, Reorder: 0.2, ReorderGap: 4}, n, time.Second)
	count := func(is func(i int, f impair.Fate) bool) float64 {
		m := 0
		for i, f := range fs {
			if is(i, f) {
				m++
			}
		}
		return float64(m)
	}
	sigma := func(p float64) float64 { return math.Sqrt(p * (1 - p) / n) }
	passed := count(func(_ int, f impair.Fate) bool { return f.End == impair.Passed })
	within(t, "loss", 1-passed/n, 0.01, sigma(0.01))
	within(t, "duplicates", count(func(_ int, f impair.Fate) bool { return f.Twice })/passed, 0.02, sigma(0.02))
	within(t, "corrupt", count(func(_ int, f impair.Fate) bool { return f.Flip >= 0 })/passed, 0.03, sigma(0.03))
	within(t, "overtaking", count(func(_ int, f impair.Fate) bool { return f.Overtook })/passed, 0.05, sigma(0.05))
	if early := count(func(i int, f impair.Fate) bool { return f.Overtook && i%4 != 3 }); early != 0 {
		t.Errorf("%v packets overtook outside the gap", early)
	}
	// Bits to flip are spread over the packet: the mean of a uniform draw.
	sum, m := 0.0, 0.0
	for _, f := range fs {
		if f.Flip >= 8000 {
			t.Fatalf("bit %d of a packet of 8000", f.Flip)
		}
		if f.Flip >= 0 {
			sum, m = sum+float64(f.Flip), m+1
		}
	}
	within(t, "mean bit", sum/m, 4000, 8000/math.Sqrt(12*m))
}

// Loss in bursts: the share as asked, and bursts of the asked mean length, which
// are geometric.
func TestBursts(t *testing.T) {
	const n, loss, burst = 400000, 0.05, 4.0
	fs := fates(t, impair.Config{Loss: loss, LossBurst: burst}, n, time.Second)
	lost, bursts, ones := 0.0, 0.0, 0.0
	for i, f := range fs {
		if f.End != impair.Lost {
			continue
		}
		lost++
		if i == 0 || fs[i-1].End != impair.Lost {
			bursts++
			if i+1 < n && fs[i+1].End != impair.Lost {
				ones++
			}
		}
	}
	// The variance of a Markov chain's mean is (1+ρ)/(1-ρ) of an independent one.
	rho := 1 - 1/burst - loss/(1-loss)/burst
	within(t, "loss", lost/n, loss, math.Sqrt(loss*(1-loss)/n*(1+rho)/(1-rho)))
	within(t, "mean burst", lost/bursts, burst, math.Sqrt(burst*(burst-1)/bursts))
	within(t, "bursts of one", ones/bursts, 1/burst, math.Sqrt(0.25*0.75/bursts))
	all := fates(t, impair.Config{Loss: 1, LossBurst: 9}, 100, time.Second)
	for i, f := range all {
		if f.End != impair.Lost {
			t.Errorf("packet %d passes a line that loses all", i)
		}
	}
}

// cdf of the distributions, in units of jitter, from their definitions.
func cdf(d impair.Distribution, x float64) float64 {
	switch d {
	case impair.Normal:
		return 0.5 * math.Erfc(-x/math.Sqrt2)
	case impair.Pareto:
		least := x*math.Sqrt(0.75) + 1.5
		if least < 1 {
			return 0
		}
		return 1 - math.Pow(least, -3)
	}
	return min(max((x+1)/2, 0), 1)
}

// Jitter has the distribution that was asked for, also when it is correlated:
// Kolmogorov's distance at the level 0.001, for correlated draws of so many as
// are independent.
func TestJitterDistribution(t *testing.T) {
	const n = 100000
	for _, d := range []impair.Distribution{impair.Uniform, impair.Normal, impair.Pareto} {
		for _, rho := range []float64{0, 0.6} {
			c := impair.Config{Delay: 100 * ms, Jitter: ms, Distribution: d, Correlation: rho}
			x := make([]float64, n)
			for i, f := range fates(t, c, n, time.Second) {
				x[i] = float64(f.At-vt.Instant(i)*vt.Instant(time.Second)-vt.Instant(100*ms)) / float64(ms)
			}
			if got := correlation(ranks(x)); math.Abs(got-6/math.Pi*math.Asin(rho/2)) > 3/math.Sqrt(n) {
				t.Errorf("%s: rank correlation %v of successive jitters, asked %v", d, got, rho)
			}
			slices.Sort(x)
			distance := 0.0
			for i, v := range x[:n-n/500] { // the tails are cut
				distance = max(distance, math.Abs(cdf(d, v)-float64(i)/n), math.Abs(cdf(d, v)-float64(i+1)/n))
			}
			if limit := 1.95 / math.Sqrt(n*(1-rho)/(1+rho)); distance > limit {
				t.Errorf("%s, correlation %v: distance %v from the asked distribution, want at most %v", d, rho, distance, limit)
			}
		}
	}
}

// ranks of values; Spearman's correlation of a normal copula is 6/π asin(ρ/2).
func ranks(x []float64) []float64 {
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	out := make([]float64, len(x))
	for i, v := range x {
		k, _ := slices.BinarySearch(sorted, v)
		out[i] = float64(k)
	}
	return out
}

func correlation(x []float64) float64 {
	mean, above, below := 0.0, 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for i := 1; i < len(x); i++ {
		above += (x[i] - mean) * (x[i-1] - mean)
		below += (x[i] - mean) * (x[i] - mean)
	}
	return above / below
}

// Jitter alone keeps the order, and never makes a delay negative; what overtakes
// comes out without delay.
func TestOrder(t *testing.T) {
	last, overtook := vt.Instant(0), 0
	for i, f := range fates(t, impair.Config{Delay: ms, Jitter: 5 * ms, Distribution: impair.Normal, Reorder: 0.1}, 10000, 100*time.Microsecond) {
		in := vt.Instant(i) * vt.Instant(100*time.Microsecond)
		switch {
		case f.At < in:
			t.Fatalf("packet %d comes out at %v, before it came at %v", i, f.At, in)
		case f.Overtook && f.At != in:
			t.Fatalf("packet %d overtakes, and takes %v", i, f.At-in)
		case !f.Overtook && f.At < last:
			t.Fatalf("packet %d comes out at %v, after one at %v", i, f.At, last)
		case f.Overtook:
			overtook++
		default:
			last = f.At
		}
	}
	if overtook == 0 {
		t.Error("none overtook")
	}
}

// A change meets the packets that come after it; the queue stays, and numbers go on.
func TestSet(t *testing.T) {
	l := line(t, impair.Config{Rate: 8 * unit.Mbit, Queue: 1 << 20})
	for range 10 {
		l.Send(0, 1000)
	}
	if err := l.Set(0, impair.Config{Rate: 80 * unit.Mbit, Queue: 1 << 20, Delay: 5 * ms}); err != nil {
		t.Fatal(err)
	}
	if f := l.Send(0, 1000); f.At != vt.Instant(10*ms+100*time.Microsecond+5*ms) {
		t.Errorf("after ten packets of 1 ms the next comes out at %v, want 15.1ms", f.At)
	}
	if err := l.Set(0, impair.Config{Loss: 2}); !errors.Is(err, impair.ErrConfig) || l.Config().Delay != 5*ms {
		t.Errorf("a config that cannot be gave %v and left %+v", err, l.Config())
	}
	// A trace begins behind what waits: its first opportunity is 15 ms after that.
	trace, err := impair.ReadTrace(strings.NewReader("15\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Set(0, impair.Config{Trace: trace}); err != nil {
		t.Fatal(err)
	}
	if f := l.Send(0, 1000); f.At != vt.Instant(10*ms+100*time.Microsecond+15*ms) {
		t.Errorf("the first packet of the trace comes out at %v, want 25.1ms", f.At)
	}
	whole := fates(t, impair.Config{Loss: 0.3}, 200, ms)
	changed := line(t, impair.Config{})
	for i := range 200 {
		if i == 100 {
			if err := changed.Set(0, impair.Config{Loss: 0.3}); err != nil {
				t.Fatal(err)
			}
		}
		if f := changed.Send(vt.Instant(i)*vt.Instant(ms), 1000); i >= 100 && f.End != whole[i].End {
			t.Fatalf("packet %d: %v, want %v as if it had always been so", i, f.End, whole[i].End)
		}
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		c    impair.Config
		want string // in the error; empty for none
	}{
		{impair.Config{}, ""},
		{impair.Config{Loss: 1, Reorder: 1, Duplicate: 1, Corrupt: 1}, ""},
		{impair.Config{Loss: 1.1}, "loss 1.1, want 0 to 1"},
		{impair.Config{Corrupt: math.NaN()}, "corrupt NaN"},
		{impair.Config{Correlation: 1}, "correlation 1, want 0 to 0.999"},
		{impair.Config{Delay: -1}, "want 0 to 10m0s"},
		{impair.Config{Jitter: time.Hour}, "jitter 1h0m0s"},
		{impair.Config{Distribution: "gauss"}, `distribution "gauss", want uniform, normal or pareto`},
		{impair.Config{Loss: 0.5, LossBurst: 1}, ""},
		{impair.Config{Loss: 0.8, LossBurst: 4}, ""},
		{impair.Config{Loss: 0.8, LossBurst: 3}, "want 4"},
		{impair.Config{Loss: 0.1, LossBurst: 0.5}, "bursts of 0.5 packets, want 1 or more"},
		{impair.Config{Rate: -1}, "negative"},
		{impair.Config{Trace: &impair.Trace{}}, "empty trace"},
	}
	for _, tt := range tests {
		err := tt.c.Check()
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !errors.Is(err, impair.ErrConfig)) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}

func TestReadTrace(t *testing.T) {
	for text, want := range map[string]string{
		"0\n0\n1\n": "", "12\n": "", " 3 \n4": "",
		"":             "empty trace",
		"0\n0\n":       "takes no time",
		"1\nx\n":       `line 2 of the trace is "x"`,
		"5\n4\n":       "line 2 of the trace is 4, before 5",
		"-1\n":         `line 1 of the trace is "-1"`,
		"4294967296\n": "line 1",
	} {
		_, err := impair.ReadTrace(strings.NewReader(text))
		if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	// 2 × 1500 bytes in each 3 ms.
	trace, err := impair.ReadTrace(strings.NewReader("1\n3\n"))
	if err != nil || trace.Rate() != 8*unit.Mbit {
		t.Errorf("rate %v, %v, want 8Mbit", trace.Rate(), err)
	}
	text, err := json.Marshal(impair.Config{Trace: trace})
	var back impair.Config
	if err != nil || json.Unmarshal(text, &back) != nil || back.Trace.Rate() != trace.Rate() {
		t.Errorf("%s, %v: read back as %+v", text, err, back)
	}
}

// Nothing is allocated per packet.
func TestNoAllocations(t *testing.T) {
	trace, err := impair.ReadTrace(strings.NewReader("1\n3\n"))
	if err != nil {
		t.Fatal(err)
	}
	all := impair.Config{Delay: ms, Jitter: ms, Distribution: impair.Pareto, Correlation: 0.5, Loss: 0.1, LossBurst: 3, Reorder: 0.1, Duplicate: 0.1, Corrupt: 0.1}
	rated, traced := all, all
	rated.Rate, traced.Trace = unit.Mbit, trace
	for _, c := range []impair.Config{{}, rated, traced} {
		l, now := line(t, c), vt.Instant(0)
		if n := testing.AllocsPerRun(1000, func() { now += 1e6; l.Send(now, 1000) }); n != 0 {
			t.Errorf("%v allocations per packet of %+v", n, c)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for name, c := range map[string]impair.Config{
		"delay": {Delay: 5 * ms},
		"loss":  {Delay: 5 * ms, Loss: 0.01},
		"all":   {Delay: 5 * ms, Jitter: ms, Distribution: impair.Normal, Correlation: 0.5, Loss: 0.01, LossBurst: 3, Reorder: 0.1, Duplicate: 0.01, Corrupt: 0.01, Rate: unit.Gbit},
	} {
		b.Run(name, func(b *testing.B) {
			l, now := line(b, c), vt.Instant(0)
			for b.Loop() {
				now += 1000
				l.Send(now, 1000)
			}
		})
	}
}
