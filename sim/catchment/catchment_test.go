package catchment

import (
	"math"
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/topologies/place"
)

var codes = []string{"lhr", "cdg", "fra", "iad", "sjc", "gru", "nrt", "sin", "syd", "jnb"}

func world(t testing.TB, ases int, codes []string) (*World, []Site) {
	t.Helper()
	w, err := Draw(ases, 1)
	if err != nil {
		t.Fatal(err)
	}
	places := make([]place.Place, len(codes))
	for i, c := range codes {
		p, ok := place.Lookup(c)
		if !ok {
			t.Fatalf("no place %s", c)
		}
		places[i] = p
	}
	sites, err := w.Attach(codes, places, Attach{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return w, sites
}

// failures are all sites up, and each of them down.
func failures(n int) []Scenario {
	all := []Scenario{nil}
	for i := range n {
		s := make(Scenario, n)
		s[i] = true
		all = append(all, s)
	}
	return all
}

// TestEverybodyLandsOnce: shares sum to one, nobody lands where it is down, and as
// many users land as there are.
func TestEverybodyLandsOnce(t *testing.T) {
	w, sites := world(t, 3000, codes)
	c, err := Find(w, sites, failures(len(sites)), Ensemble{Members: 5, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	everybody := 0.0
	for v := range asgraph.Node(w.Graph.Len()) {
		everybody += w.Users[v]
		sum := 0.0
		for _, s := range c.Of(v) {
			sum += s.P
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("%v lands with probability %v", w.Graph.ASN(v), sum)
		}
	}
	if everybody < 7e9 {
		t.Errorf("%.0f users, want everybody", everybody)
	}
	for i := range failures(len(sites)) {
		sum := 0.0
		for s, n := range c.Users(i) {
			sum += n
			if i > 0 && s == i-1 && n != 0 {
				t.Errorf("%s is down and %.0f users land there", sites[s].ID, n)
			}
		}
		if math.Abs(sum-everybody) > 1e-6*everybody {
			t.Errorf("scenario %d: %.0f users land, want %.0f", i, sum, everybody)
		}
	}
}

// slow is where a node lands, found one scenario at a time with distances looked up
// each time.
func slow(w *World, sites []Site, down Scenario, p asgraph.Preference) ([]int, error) {
	var all []asgraph.Announcement
	var at []int
	for i, s := range sites {
		for _, n := range s.Sessions {
			if down == nil || !down[i] {
				all = append(all, asgraph.Announcement{To: n.To, Class: n.Class, Length: 1 + n.Prepend})
				at = append(at, i)
			}
		}
	}
	r := asgraph.NewRoutes(w.Graph)
	if err := r.Spread(all, p); err != nil {
		return nil, err
	}
	land := make([]int, w.Graph.Len())
	for v := range asgraph.Node(len(land)) {
		route := r.At(v)
		if route.Class == asgraph.Unreachable {
			land[v] = len(sites)
			continue
		}
		best, from := math.Inf(1), w.Places[w.Home[v]]
		for i, a := range all {
			if a == all[route.Entry] {
				if d := place.Distance(from, sites[at[i]].At); d < best {
					best, land[v] = d, at[i]
				}
			}
		}
	}
	return land, nil
}

func TestFindEqualsOneAtATime(t *testing.T) {
	w, sites := world(t, 1500, codes)
	sites[2].Sessions[0].Prepend = 2
	scenarios := failures(len(sites))
	scenarios = append(scenarios, make(Scenario, len(sites)))
	scenarios[0], scenarios[1] = scenarios[1], nil // the first has a site down that others have not
	for _, e := range []Ensemble{{}, {Members: 2, Seed: 7}} {
		c, err := Find(w, sites, scenarios, e)
		if err != nil {
			t.Fatal(err)
		}
		for m := range max(1, e.Members) {
			for i, down := range scenarios {
				land, err := slow(w, sites, down, e.member(m))
				if err != nil {
					t.Fatal(err)
				}
				want := make([]float64, len(sites)+1)
				for v, s := range land {
					want[s] += w.Users[v]
				}
				for s, got := range c.Member(i, m) {
					if math.Abs(got-want[s]) > 1e-3 {
						t.Fatalf("member %d, scenario %d, site %d: %v users, want %v", m, i, s, got, want[s])
					}
				}
			}
		}
	}
}

// TestGeographyCounts: most Europeans land in Europe.
func TestGeographyCounts(t *testing.T) {
	w, sites := world(t, 3000, codes)
	c, err := Find(w, sites, []Scenario{nil}, Ensemble{Members: 3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	in, all := 0.0, 0.0
	for v := range asgraph.Node(w.Graph.Len()) {
		if w.Places[w.Home[v]].Region() != "WEUR" {
			continue
		}
		for _, s := range c.Of(v) {
			all += s.P * w.Users[v]
			if s.Site < 3 {
				in += s.P * w.Users[v]
			}
		}
	}
	if in < 0.6*all {
		t.Errorf("%.0f%% of western Europe land there, want most", 100*in/all)
	}
}

// TestOneMoreSiteChangesNoOther: the neighbours of a site are its own draws.
func TestOneMoreSiteChangesNoOther(t *testing.T) {
	_, a := world(t, 1000, codes[:4])
	_, b := world(t, 1000, codes)
	for i := range a {
		if !slices.Equal(a[i].Sessions, b[i].Sessions) {
			t.Errorf("%s has other neighbours among ten", a[i].ID)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	w, sites := world(t, 500, codes[:2])
	if _, err := Find(w, []Site{{ID: "lhr"}}, failures(1), Ensemble{}); err != ErrNoSites {
		t.Errorf("%v, want %v", err, ErrNoSites)
	}
	if _, err := Find(w, sites, []Scenario{{true}}, Ensemble{}); err == nil {
		t.Error("a scenario of one of two sites was not refused")
	}
	c, err := Find(w, sites, []Scenario{{true, true}}, Ensemble{})
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Users(0); u[0] != 0 || u[1] != 0 || u[2] < 6e9 {
		t.Errorf("with all sites down %.0f land", u)
	}
}

func BenchmarkFailures(b *testing.B) {
	var many []string
	for _, c := range place.Cities()[:300] {
		many = append(many, c.Code)
	}
	w, sites := world(b, 78643, many)
	for b.Loop() {
		if _, err := Find(w, sites, failures(len(sites)), Ensemble{}); err != nil {
			b.Fatal(err)
		}
	}
}
