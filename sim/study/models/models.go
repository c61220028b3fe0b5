// Package models are what a study can ask: who lands in which datacenter, how BGP
// finds the way after a failure, and the flow level.
//
// It makes no statistics and knows no file. Its law: replicas of the same number see
// the same Internet and the same chance at every point of a study.
package models

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/homeward-lab/homeward/sim/catchment"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Resolve makes the scenario of a point, with further settings.
type Resolve func(p study.Point, more ...spec.Setting) (*spec.Scenario, error)

// Limits of models over a graph of ASes.
func Limits() []string {
	return []string{
		"Who lands where is a model, not a measurement: AS-level models of this kind find 34 % of the Internet's AS paths exactly, 84 % once the first hop is known, 95 % with geography.",
		"The Internet is drawn to be like the real one in its counts; the order in which announcements arrived, which also decides ties, is a guess of each replica.",
	}
}

// internet is the study's graph at a point.
func internet(s *spec.Study, p study.Point) (spec.StudyInternet, error) {
	in := s.Internet
	for _, set := range p.Settings(s) {
		var err error
		switch set.Path {
		case "internet.ases":
			in.ASes, err = number(set)
		case "internet.ensemble":
			in.Ensemble, err = number(set)
		case "internet.announcers":
			in.Announcers = strings.Trim(set.Value, `"`)
		case "internet.mrai":
			err = in.MRAI.UnmarshalText([]byte(set.Value))
		}
		if err != nil {
			return in, err
		}
	}
	return in, nil
}

func number(set spec.Setting) (int, error) {
	q, err := spec.ParseQuantity(set.Value)
	if err != nil || q.Unit != "" || q.Value < 1 || q.Value > 1e6 || q.Value != float64(int(q.Value)) {
		return 0, fmt.Errorf("%s: %q, want a whole number", set.Path, set.Value)
	}
	return int(q.Value), nil
}

// where are the places of a scenario's datacenters.
func where(s *spec.Scenario) (ids []string, places []place.Place, err error) {
	for _, d := range s.Datacenters {
		p, ok := place.Lookup(cmp.Or(d.Place, d.ID))
		if !ok {
			return nil, nil, fmt.Errorf("datacenter %s is at no place: over a graph of the Internet it needs one, an IATA code", d.ID)
		}
		ids, places = append(ids, d.ID), append(places, p)
	}
	return ids, places, nil
}

// worlds keeps the last drawn Internets: tasks of one topology follow one another.
type worlds struct {
	mu   sync.Mutex
	kept []*drawn
}

// drawn is an Internet that is drawn once, by whoever is first.
type drawn struct {
	ases  int
	seed  uint64
	once  sync.Once
	world *catchment.World
	err   error
}

const keptWorlds = 2

func (w *worlds) of(ases int, seed uint64) (*catchment.World, error) {
	w.mu.Lock()
	i := slices.IndexFunc(w.kept, func(d *drawn) bool { return d.ases == ases && d.seed == seed })
	var d *drawn
	if i >= 0 {
		d = w.kept[i]
	} else {
		d = &drawn{ases: ases, seed: seed}
		w.kept = append(w.kept, d)
		if len(w.kept) > keptWorlds {
			w.kept = w.kept[1:]
		}
	}
	w.mu.Unlock()
	d.once.Do(func() { d.world, d.err = catchment.Draw(ases, seed) })
	return d.world, d.err
}
