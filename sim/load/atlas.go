package load

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Atlas keeps the Internets that Models were made of, because drawing one takes
// longer than a run. The zero value is empty and ready; it may be used by several
// goroutines, and grows with each Internet that differs.
type Atlas struct {
	mu     sync.Mutex
	worlds map[string]func() (*catchment.World, error)
	nets   map[string]func() (*network, error)
	tables map[string]func() (*homes, error)
}

// network is an anycast network over an Internet.
type network struct {
	world  *catchment.World
	sites  []catchment.Site
	finder *catchment.Finder
	metres [][]float64 // from each of the world's places to each site
}

// world is the Internet of a population.
func (a *Atlas) world(p *spec.Population) (*catchment.World, error) {
	ases, sample := cmp.Or(p.ASes, asgraph.Internet().ASes), cmp.Or(p.Sample, 1)
	return once(a, &a.worlds, fmt.Sprintf("%d/%d", ases, sample), func() (*catchment.World, error) {
		return catchment.Draw(ases, sample)
	})
}

// network is what datacenters make of a population's Internet.
func (a *Atlas) network(p *spec.Population, ids []string, places []place.Place) (*network, error) {
	w, err := a.world(p)
	if err != nil {
		return nil, err
	}
	attach := catchment.Attach{Transit: p.Transit, Peers: float64(p.Peers), Seed: cmp.Or(p.Sample, 1)}
	var codes strings.Builder
	for i := range ids {
		fmt.Fprintf(&codes, " %s=%s", ids[i], places[i].Code)
	}
	key := fmt.Sprintf("%p %+v%s", w, attach, codes.String())
	return once(a, &a.nets, key, func() (*network, error) {
		sites, err := w.Attach(ids, places, attach)
		if err != nil {
			return nil, err
		}
		f, err := catchment.NewFinder(w, sites)
		return &network{w, sites, f, distances(w.Places, places)}, err
	})
}

// once makes what a key names, once, outside of the lock.
func once[T any](a *Atlas, all *map[string]func() (T, error), key string, make func() (T, error)) (T, error) {
	a.mu.Lock()
	if *all == nil {
		*all = map[string]func() (T, error){}
	}
	f := (*all)[key]
	if f == nil {
		f = sync.OnceValues(make)
		(*all)[key] = f
	}
	a.mu.Unlock()
	return f()
}
