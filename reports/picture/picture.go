// Package picture draws a network: sites and devices on the left, datacenters
// with their servers, the Internet and private networks on the right, and, if
// there are any, the ways that flows took.
//
// It reads records alone, so that the report and `homeward show --svg` draw the
// same. Its law: the same records give the same bytes, every flow is in exactly
// one way of a layer, and nothing that a record holds reaches the picture
// unescaped.
package picture

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// MostSites bounds what one drawing shows side by side; beyond it, equal sites
// are drawn as one.
const MostSites = 12

// fewPlain is from where on equal sites are drawn as one if no flows have to be
// told apart.
const fewPlain = 6

// Drawing is a topology with the flows of each traffic on it.
type Drawing struct {
	Width, Height float64
	Headings      []Text
	Accounts      []Box // around the cards of one account, where there are several
	Cards         []Box // sites, devices, connectors and origins
	Datacenters   []Box
	Servers       []Box
	Transits      []Box
	Links         []Line
	Layers        []Layer
	More          int // sites, devices, connectors and origins that are not drawn
	Legend        []Entry
}

// Box is one rectangle with text. Hue is the colour number of who asks.
type Box struct {
	ID, Kind    string
	Text, Small string
	Tag         string // right of the name
	By          string // what returns replies
	X, Y, W, H  float64
	Hue         int
	Stacked     bool   // stands for several
	Right       bool   // its coloured side is the right one
	Prefix      string // "10.0.1.0/24 ×3"
	Pattern     int    // from 1; 0 is a prefix of one site alone
}

// clip are Text and Small, cut to the room that they have.
func (b Box) clip() (text, small string) {
	return cut(b.Text, int((b.W-58-monoW*float64(len(b.Tag)))/boldW)), cut(b.Small, int((b.W-32)/monoW))
}

// CY is the middle of the box.
func (b Box) CY() float64 { return b.Y + b.H/2 }

// Stripe is the coloured side: the corners' arcs and a straight end.
func (b Box) Stripe() string {
	if b.Right {
		return fmt.Sprintf("M%.1f %.1fh3a6 6 0 0 1 6 6v%.1fa6 6 0 0 1-6 6h-3z", b.X+b.W-9, b.Y, b.H-12)
	}
	return fmt.Sprintf("M%.1f %.1fh-3a6 6 0 0 0-6 6v%.1fa6 6 0 0 0 6 6h3z", b.X+9, b.Y, b.H-12)
}

// Text is a heading.
type Text struct {
	X    float64
	Text string
}

// Line is a link of the network. Class is the link's class, or the kind of
// on-ramp.
type Line struct {
	D, Class, Title string
	Hue             int
}

// Entry explains a sign of the drawing.
type Entry struct{ Class, Text string }

// Draw lays out a run, with a layer for all its flows and one for each of the
// traffic. The same records give the same drawing.
func Draw(rec *record.Records, traffic []string) Drawing {
	g := newGeometry(rec, true)
	for _, t := range append([]string{"all"}, traffic...) {
		g.d.Layers = append(g.d.Layers, newLayer(t, OfTraffic(rec.Flows, t), g))
	}
	return g.d
}

// Plain lays out a network in which nothing has happened yet: instead of flows
// it shows how everybody is connected.
func Plain(t record.Topology) Drawing {
	return newGeometry(&record.Records{Run: record.Run{Topology: t}}, false).d
}

// OfTraffic filters flows; "all" keeps them all.
func OfTraffic(flows []record.Flow, traffic string) []record.Flow {
	if traffic == "all" {
		return flows
	}
	var some []record.Flow
	for _, f := range flows {
		if f.Traffic == traffic {
			some = append(some, f)
		}
	}
	return some
}

// legend explains what is in the drawing and is not self-evident.
func (g *geometry) legend() {
	used := map[string]bool{}
	for _, l := range g.d.Links {
		used[l.Class] = true
	}
	for _, e := range []Entry{
		{"ramp gre", "GRE tunnel"}, {"ramp interconnect", "interconnect: a link without a tunnel"},
		{"ramp device", "a device's own tunnel"}, {"ramp connector", "a connector's outbound tunnel"},
	} {
		if used[e.Class] {
			g.d.Legend = append(g.d.Legend, e)
		}
	}
	if slices.ContainsFunc(g.d.Cards, func(b Box) bool { return b.Pattern > 0 }) {
		g.d.Legend = append(g.d.Legend, Entry{"hatched", "a prefix that several have"})
	}
}
