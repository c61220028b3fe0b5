package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// place finds the box that stands for a node: hosts and branch routers are in
// their site's, edges in their datacenter's.
func (g *geometry) place(node string) (Box, bool) {
	if b, ok := g.boxes[node]; ok {
		return b, true
	}
	if id, ok := g.card[g.sites.Of(node)]; ok {
		return g.boxes[id], true
	}
	if dc, ok := strings.CutSuffix(node, ".edge"); ok {
		b, ok := g.boxes["dc:"+dc]
		return b, ok
	}
	return Box{}, false
}

// link draws a wire faintly, unless it is inside a box or drawn already. What
// stands right hangs on the datacenter that its traffic lands in.
func (g *geometry) link(l record.TopologyLink) {
	a, okA := g.place(l.A)
	b, okB := g.place(l.B)
	if !okA || !okB || a.ID == b.ID || isOnRamp(l) {
		return
	}
	if a.X > b.X {
		a, b = b, a
	}
	var d string
	switch {
	case b.Right:
		dc, ok := g.behind(a)
		if !ok || b.Kind == "connector" { // its tunnel says it
			return
		}
		d = curve(dc.X+dc.W, dc.CY(), b.X, b.CY())
	case a.X == b.X: // one column: down its middle
		if a.Y > b.Y {
			a, b = b, a
		}
		x := a.X + a.W/2
		d = fmt.Sprintf("M%.1f %.1fL%.1f %.1f", x, a.Y+a.H, x, b.Y)
	case strings.HasPrefix(a.ID, "dc:"): // edge to server: a short bracket
		x := a.X + 28
		d = fmt.Sprintf("M%.1f %.1fV%.1fH%.1f", x, a.Y+dcHead-8, b.CY(), b.X)
	default:
		d = curve(a.X+a.W, a.CY(), b.X, b.CY())
	}
	if a.Stacked || b.Stacked {
		if slices.ContainsFunc(g.d.Links, func(o Line) bool { return o.D == d }) {
			return
		}
	}
	g.d.Links = append(g.d.Links, Line{D: d, Class: "link " + l.Class, Title: strings.TrimSpace(l.A + " – " + l.B + " " + l.Text)})
}

// behind is the datacenter level with a transit.
func (g *geometry) behind(transit Box) (Box, bool) {
	for _, b := range g.d.Datacenters {
		if b.Y <= transit.CY() && transit.CY() <= b.Y+b.H {
			return b, true
		}
	}
	return Box{}, false
}

// onramps draws how each card is connected: through the Internet into a tunnel,
// or by a link of its own. Where flows are drawn, they show the tunnels that
// they use; only what is no tunnel of the Internet's is drawn then.
func (g *geometry) onramps(all []*unit) {
	type ramp struct {
		from, to Box
		kind     string
		names    []string
	}
	var ramps []*ramp
	for _, u := range all {
		from := g.boxes[u.id()]
		for _, l := range u.onramps {
			to, ok := g.place(l.B)
			if !ok || g.flows && l.Kind != "interconnect" {
				continue
			}
			i := slices.IndexFunc(ramps, func(r *ramp) bool { return r.from.ID == from.ID && r.to.ID == to.ID && r.kind == l.Kind })
			if i < 0 {
				i = len(ramps)
				ramps = append(ramps, &ramp{from: from, to: to, kind: l.Kind})
			}
			ramps[i].names = append(ramps[i].names, strings.TrimSpace(l.ID+" "+l.Text))
		}
	}
	// Side by side where they meet, in the order of where they come from.
	slices.SortStableFunc(ramps, func(a, b *ramp) int { return cmp.Compare(a.from.CY(), b.from.CY()) })
	count, next := map[string]int{}, map[string]int{}
	side := func(r *ramp) string { return fmt.Sprint(r.to.ID, r.from.Right) }
	for _, r := range ramps {
		count[side(r)]++
	}
	for _, r := range ramps {
		n := float64(count[side(r)])
		step := min(7, (r.to.H-24)/max(1, n-1))
		y := r.to.CY() + (float64(next[side(r)])-(n-1)/2)*step
		next[side(r)]++
		line := Line{Class: "ramp " + r.kind, Title: short(r.names, 6), Hue: r.from.Hue}
		transit, known := g.transitOf(r.to)
		switch {
		case r.from.Right:
			line.D = curve(r.from.X, r.from.CY(), r.to.X+r.to.W, y)
		case r.kind == "interconnect" || !known:
			line.D = curve(r.from.X+r.from.W, r.from.CY(), r.to.X, y)
		default:
			mid := min(max(y, transit.Y+3), transit.Y+transit.H-3)
			line.D = curve(r.from.X+r.from.W, r.from.CY(), transitX, mid) + strings.TrimPrefix(curve(transitX, mid, r.to.X, y), fmt.Sprintf("M%.1f %.1f", transitX, mid))
		}
		g.d.Links = append(g.d.Links, line)
	}
}

// transitOf is the transit level with a datacenter.
func (g *geometry) transitOf(dc Box) (Box, bool) {
	for _, t := range g.d.Transits {
		if dc.Y <= t.CY() && t.CY() <= dc.Y+dc.H {
			return t, true
		}
	}
	return Box{}, false
}

// curve leaves and arrives level.
func curve(x1, y1, x2, y2 float64) string {
	k := (x2 - x1) * 0.45
	return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1+k, y1, x2-k, y2, x2, y2)
}
