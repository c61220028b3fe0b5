package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// mostBundles bounds the ways drawn of one traffic.
const mostBundles = 40

// Layer is the flows of one traffic, drawn.
type Layer struct {
	Traffic string
	Paths   []Path
	Marks   []Mark
	Story   []string // the same in words
	More    int      // ways that are not drawn
}

// Path is one stretch of a way. Class is out, back, wrong or lost; Hue the
// asking site's colour.
type Path struct {
	D, Class, Title string
	Hue             int
	Arrow           bool
}

// Mark is a sign at a way's end: a count, a wrong delivery or a loss.
type Mark struct {
	X, Y        float64
	Text, Class string
	Hue         int
	// on is the stretch that it belongs to: x1, y1, x2, y2 of its curve.
	on [4]float64
}

// bundle is flows that went the same way.
type bundle struct {
	from, home, exit, to, landed string // boxes
	// The same for people.
	fromName, toName, landedName string
	ingress                      string
	class                        string // back, wrong or lost
	hue, n                       int
}

// end is where a stretch meets a box's side; all ends of a side share it.
type end struct {
	box   string
	right bool
	other float64 // height of the other end: sorts without crossings
	y     float64
}

// stretch is part of a way between two boxes; all bundles that look the same
// there share it.
type stretch struct {
	from, to *end
	class    string
	arrow    bool
	hue      int
	shared   []*bundle
}

// n is how many flows went there.
func (s stretch) n() int {
	sum := 0
	for _, b := range s.shared {
		sum += b.n
	}
	return sum
}

// newLayer bundles flows by their way and draws each bundle from client to
// home server, egress server and origin, and back to where the reply was seen.
func newLayer(traffic string, flows []record.Flow, g *geometry) Layer {
	l := Layer{Traffic: traffic}
	bundles := bundleUp(flows, g)
	for _, b := range bundles {
		l.Story = append(l.Story, b.story())
	}
	if len(bundles) > mostBundles {
		l.More = len(bundles) - mostBundles
		bundles = bundles[:mostBundles]
		l.Story = l.Story[:mostBundles]
	}
	var all []stretch
	for i := range bundles {
		all = append(all, bundles[i].stretches(g)...)
	}
	all = merge(all)
	spread(all, g)
	for _, s := range all {
		l.add(s, g)
	}
	stagger(l.Marks)
	return l
}

// unlessOne is a count that is worth saying.
func unlessOne(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprint(n)
}

// merge joins stretches between the same boxes that would look the same.
func merge(all []stretch) []stretch {
	type look struct {
		from, to, class string
		arrow           bool
		hue             int
	}
	index := map[look]int{}
	var merged []stretch
	for _, s := range all {
		k := look{s.from.box, s.to.box, s.class, s.arrow, s.hue}
		i, ok := index[k]
		if !ok {
			index[k] = len(merged)
			merged = append(merged, s)
			continue
		}
		merged[i].shared = append(merged[i].shared, s.shared...)
	}
	return merged
}

// stagger moves marks that would cover their neighbour further from the box.
func stagger(marks []Mark) {
	slices.SortStableFunc(marks, func(a, b Mark) int { return cmp.Or(cmp.Compare(a.X, b.X), cmp.Compare(a.Y, b.Y)) })
	const apart, aside = 13, 40
	for i := 1; i < len(marks); i++ {
		last := marks[i-1]
		if marks[i].X <= last.X && marks[i].Y-last.Y < apart {
			marks[i].X += aside
		}
	}
	for i := range marks {
		marks[i].Y = height(marks[i].on, marks[i].X)
	}
}

// height is where a curve is at x, found by halving: x grows or shrinks
// steadily along it.
func height(on [4]float64, x float64) float64 {
	x1, y1, x2, y2 := on[0], on[1], on[2], on[3]
	k := (x2 - x1) * 0.45
	bezier := func(a, b, c, d, t float64) float64 {
		u := 1 - t
		return u*u*u*a + 3*u*u*t*b + 3*u*t*t*c + t*t*t*d
	}
	low, high := 0.0, 1.0
	for range 30 {
		t := (low + high) / 2
		if (bezier(x1, x1+k, x2-k, x2, t) < x) == (x1 < x2) {
			low = t
		} else {
			high = t
		}
	}
	return bezier(y1, y1, y2, y2, low)
}

func bundleUp(flows []record.Flow, g *geometry) []*bundle {
	index := map[bundle]*bundle{}
	var all []*bundle
	for _, f := range flows {
		from, landed := g.sites.Of(f.Client), g.sites.Landing(f)
		b := bundle{from: g.cardOf(from), home: f.HomeServer, exit: f.EgressServer, to: g.cardOf(g.sites.Of(f.Server)), ingress: f.IngressDC, landed: g.cardOf(landed)}
		switch landed {
		case NoAnswer:
			b.class = "lost"
		case from, NotRecorded:
			b.landed, b.class = b.from, "back"
		default:
			b.class = "wrong"
		}
		b.hue = g.boxes[b.from].Hue
		b.fromName, b.toName, b.landedName = g.nameOf(b.from), g.nameOf(b.to), g.nameOf(b.landed)
		if index[b] == nil {
			one := b
			index[b] = &one
			all = append(all, &one)
		}
		index[b].n++
	}
	rank := map[string]int{"wrong": 0, "lost": 1, "back": 2}
	slices.SortFunc(all, func(a, b *bundle) int {
		return cmp.Or(rank[a.class]-rank[b.class], Natural(a.from, b.from), b.n-a.n,
			Natural(a.home, b.home), Natural(a.landed, b.landed), Natural(a.to, b.to), Natural(a.exit, b.exit), cmp.Compare(a.ingress, b.ingress))
	})
	return all
}

// cardOf is the box of a site, or the site itself if it has none.
func (g *geometry) cardOf(site string) string { return cmp.Or(g.card[site], site) }

// nameOf is what a box is called.
func (g *geometry) nameOf(box string) string { return cmp.Or(g.boxes[box].Text, box) }

func (b *bundle) story() string {
	text := fmt.Sprintf("%s → %s", b.fromName, b.toName)
	if b.home != "" {
		text += " by " + b.home
	}
	if b.exit != "" && b.exit != b.home {
		text += " and " + b.exit
	}
	flows := "1 flow"
	if b.n != 1 {
		flows = fmt.Sprint(b.n) + " flows"
	}
	switch b.class {
	case "wrong":
		where := b.landedName
		if b.landed == b.from {
			where = "another of them"
		}
		return fmt.Sprintf("%s: reply seen at %s (%s)", text, where, flows)
	case "lost":
		return fmt.Sprintf("%s: no reply seen by anybody (%s)", text, flows)
	}
	return fmt.Sprintf("%s: reply came home (%s)", text, flows)
}

// stretches are the way as far as its boxes are known.
func (b *bundle) stretches(g *geometry) []stretch {
	var all []stretch
	join := func(a, z string, class string, arrow bool) {
		hue := b.hue
		if class == "wrong" {
			hue = 0 // wrong deliveries have a colour of their own
		}
		from, okA := g.boxes[a]
		to, okZ := g.boxes[z]
		if !okA || !okZ || a == z {
			return
		}
		all = append(all, stretch{
			from: &end{box: a, right: to.X >= from.X, other: to.CY()},
			to:   &end{box: z, right: from.X >= to.X, other: from.CY()}, class: class, arrow: arrow, hue: hue, shared: []*bundle{b},
		})
	}
	home := b.home
	if _, ok := g.boxes[home]; !ok {
		home = "dc:" + b.ingress
	}
	exit := b.exit
	if _, ok := g.boxes[exit]; !ok {
		exit = home
	}
	join(b.from, home, "out", false)
	join(home, exit, "out", false)
	if b.exit == "" {
		return all // it never left
	}
	join(exit, b.to, "out", true)
	if b.class == "lost" {
		return all
	}
	join(b.to, exit, b.class, false)
	join(exit, home, b.class, false)
	join(home, b.landed, b.class, true)
	return all
}

// spread gives every end its own height on its side of its box, in the order
// of the other ends' heights.
func spread(all []stretch, g *geometry) {
	type side struct {
		box   string
		right bool
	}
	ends := map[side][]*end{}
	var sides []side
	for i := range all {
		for _, e := range []*end{all[i].from, all[i].to} {
			s := side{e.box, e.right}
			if ends[s] == nil {
				sides = append(sides, s)
			}
			ends[s] = append(ends[s], e)
		}
	}
	for _, s := range sides {
		list := ends[s]
		slices.SortStableFunc(list, func(a, b *end) int { return cmp.Compare(a.other, b.other) })
		b := g.boxes[s.box]
		const margin, widest = 9.0, 15.0
		step := min(widest, (b.H-2*margin)/float64(max(1, len(list)-1)))
		y := b.CY() - step*float64(len(list)-1)/2
		for i, e := range list {
			e.y = y + step*float64(i)
		}
	}
}

// add draws a stretch, and what its end says.
func (l *Layer) add(s stretch, g *geometry) {
	x := func(e *end) float64 {
		b := g.boxes[e.box]
		if e.right {
			return b.X + b.W
		}
		return b.X
	}
	x1, y1, x2, y2 := x(s.from), s.from.y, x(s.to), s.to.y
	d := curve(x1, y1, x2, y2)
	if x1 == x2 { // between servers of one column
		bow := 34.0
		if !s.from.right {
			bow = -bow
		}
		d = fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1+bow, y1, x2+bow, y2, x2, y2)
	}
	titles := make([]string, len(s.shared))
	for i, b := range s.shared {
		titles[i] = b.story()
	}
	l.Paths = append(l.Paths, Path{D: d, Class: s.class, Title: strings.Join(titles, "\n"), Hue: s.hue, Arrow: s.arrow})
	b := s.shared[0]
	arrived := s.to.box == b.landed && s.arrow && s.class != "out"
	lost := 0
	for _, b := range s.shared {
		if b.class == "lost" {
			lost += b.n
		}
	}
	on := [4]float64{x1, y1, x2, y2}
	aside, away := 28.0, 42.0
	if !s.to.right {
		aside = -aside
	}
	if !s.from.right {
		away = -away
	}
	switch {
	case arrived && s.class == "wrong":
		l.Marks = append(l.Marks, Mark{X: x2 + aside, Y: y2, Text: "✕" + unlessOne(s.n()), Class: "wrong", on: on})
	case arrived && s.n() > 1:
		l.Marks = append(l.Marks, Mark{X: x2 + aside, Y: y2, Text: fmt.Sprintf("×%d", s.n()), Class: "count", Hue: s.hue, on: on})
	case s.class == "out" && lost > 0 && s.from.box == b.from:
		l.Marks = append(l.Marks, Mark{X: x1 + away, Y: y1, Text: strings.TrimSuffix(fmt.Sprintf("no reply ×%d", lost), " ×1"), Class: "lost", Hue: s.hue, on: on})
	}
}
