package catchment

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/topologies/place"
)

// Known is what somebody knows of an AS.
type Known struct {
	// Country of most of its users, in upper case.
	Country string
	// Users; negative if that is not known.
	Users float64
	// Line that says so, for mistakes.
	Line int
}

// ReadKnown reads a CSV file with a header that names at least the columns asn and
// country; users may be there, and others are passed over. Errors have the line.
func ReadKnown(name string, r io.Reader) (map[asgraph.ASN]Known, error) {
	in := csv.NewReader(r)
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	number, country, users := slices.Index(header, "asn"), slices.Index(header, "country"), slices.Index(header, "users")
	if number < 0 || country < 0 {
		return nil, fmt.Errorf("%s:1: columns %v, want asn and country, and users if known", name, header)
	}
	all := map[asgraph.ASN]Known{}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := in.FieldPos(0)
		n, err := strconv.ParseUint(row[number], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %q is no AS number", name, line, row[number])
		}
		k := Known{Country: row[country], Users: -1, Line: line}
		if users >= 0 {
			if k.Users, err = strconv.ParseFloat(row[users], 64); err != nil || !(k.Users >= 0) {
				return nil, fmt.Errorf("%s:%d: %q users, want a number from 0 on", name, line, row[users])
			}
		}
		all[asgraph.ASN(n)] = k
	}
}

// Unknown are the known ASes that a graph does not have, in the order of their lines:
// whatever is said of them counts for nobody.
func Unknown(g *asgraph.Graph, known map[asgraph.ASN]Known) []asgraph.ASN {
	var all []asgraph.ASN
	for n := range known {
		if _, ok := g.Lookup(n); !ok {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b asgraph.ASN) int { return cmp.Compare(known[a].Line, known[b].Line) })
	return all
}

// Of makes a world of a graph. ASes that are known are at home in their country, the
// others anywhere where people live; users that are not known are drawn as Draw does.
func Of(g *asgraph.Graph, known map[asgraph.ASN]Known, seed uint64) *World {
	cities := place.Cities()
	w := &World{Graph: g, Home: make([]int, g.Len()), Places: make([]place.Place, len(cities))}
	of := map[string][]int{}
	upTo, sum := make([]float64, len(cities)), 0.0
	for i, c := range cities {
		w.Places[i] = c.Place
		of[c.Country] = append(of[c.Country], i)
		sum += c.People
		upTo[i] = sum
	}
	for v := range asgraph.Node(g.Len()) {
		// An AS's home is its own draw.
		r := rand.New(rand.NewPCG(seed, uint64(g.ASN(v))))
		if here := of[known[g.ASN(v)].Country]; len(here) > 0 {
			w.Home[v] = here[r.IntN(len(here))]
			continue
		}
		i, _ := slices.BinarySearch(upTo, sum*r.Float64())
		w.Home[v] = min(i, len(cities)-1)
	}
	w.populate(cities, seed)
	for v := range asgraph.Node(g.Len()) {
		if k, ok := known[g.ASN(v)]; ok && k.Users >= 0 {
			w.Users[v] = k.Users
		}
	}
	return w
}
