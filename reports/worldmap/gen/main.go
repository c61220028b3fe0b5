// Command gen makes land.path, the outlines of land on the canvas of package
// worldmap, from land-110m.json of the npm package world-atlas 2.0.2 (Natural Earth
// data, public domain):
//
//	npm pack world-atlas@2.0.2
//	tar xzf world-atlas-2.0.2.tgz
//	go run ./gen package/land-110m.json land.path
//
// Two runs over one input write the same bytes.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/homeward-lab/homeward/reports/worldmap"
)

// topology is what we read of a TopoJSON file (github.com/topojson/topojson-specification).
type topology struct {
	Transform struct{ Scale, Translate [2]float64 }
	Arcs      [][][2]int
	Objects   map[string]struct {
		Geometries []struct {
			Type string
			Arcs [][][]int // polygons of rings of arcs
		}
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen land-110m.json land.path")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var t topology
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var out strings.Builder
	for _, g := range t.Objects["land"].Geometries {
		if g.Type != "MultiPolygon" {
			return fmt.Errorf("%s: land is a %s, want a MultiPolygon", from, g.Type)
		}
		for _, polygon := range g.Arcs {
			for _, ring := range polygon {
				t.draw(&out, ring)
			}
		}
	}
	return os.WriteFile(to, []byte(out.String()), 0o644)
}

// draw appends a ring, without those of the far south. Where it crosses the 180th
// meridian another part of the path begins, so that nothing is drawn across the map.
func (t *topology) draw(out *strings.Builder, ring []int) {
	var path strings.Builder
	south, last := true, [2]float64{}
	for k, arc := range ring {
		for i, p := range t.points(arc) {
			if i == 0 && k > 0 {
				continue // where the arc before it ends
			}
			south = south && p[1] < -60
			step := "L"
			switch {
			case i == 0:
				step = "M"
			case math.Abs(p[0]-last[0]) > 180:
				step = "ZM"
			}
			x, y := worldmap.Project(p[1], p[0])
			fmt.Fprintf(&path, "%s%.1f %.1f", step, x, y)
			last = p
		}
	}
	if !south {
		out.WriteString(path.String() + "Z")
	}
}

// points of an arc in degrees; ^i is arc i backward.
func (t *topology) points(arc int) [][2]float64 {
	back := arc < 0
	if back {
		arc = ^arc
	}
	var all [][2]float64
	x, y := 0, 0
	for _, d := range t.Arcs[arc] {
		x, y = x+d[0], y+d[1]
		all = append(all, [2]float64{
			float64(x)*t.Transform.Scale[0] + t.Transform.Translate[0],
			float64(y)*t.Transform.Scale[1] + t.Transform.Translate[1],
		})
	}
	if back {
		for i, k := 0, len(all)-1; i < k; i, k = i+1, k-1 {
			all[i], all[k] = all[k], all[i]
		}
	}
	return all
}
