package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/homeward-lab/homeward/reports/worldmap"
	"github.com/homeward-lab/homeward/sim/asgraph"
	"github.com/homeward-lab/homeward/sim/catchment"
)

func newLanding(w *catchment.World, sites []catchment.Site, down catchment.Scenario, c *catchment.Catchments, f catchmentFlags) *landing {
	users := c.Users(0)
	all := 0.0
	for _, n := range users {
		all += n
	}
	l := &landing{Unreachable: users[len(sites)], ASes: w.Graph.Len(), Ensemble: f.members, Seed: f.seed, Note: catchmentNote}
	for i, s := range sites {
		row := landingSite{ID: s.ID, City: cmp.Or(s.At.City, s.At.Name), Down: down[i], Sessions: len(s.Sessions), Users: users[i], Share: users[i] / all, Low: math.Inf(1)}
		for m := range f.members {
			share := c.Member(0, m)[i] / all
			row.Low, row.High = min(row.Low, share), max(row.High, share)
		}
		if !down[i] && users[i] > 0 {
			row.Heirs = heirs(sites, users, c.Users(i+1), i)
		}
		l.Sites = append(l.Sites, row)
	}
	return l
}

// heirs are who has more users when site i is down too, the greatest first.
func heirs(sites []catchment.Site, before, after []float64, i int) []heir {
	var all []heir
	for k := range after {
		more := (after[k] - before[k]) / before[i]
		if k == i || more < 0.005 {
			continue
		}
		id := "none"
		if k < len(sites) {
			id = sites[k].ID
		}
		all = append(all, heir{id, more})
	}
	slices.SortStableFunc(all, func(a, b heir) int { return cmp.Compare(b.Share, a.Share) })
	return all
}

func (l *landing) print(out io.Writer) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "site\tcity\tneighbours\tusers\tshare\tin the ensemble\tif it fails, its users land at")
	for _, s := range l.Sites {
		if s.Down {
			fmt.Fprintf(tw, "%s\t%s\t%d\tdown\n", s.ID, s.City, s.Sessions)
			continue
		}
		var to []string
		for _, h := range s.Heirs[:min(3, len(s.Heirs))] {
			to = append(to, fmt.Sprintf("%s %.0f %%", h.Site, 100*h.Share))
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%.1f %%\t%.1f to %.1f %%\t%s\n", s.ID, s.City, s.Sessions, millions(s.Users), 100*s.Share, 100*s.Low, 100*s.High, strings.Join(to, ", "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if l.Unreachable > 0 {
		fmt.Fprintf(out, "%s reach none.\n", millions(l.Unreachable))
	}
	_, err := fmt.Fprintf(out, "\n%d networks, an ensemble of %s, seed %d. %s\n", l.ASes, count(l.Ensemble, "member"), l.Seed, l.Note)
	return err
}

func millions(n float64) string { return fmt.Sprintf("%.1f M", n/1e6) }

// drawLanding is the map: each city's users as a dot in the colour of the site where
// most of them land, and the sites as rings.
func drawLanding(out io.Writer, w *catchment.World, sites []catchment.Site, c *catchment.Catchments, l *landing) error {
	land := make([][]float64, len(w.Places)) // users of each place by site
	for v := range asgraph.Node(w.Graph.Len()) {
		h := w.Home[v]
		if land[h] == nil {
			land[h] = make([]float64, len(sites)+1)
		}
		for _, s := range c.Of(v) {
			land[h][s.Site] += s.P * w.Users[v]
		}
	}
	m := worldmap.Map{Title: fmt.Sprintf("Who lands where: %d networks, %s", l.ASes, count(len(sites), "site")), Note: l.Note}
	for h, by := range land {
		all, most := 0.0, 0
		for s, n := range by {
			if all += n; n > by[most] {
				most = s
			}
		}
		if all == 0 || most == len(sites) {
			continue
		}
		p := w.Places[h]
		m.Marks = append(m.Marks, worldmap.Mark{
			Lat: p.Lat, Lon: p.Lon, Radius: 1 + math.Sqrt(all/1e6)/2.5, Hue: most,
			Title: fmt.Sprintf("%s: %s, %.0f %% to %s", cmp.Or(p.City, p.Name), millions(all), 100*by[most]/all, sites[most].ID),
		})
	}
	for i, s := range l.Sites {
		label := s.ID
		if s.Down {
			label += " (down)"
		}
		at := sites[i].At
		m.Marks = append(m.Marks, worldmap.Mark{Lat: at.Lat, Lon: at.Lon, Radius: 5, Hue: i, Ring: true, Label: label, Title: fmt.Sprintf("%s: %s, %.1f %%", s.City, millions(s.Users), 100*s.Share)})
	}
	return m.Write(out)
}
