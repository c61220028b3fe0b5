package worldmap

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// middle is the meridian in the middle of the least part of the world that holds all
// marks, if that lies across the edge of the usual map; otherwise 0, which leaves the
// map as it is. From Tokyo to Los Angeles it is not far, across the Pacific.
func (m *Map) middle() float64 {
	var all []float64
	for _, k := range m.Marks {
		all = append(all, k.Lon)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	widest, meridian := 360-(all[len(all)-1]-all[0]), 0.0
	for i := range all[1:] {
		if gap := all[i+1] - all[i]; gap > widest {
			widest, meridian = gap, wrap(all[i+1]+(360-gap)/2)
		}
	}
	return meridian
}

// wrap is a longitude between -180 and 180.
func wrap(lon float64) float64 { return math.Mod(lon+540, 360) - 180 }

// turn draws the outlines of land with another meridian in the middle. An outline that
// the new edge of the map cuts is drawn at both edges.
func turn(outlines string, meridian float64) string {
	if meridian == 0 {
		return outlines
	}
	var b strings.Builder
	for outline := range strings.SplitAfterSeq(outlines, "Z") {
		var lats, lons []float64
		least, most := math.Inf(1), math.Inf(-1)
		for _, point := range points(outline) {
			lat, lon := unproject(pair(point))
			lon = wrap(lon - meridian)
			if n := len(lons); n > 0 { // where the last one was, not a turn of the world away
				lon = lons[n-1] + wrap(lon-lons[n-1])
			}
			lats, lons = append(lats, lat), append(lons, lon)
			least, most = min(least, lon), max(most, lon)
		}
		for _, away := range []float64{-360, 0, 360} {
			if len(lats) == 0 || most+away < -180 || least+away > 180 {
				continue
			}
			for i := range lats {
				x, y := Project(lats[i], lons[i]+away)
				fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(i, 1)], x, y)
			}
			b.WriteByte('Z')
		}
	}
	return b.String()
}

// points are those of an outline.
func points(outline string) []string {
	return strings.FieldsFunc(outline, func(r rune) bool { return r == 'M' || r == 'L' || r == 'Z' })
}

// unproject is the opposite of Project. A latitude is found by halving: farther north
// is always farther up.
func unproject(x, y float64) (lat, lon float64) {
	south, north := -90.0, 90.0
	for range 30 {
		lat = (south + north) / 2
		if _, at := Project(lat, 0); at > y {
			south = lat
		} else {
			north = lat
		}
	}
	per, _ := Project(lat, 1) // what a degree takes there
	return lat, (x - Width/2) / (per - Width/2)
}
