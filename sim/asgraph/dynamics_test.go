package asgraph

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestDynamicsComesToRest: whatever was announced and withdrawn in between, and at
// whatever pace, what remains is what Routes finds.
func TestDynamicsComesToRest(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 3))
		g := small(r)
		all := announcements(r, g)
		p := Preference(seed % 3)
		d, err := NewDynamics(g, all, p, Timing{MRAI: []time.Duration{0, 5 * time.Second, 30 * time.Second}[seed%3], Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		made := make([]bool, len(all))
		for at := vt.Instant(0); ; {
			i := r.IntN(len(all))
			if made[i] = !made[i]; made[i] {
				d.Announce(at, i)
			} else {
				d.Withdraw(at, i)
			}
			if r.IntN(8) == 0 {
				break
			}
			at = at.Add(time.Duration(r.IntN(100)) * 37 * time.Millisecond)
			if err := d.Run(at - 1); err != nil {
				t.Fatal(err)
			}
			onceEach(t, seed, d)
		}
		rest(t, d)
		equalRest(t, seed, d, all, made, p)
	}
}

// onceEach: no AS is on the path that it believes in twice (RFC 4271 9.1.2), which
// at rest none would be anyway.
func onceEach(t *testing.T, seed uint64, d *Dynamics) {
	t.Helper()
	for v := range Node(d.g.Len()) {
		path := d.Path(v)
		if slices.Sort(path); len(slices.Compact(path)) < len(d.Path(v)) {
			t.Fatalf("seed %d, %v: path %v", seed, d.g.ASN(v), d.Path(v))
		}
	}
}

// rest runs until nothing is under way.
func rest(t *testing.T, d *Dynamics) {
	t.Helper()
	if err := d.Run(d.Now().Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	unused := 0
	for i := d.spare; i != 0; i = d.flight[i-1].path {
		unused++
	}
	if unused != len(d.flight) {
		t.Fatalf("at rest %d of %d messages are unused, want all", unused, len(d.flight))
	}
}

func equalRest(t *testing.T, seed uint64, d *Dynamics, all []Announcement, made []bool, p Preference) {
	t.Helper()
	var some []Announcement
	var which []uint16
	for i, a := range all {
		if made[i] {
			some, which = append(some, a), append(which, uint16(i))
		}
	}
	routes := NewRoutes(d.g)
	if err := routes.Spread(some, p); err != nil {
		t.Fatal(err)
	}
	for v := range Node(d.g.Len()) {
		got, want := d.At(v), routes.At(v)
		if want.Class != Unreachable {
			want.Entry = which[want.Entry]
		}
		if got != want {
			t.Fatalf("seed %d, %v: %+v, want %+v", seed, d.g.ASN(v), got, want)
		}
		if path := d.Path(v); len(path) > 0 && path[0] != v {
			t.Fatalf("seed %d, %v: path %v", seed, d.g.ASN(v), path)
		}
	}
}

// TestDynamicsOfTheInternet announces, and fails the entry with most ASes behind it,
// on a graph of the Internet's own size.
func TestDynamicsOfTheInternet(t *testing.T) {
	shape := Internet()
	if testing.Short() {
		shape = shape.Scaled(8000)
	}
	g, _, err := Generate(shape, Atlas{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]Announcement, 20)
	made := make([]bool, len(all))
	for i := range all {
		all[i], made[i] = Announcement{To: Node(i * g.Len() / len(all)), Class: Own}, true
	}
	for _, mrai := range []time.Duration{0, 5 * time.Second, 30 * time.Second} {
		d, err := NewDynamics(g, all, 0, Timing{MRAI: mrai, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			d.Announce(0, i)
		}
		rest(t, d)
		equalRest(t, 1, d, all, made, 0)
		t.Logf("MRAI %v: announced in %v with %d messages", mrai, d.Now(), d.Messages())

		d.Reset()
		at := d.Now().Add(time.Hour)
		d.Withdraw(at, 0)
		rest(t, d)
		made[0] = false
		equalRest(t, 1, d, all, made, 0)
		made[0] = true
		changes, lost := 0, time.Duration(0)
		for v := range Node(g.Len()) {
			c := d.Churn(v)
			changes += c.Changes
			lost = max(lost, c.Lost)
		}
		t.Logf("MRAI %v: withdrawn in %v, %d changes, longest without a route %v", mrai, d.Now().Sub(at), changes, lost)
		if changes == 0 {
			t.Error("nothing has changed")
		}
	}
}

// TestPathHunting is the textbook's: in a clique of n whose members all hear of a
// prefix by one, a withdrawal has the others go through ever longer paths (Labovitz
// et al., Delayed Internet Routing Convergence, 2000), and without a pause between
// announcements more of them.
func TestPathHunting(t *testing.T) {
	var links []Link
	const n = 6
	for a := range ASN(n) {
		for b := range a {
			// A chain of providers lets everything be told to customers.
			links = append(links, Link{b + 1, a + 1, Transit})
		}
	}
	g, err := New(links)
	if err != nil {
		t.Fatal(err)
	}
	top, _ := g.Lookup(1)
	d, err := NewDynamics(g, []Announcement{{To: top, Class: FromCustomer, Length: 1}}, 0, Timing{Least: 10 * time.Millisecond, Most: 50 * time.Millisecond, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	d.Announce(0, 0)
	rest(t, d)
	d.Reset()
	d.Withdraw(d.Now().Add(time.Minute), 0)
	rest(t, d)
	last, _ := g.Lookup(n)
	if c := d.Churn(last); c.Changes < 3 {
		t.Errorf("the last changed %d times, want it to try longer paths first", c.Changes)
	}
	for v := range Node(g.Len()) {
		if r := d.At(v); r.Class != Unreachable {
			t.Errorf("%v still has %+v", g.ASN(v), r)
		}
	}
}

func TestDynamicsRepeats(t *testing.T) {
	prints := map[string]bool{}
	for range 3 {
		r := rand.New(rand.NewPCG(9, 3))
		g := small(r)
		all := announcements(r, g)
		d, err := NewDynamics(g, all, 0, Timing{MRAI: time.Second, Seed: 4})
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			d.Announce(0, i)
		}
		rest(t, d)
		prints[d.Fingerprint().String()] = true
	}
	if len(prints) != 1 {
		t.Errorf("fingerprints %v, want one", prints)
	}
}

func BenchmarkDynamics(b *testing.B) {
	g, all := benchmark(b)
	for b.Loop() {
		b.StopTimer()
		d, err := NewDynamics(g, all, 0, Timing{MRAI: 5 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		for i := range all {
			d.Announce(0, i)
		}
		b.StartTimer()
		if err := d.Run(vt.Instant(time.Hour)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(d.Events()), "events")
	}
}
