package html

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/reports/worldmap"
)

// atlas is a run's flows on a map of the world: from the client to the datacenter
// where it comes in, to the one where it leaves, to the origin, and back.
type atlas struct {
	Image template.URL
	// Story are the same ways in words, the busiest first; those with a detour are
	// marked.
	Story []passage
	More  int
}

// passage is one way that flows took.
type passage struct {
	Text   string
	Flows  int
	Detour bool
}

// leg is one part of a way, between two places.
type leg struct {
	from, to string // nodes
	extra    bool
}

const passagesShown = 12

// hues of the map: the network's places, the others, ways that any network has, and
// those that one with an address for each place would not have.
const (
	hueDatacenter = 2
	hueOther      = 10
	hueUsual      = 0
	hueExtra      = 1
)

// newAtlas draws a run; nil where there are no two datacenters to tell apart.
func newAtlas(rec *record.Records) (*atlas, error) {
	nodes := map[string]*record.TopologyNode{}
	places := map[[2]float64]bool{}
	for i := range rec.Run.Topology.Nodes {
		n := &rec.Run.Topology.Nodes[i]
		if n.Lat == 0 && n.Lon == 0 {
			continue
		}
		nodes[n.ID] = n
		if n.Kind == "edge" {
			nodes[n.Datacenter] = n // by its datacenter's name too, which is no node's
			places[[2]float64{n.Lat, n.Lon}] = true
		}
	}
	if len(places) < 2 {
		return nil, nil
	}
	ways, legs := map[string]*passage{}, map[leg]int{}
	for i := range rec.Flows {
		way, detour := path(&rec.Flows[i], rec, nodes)
		if way == nil {
			continue
		}
		text := tell(way, nodes)
		if ways[text] == nil {
			ways[text] = &passage{Text: text, Detour: detour}
		}
		ways[text].Flows++
		for _, l := range way {
			legs[l]++
		}
	}
	if len(ways) == 0 {
		return nil, nil
	}
	a := &atlas{}
	for _, text := range slices.Sorted(maps.Keys(ways)) {
		a.Story = append(a.Story, *ways[text])
	}
	slices.SortStableFunc(a.Story, func(x, y passage) int { return cmp.Compare(y.Flows, x.Flows) })
	a.More = max(len(a.Story)-passagesShown, 0)
	a.Story = a.Story[:len(a.Story)-a.More]
	return a, a.draw(rec, nodes, legs)
}

// path is the way of a flow and of its replies; nil if it never left, or some place
// of it is not known. Extra are hops between datacenters: one that announced an
// address of its own from each place would have none (SEMANTICS 5.6).
func path(f *record.Flow, rec *record.Records, nodes map[string]*record.TopologyNode) (way []leg, detour bool) {
	if f.EgressDC == "" || f.IngressDC == "" || nodes[f.Client] == nil || nodes[f.Server] == nil || nodes[f.IngressDC] == nil || nodes[f.EgressDC] == nil {
		return nil, false
	}
	lands := f.EgressDC
	at := nodes[f.Server].Datacenter
	if b, ok := rec.Run.Blocks[f.EgressIP]; ok && slices.Contains(b.From, at) && nodes[at] != nil {
		lands = at // the nearest to the origin of those that announce the address
	}
	stops := []string{f.Client, f.IngressDC, f.EgressDC, f.Server, lands, f.EgressDC, f.IngressDC, f.Client}
	for i, to := range stops[1:] {
		from := stops[i]
		if from == to {
			continue
		}
		extra := from != f.Client && to != f.Client && from != f.Server && to != f.Server
		way, detour = append(way, leg{from, to, extra}), detour || extra
	}
	return way, detour
}

// tell is a way in words: of hosts their sites, for they are many.
func tell(way []leg, nodes map[string]*record.TopologyNode) string {
	var b strings.Builder
	b.WriteString(placeName(way[0].from, nodes))
	for _, l := range way {
		if l.extra {
			b.WriteString(" ⇢ ")
		} else {
			b.WriteString(" → ")
		}
		b.WriteString(placeName(l.to, nodes))
	}
	return b.String()
}

func placeName(id string, nodes map[string]*record.TopologyNode) string {
	n := nodes[id]
	switch {
	case n.Kind == "edge":
		return n.Datacenter
	case n.Site != "":
		id = n.Site
	}
	kind, _, _ := strings.Cut(id, ".") // instances of one word are one on the map
	return kind
}

// draw makes the picture: legs between the same two places are one line.
func (a *atlas) draw(rec *record.Records, nodes map[string]*record.TopologyNode, legs map[leg]int) error {
	type span struct {
		from, to [2]float64
		extra    bool
	}
	at := func(id string) [2]float64 { return [2]float64{nodes[id].Lat, nodes[id].Lon} }
	spans, most := map[span]int{}, 1
	names := map[[2]float64]map[string]bool{} // whether it is a datacenter's
	home := map[[2]float64]bool{}
	note := func(id string) {
		p := at(id)
		if names[p] == nil {
			names[p] = map[string]bool{}
		}
		names[p][placeName(id, nodes)] = nodes[id].Kind == "edge"
		home[p] = home[p] || nodes[id].Kind == "edge"
	}
	for _, n := range nodes {
		if n.Kind == "edge" {
			note(n.ID)
		}
	}
	for l, n := range legs {
		note(l.from)
		note(l.to)
		s := span{at(l.from), at(l.to), l.extra}
		if s.from != s.to {
			spans[s] += n
			most = max(most, spans[s])
		}
	}
	m := worldmap.Map{Title: "Where the flows of " + rec.Run.Variant + " went", Near: true}
	order := slices.SortedFunc(maps.Keys(spans), func(x, y span) int {
		return cmp.Or(slices.Compare(x.from[:], y.from[:]), slices.Compare(x.to[:], y.to[:]), cmp.Compare(fmt.Sprint(x.extra), fmt.Sprint(y.extra)))
	})
	for _, s := range order {
		line := worldmap.Line{FromLat: s.from[0], FromLon: s.from[1], ToLat: s.to[0], ToLon: s.to[1], Hue: hueUsual, Width: 1.2 + 3*math.Sqrt(float64(spans[s])/float64(most))}
		if s.extra {
			line.Hue, line.Dashed = hueExtra, true
		}
		m.Lines = append(m.Lines, line)
	}
	for _, p := range slices.SortedFunc(maps.Keys(names), func(x, y [2]float64) int { return slices.Compare(x[:], y[:]) }) {
		mark := worldmap.Mark{Lat: p[0], Lon: p[1], Radius: 4, Hue: hueOther, Label: label(names[p])}
		if home[p] {
			mark.Radius, mark.Hue = 7, hueDatacenter
		}
		m.Marks = append(m.Marks, mark)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return err
	}
	a.Image = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
	return nil
}

// label names who is at a place, datacenters first.
func label(names map[string]bool) string {
	const most = 3
	all := slices.SortedFunc(maps.Keys(names), func(x, y string) int {
		switch {
		case names[x] == names[y]:
			return cmp.Compare(x, y)
		case names[x]:
			return -1
		}
		return 1
	})
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}
