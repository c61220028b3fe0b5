package load

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	reader "github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// read makes a model of a file with a workload's words.
func read(t *testing.T, dir, words string) *Model {
	t.Helper()
	file := filepath.Join(dir, "arrivals.yaml")
	text := `
version: 1
name: arrivals
datacenters: [{id: lhr, servers: 4, egress: [198.51.100.0/32]}, {id: nrt, servers: 4, egress: [198.51.100.1/32]}]
population: {users: 2000000, ases: 1000, countries: {CN: 0, IN: 0}}
workload: [{id: web, from: population, to: internet, rate: 0.01, for: 2m, ` + words + `}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, err := reader.File(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := doc.Resolve(spec.Base, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDiurnalByLongitude: a zone's rate swings about its mean by the local time of its
// longitude, fifteen degrees an hour, and is greatest at the peak.
func TestDiurnalByLongitude(t *testing.T) {
	m := read(t, t.TempDir(), "diurnal: 60%, clock: 18, peak: 20")
	w, now := &m.works[0], bin{0, 0, 0} // 18 h at Greenwich
	for lon, want := range map[float64]float64{
		30: 1.6, -150: 0.4, // 20 h and 8 h
		120: 1, -60: 1, // 2 h and 14 h
		0: 1 + 0.6*math.Cos(math.Pi/6),
	} {
		if got := w.swing(lon, now); math.Abs(got-want) > 1e-9 {
			t.Errorf("at longitude %v: %v times the mean, want %v", lon, got, want)
		}
	}
	sum := 0.0
	for h := range 24 {
		sum += w.swing(100, bin{float64(h) * 3600, float64(h) * 3600, 0}) / 24
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("over a day %v times the mean", sum)
	}
	// Japan sleeps while Britain has its evening.
	o, err := m.Run(1)
	if err != nil {
		t.Fatal(err)
	}
	each := func(i int) float64 { d := o.Datacenters[i]; return d.FlowRate / d.Users }
	if london, tokyo := each(0), each(1); london < 0.013 || tokyo > london*0.8 {
		t.Errorf("%.4f flows a second for each user in London's evening, %.4f in Tokyo's night, of 0.01 on the mean", london, tokyo)
	}
}

// TestZipfDestinations: destinations are wanted by their rank to the power of the
// exponent, in what ports see too.
func TestZipfDestinations(t *testing.T) {
	m := read(t, t.TempDir(), `popularity: "zipf(0.8, 50)", holding: "exponential(mean=5s)", mix: {tcp: 1}`)
	w, sum := &m.works[0], 0.0
	for k, p := range w.popular {
		sum += p
		if want := w.popular[0] * math.Pow(float64(k+1), -0.8); math.Abs(p/want-1) > 1e-12 {
			t.Errorf("destination %d has %v of flows, want %v", k+1, p, want)
		}
	}
	if len(w.popular) != 50 || math.Abs(sum-1) > 1e-12 {
		t.Errorf("%d destinations have %v of all flows", len(w.popular), sum)
	}
	o, err := m.Run(1)
	if err != nil {
		t.Fatal(err)
	}
	loads := map[string]float64{}
	for _, p := range o.Ports {
		if p.Datacenter == "lhr" {
			loads[p.Destination] = p.Load
		}
	}
	if a, b := loads["web.1"], loads["web.2"]; a == 0 || math.Abs(a/b-math.Pow(2, 0.8)) > 1e-6 {
		t.Errorf("%v and %v Erlang toward the first two, want %v times as much", a, b, math.Pow(2, 0.8))
	}
}

// TestSizesOfAFile: a file of values and cumulative shares is drawn from as it says,
// between its lines on straight lines; percent are shares.
func TestSizesOfAFile(t *testing.T) {
	dir := t.TempDir()
	const text = "# seconds, percent\n1 0\n3 50\n3 75\n11 100\n"
	if err := os.WriteFile(filepath.Join(dir, "times.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := read(t, dir, `holding: "file(times.txt)"`).works[0].holding
	const mean = 0.5*2 + 0.25*3 + 0.25*7
	if math.Abs(s.mean/mean-1) > 1e-3 {
		t.Errorf("the mean is %v, want %v", s.mean, mean)
	}
	for u, want := range map[float64]float64{0.25: 2, 0.6: 3, 0.875: 7, 0.9999: 11} {
		if got := s.draw(uint64(u * (1 << 63) * 2)); math.Abs(got-want) > 0.01 {
			t.Errorf("%v of draws are below %v, want %v", u, got, want)
		}
	}
}

// TestBackoffDoubles: a refused flow tries again after half to all of a time that
// doubles at each try, as often as it may, and is lost then.
func TestBackoffDoubles(t *testing.T) {
	const backoff = 2.0
	g := steady(64, 200, spec.Draw{Kind: spec.Constant, A: 1e6}, 1, 1, 1)
	g.Retries, g.Backoff, g.Residual = 4, backoff, nil
	p, err := g.game()
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(64) { // all ports, for longer than the test
		p.try(again{n: i, client: i << 20, hold: 1e6}, 0)
	}
	p.try(again{at: 1, n: 1000, client: 77 << 20, hold: 1}, 0)
	at, wait := 1.0, backoff
	for try := 1; try <= 4; try++ {
		if len(p.later) != 1 || p.out.Lost[0] != 0 {
			t.Fatalf("%d wait, %d lost after try %d", len(p.later), p.out.Lost[0], try)
		}
		next := p.later[0]
		if d := next.at - at; d < wait/2 || d > wait || next.try != try {
			t.Errorf("try %d is %v s after the last, want %v to %v", next.try, d, wait/2, wait)
		}
		at, wait = next.at, wait*2
		p.retry(at, 0)
	}
	if p.out.Lost[0] != 1 || p.out.Tries[0] != 64+5 || p.out.Refused[0] != 5 || len(p.later) != 0 {
		t.Errorf("%d lost, %d refused of %d tries, %d wait", p.out.Lost[0], p.out.Refused[0], p.out.Tries[0], len(p.later))
	}
}

// TestWaitingIsInOrder: who comes first is who waited for the earliest time, and of the
// same the one with the lower number.
func TestWaitingIsInOrder(t *testing.T) {
	var w waiting
	draws := newStream(1, "waiting")
	for i := range uint64(500) {
		x, _ := draws.words(forFlow, i)
		w.push(again{at: float64(x % 50), n: i})
	}
	for last := w.pop(); len(w) > 0; {
		next := w.pop()
		if next.before(&last) {
			t.Fatalf("%v/%d after %v/%d", next.at, next.n, last.at, last.n)
		}
		last = next
	}
}
