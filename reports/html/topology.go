package html

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// Columns of the drawing, in its own units (about a pixel at 1400 wide).
const (
	width       = 1120.0
	siteX       = 8.0
	siteW       = 214.0
	siteH       = 84.0
	transitX    = 338.0
	dcX         = 436.0
	dcW         = 348.0
	serverX     = dcX + 64
	serverW     = dcW - 84
	serverH     = 54.0
	originX     = 958.0
	originW     = 154.0
	originH     = 66.0
	top         = 34.0
	bottom      = 14.0
	gap         = 18.0
	dcHead      = 50.0
	mostOrigins = 8
)

// drawing is a topology with the flows of each traffic on it.
type drawing struct {
	Key           string
	Width, Height float64
	Sites         []box
	Datacenters   []box
	Servers       []box
	Origins       []box
	Transits      []box
	Links         []line
	Patterns      int // prefixes that more than one site has
	Layers        []layer
	More          int // sites that are not drawn
}

// box is one rectangle with text. Hue is the colour number of a site.
type box struct {
	ID, Text, Small string
	X, Y, W, H      float64
	Hue             int
	Prefix          string // "10.0.1.0/24 ×3"
	Pattern         int    // from 1; 0 is a prefix of one site alone
}

// CY is the middle of the box.
func (b box) CY() float64 { return b.Y + b.H/2 }

// line is a link of the network.
type line struct{ D, Class, Title string }

// geometry is where boxes are, by id.
type geometry struct {
	d     drawing
	boxes map[string]box
}

// draw lays out a run's topology, the same for the same topology: sites left,
// transit, datacenters with their servers, origins right.
func draw(rec *record.Records, n names, traffic []string) drawing {
	g := &geometry{boxes: map[string]box{}, d: drawing{Width: width}}
	g.sites(rec, n)
	g.datacenters(rec.Run.Topology)
	g.origins(rec.Run.Topology)
	g.d.Height = max(stack(g.d.Sites), stack(g.d.Datacenters), stack(g.d.Origins)) + bottom
	g.center()
	g.transits(rec.Run.Topology)
	for _, l := range rec.Run.Topology.Links {
		g.link(l, n)
	}
	for _, t := range append([]string{"all"}, traffic...) {
		g.d.Layers = append(g.d.Layers, newLayer(t, ofTraffic(rec.Flows, t), n, g))
	}
	return g.d
}

// stack is the bottom of a column.
func stack(boxes []box) float64 {
	if len(boxes) == 0 {
		return top
	}
	last := boxes[len(boxes)-1]
	return last.Y + last.H
}

// sites are the left column: those that ask first, in natural order.
func (g *geometry) sites(rec *record.Records, n names) {
	prefixes, count := map[string]string{}, map[string]int{}
	hosts := map[string][]string{}
	for _, node := range rec.Run.Topology.Nodes {
		if node.Site == "" {
			continue
		}
		if node.Prefix != "" {
			if prefixes[node.Site] == "" {
				count[node.Prefix]++
			}
			prefixes[node.Site] = node.Prefix
		}
		if node.Kind == "host" {
			name := strings.TrimPrefix(node.ID, node.Site+".")
			hosts[node.Site] = append(hosts[node.Site], strings.TrimSpace(name+" "+strings.Join(node.Addresses, " ")))
		}
	}
	asking := map[string]bool{}
	for _, f := range rec.Flows {
		asking[n.of(f.Client)] = true
	}
	shown := slices.Clone(n.sites)
	slices.SortStableFunc(shown, func(a, b string) int {
		rank := func(s string) int {
			if asking[s] {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	if len(shown) > mostSites {
		g.d.More = len(shown) - mostSites
		shown = shown[:mostSites]
	}
	slices.SortFunc(shown, natural)
	patterns := map[string]int{}
	for i, site := range shown {
		b := box{ID: site, Text: site, X: siteX, Y: top + float64(i)*(siteH+gap), W: siteW, H: siteH, Hue: i % 8}
		slices.Sort(hosts[site])
		b.Small = short(hosts[site], 1)
		if p := prefixes[site]; p != "" {
			b.Prefix = p
			if count[p] > 1 {
				if patterns[p] == 0 {
					patterns[p] = len(patterns) + 1
				}
				b.Prefix, b.Pattern = fmt.Sprintf("%s ×%d", p, count[p]), 1+(patterns[p]-1)%4
			}
		}
		g.boxes[site] = b
		g.d.Sites = append(g.d.Sites, b)
	}
	g.d.Patterns = min(len(patterns), 4)
}

// short joins the first n texts and says how many more there are.
func short(texts []string, n int) string {
	if len(texts) <= n {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:n], ", "), len(texts)-n)
}

// datacenters are cards with a card per server in them.
func (g *geometry) datacenters(t record.Topology) {
	servers, edge := map[string][]record.TopologyNode{}, map[string]string{}
	set := map[string]bool{}
	for _, node := range t.Nodes {
		switch node.Kind {
		case "server":
			servers[node.Datacenter] = append(servers[node.Datacenter], node)
			set[node.Datacenter] = true
		case "edge":
			edge[node.Datacenter] = short(node.Addresses, 2)
			set[node.Datacenter] = true
		}
	}
	y := top
	for _, dc := range sortedByTraffic(set, t) {
		slices.SortFunc(servers[dc], func(a, b record.TopologyNode) int { return natural(a.ID, b.ID) })
		b := box{ID: "dc:" + dc, Text: dc, X: dcX, Y: y, W: dcW}
		if edge[dc] != "" {
			b.Small = "egress " + edge[dc]
		}
		sy := y + dcHead
		for _, s := range servers[dc] {
			sb := box{ID: s.ID, Text: s.ID, Small: short(s.Addresses, 1), X: serverX, Y: sy, W: serverW, H: serverH}
			g.boxes[s.ID] = sb
			g.d.Servers = append(g.d.Servers, sb)
			sy += serverH + gap/2
		}
		b.H = sy + gap/2 - y
		g.boxes[b.ID] = b
		g.d.Datacenters = append(g.d.Datacenters, b)
		y = b.Y + b.H + gap*1.5
	}
}

// sortedByTraffic puts the datacenter of the first sites on top: fewer crossings.
func sortedByTraffic(set map[string]bool, t record.Topology) []string {
	all := sorted(set)
	first := map[string]string{} // the least site that lands there
	for _, node := range t.Nodes {
		if node.Site != "" && node.Datacenter != "" && (first[node.Datacenter] == "" || natural(node.Site, first[node.Datacenter]) < 0) {
			first[node.Datacenter] = node.Site
		}
	}
	slices.SortStableFunc(all, func(a, b string) int {
		switch {
		case first[a] == "" && first[b] == "":
			return 0
		case first[a] == "":
			return 1
		case first[b] == "":
			return -1
		}
		return natural(first[a], first[b])
	})
	return all
}

// origins are the right column.
func (g *geometry) origins(t record.Topology) {
	var nodes []record.TopologyNode
	for _, node := range t.Nodes {
		if node.Kind == "origin" {
			nodes = append(nodes, node)
		}
	}
	slices.SortFunc(nodes, func(a, b record.TopologyNode) int { return natural(a.ID, b.ID) })
	for i, node := range nodes[:min(len(nodes), mostOrigins)] {
		b := box{ID: node.ID, Text: node.ID, Small: short(node.Addresses, 1), X: originX, Y: top + float64(i)*(originH+gap), W: originW, H: originH}
		g.boxes[node.ID] = b
		g.d.Origins = append(g.d.Origins, b)
	}
}

// center moves each column to the middle of the drawing.
func (g *geometry) center() {
	shift := func(boxes []box, by float64) {
		for i := range boxes {
			boxes[i].Y += by
			g.boxes[boxes[i].ID] = boxes[i]
		}
	}
	free := func(boxes []box) float64 { return (g.d.Height - bottom - stack(boxes)) / 2 }
	dc := free(g.d.Datacenters)
	shift(g.d.Sites, free(g.d.Sites))
	shift(g.d.Origins, free(g.d.Origins))
	shift(g.d.Datacenters, dc)
	shift(g.d.Servers, dc)
}

// transits stand between sites and datacenters, level with the datacenter that
// they are linked to.
func (g *geometry) transits(t record.Topology) {
	var nodes []record.TopologyNode
	for _, node := range t.Nodes {
		if node.Kind == "transit" {
			nodes = append(nodes, node)
		}
	}
	level := func(id string) float64 {
		for _, l := range t.Links {
			for _, pair := range [][2]string{{l.A, l.B}, {l.B, l.A}} {
				if dc, ok := strings.CutSuffix(pair[1], ".edge"); pair[0] == id && ok {
					if b, ok := g.boxes["dc:"+dc]; ok {
						return b.CY()
					}
				}
			}
		}
		return g.d.Height / 2
	}
	slices.SortFunc(nodes, func(a, b record.TopologyNode) int {
		return cmp.Or(cmp.Compare(level(a.ID), level(b.ID)), natural(a.ID, b.ID))
	})
	last := 0.0
	for _, node := range nodes {
		y := max(level(node.ID), last+40)
		last = y
		b := box{ID: node.ID, Text: strings.TrimPrefix(node.ID, "transit."), X: transitX - 22, Y: y - 13, W: 44, H: 26}
		g.boxes[node.ID] = b
		g.d.Transits = append(g.d.Transits, b)
	}
}

// place finds the box that stands for a node: hosts and branch routers are in
// their site's, edges in their datacenter's.
func (g *geometry) place(node string, n names) (box, bool) {
	if b, ok := g.boxes[node]; ok {
		return b, true
	}
	if b, ok := g.boxes[n.of(node)]; ok {
		return b, true
	}
	if dc, ok := strings.CutSuffix(node, ".edge"); ok {
		b, ok := g.boxes["dc:"+dc]
		return b, ok
	}
	return box{}, false
}

// link draws a link faintly, unless it is inside a box.
func (g *geometry) link(l record.TopologyLink, n names) {
	a, okA := g.place(l.A, n)
	b, okB := g.place(l.B, n)
	if !okA || !okB || a.ID == b.ID || l.Class == "tunnel" {
		return
	}
	if a.X > b.X {
		a, b = b, a
	}
	var d string
	switch {
	case a.X == b.X: // one column: down its middle
		if a.Y > b.Y {
			a, b = b, a
		}
		x := a.X + a.W/2
		d = fmt.Sprintf("M%.1f %.1fL%.1f %.1f", x, a.Y+a.H, x, b.Y)
	case b.X == originX && a.X < dcX: // over the datacenters
		x, y := a.X+a.W/2, 14.0
		d = fmt.Sprintf("M%.1f %.1fV%.1fQ%.1f %.1f %.1f %.1fH%.1fQ%.1f %.1f %.1f %.1fV%.1f", x, a.Y, y+12, x, y, x+12, y,
			b.X+b.W/2-12, b.X+b.W/2, y, b.X+b.W/2, y+12, b.Y)
	case strings.HasPrefix(a.ID, "dc:"): // edge to server: a short bracket
		x := a.X + 28
		d = fmt.Sprintf("M%.1f %.1fV%.1fH%.1f", x, a.Y+dcHead-8, b.CY(), b.X)
	default:
		d = curve(a.X+a.W, a.CY(), b.X, b.CY())
	}
	g.d.Links = append(g.d.Links, line{D: d, Class: l.Class, Title: strings.TrimSpace(l.A + " – " + l.B + " " + l.Text)})
}

// curve leaves and arrives level.
func curve(x1, y1, x2, y2 float64) string {
	k := (x2 - x1) * 0.45
	return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1+k, y1, x2-k, y2, x2, y2)
}
