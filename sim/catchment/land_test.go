package catchment

import (
	"slices"
	"testing"

	"github.com/homeward-lab/homeward/sim/asgraph"
)

// TestLandEqualsOneAtATime: a Finder has every node where the slow way has it, with
// sites up and down.
func TestLandEqualsOneAtATime(t *testing.T) {
	w, sites := world(t, 1500, codes)
	f, err := NewFinder(w, sites)
	if err != nil {
		t.Fatal(err)
	}
	for _, down := range append(failures(len(sites)), slices.Repeat([]bool{true}, len(sites))) {
		for _, p := range []asgraph.Preference{0, Guess(7)} {
			got, err := f.Land(down, p)
			if err != nil {
				t.Fatal(err)
			}
			want, err := slow(w, sites, down, p)
			if err != nil {
				t.Fatal(err)
			}
			for v, s := range want {
				if int(got[v].Site) != s && (got[v].Site != Nowhere || s != len(sites)) {
					t.Fatalf("%v lands at %d, want %d (down %v)", w.Graph.ASN(asgraph.Node(v)), got[v].Site, s, down)
				}
			}
		}
	}
}

// TestDoubt: without doubt all are where they were; the more relations are doubted the
// more users are elsewhere, and nobody who had a provider is cut off.
func TestDoubt(t *testing.T) {
	w, sites := world(t, 3000, codes)
	// Where all sites buy from the same providers, geography decides alone. Here each has
	// one of its own.
	tops := w.tops()
	for i := range sites {
		sites[i].Sessions = []Session{{To: tops[i], Class: asgraph.FromCustomer}}
	}
	f, err := NewFinder(w, sites)
	if err != nil {
		t.Fatal(err)
	}
	believed, err := f.Land(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := -1.0
	for _, share := range []float64{0, 0.05, 0.3} {
		d, err := w.Doubt(sites, share, 1)
		if err != nil {
			t.Fatal(err)
		}
		land, err := d.Land(nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		moved := 0.0
		for v, l := range land {
			if l.Site != believed[v].Site {
				moved += w.Users[v]
			}
			if l.Site == Nowhere && believed[v].Site != Nowhere && len(w.Graph.Providers(asgraph.Node(v))) > 0 {
				t.Fatalf("%v has no way any more", w.Graph.ASN(asgraph.Node(v)))
			}
		}
		if moved < last || (moved > 0) != (share > 0.1) && share != 0.05 {
			t.Errorf("with %v of relations doubted %.0f users are elsewhere, before %.0f", share, moved, last)
		}
		last = moved
	}
}
