// Package place knows where on earth an IATA code is, how far two places are
// apart, and how long light takes between them.
//
// It is a table and arithmetic. It is not a map of cables: a real path is
// longer than the great circle, by a factor that this package leaves to the
// scenario. Its law: distance is symmetric, zero only from a place to itself,
// and never breaks the triangle.
package place

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:generate go run ./gen package/data/airports.json airports.csv.gz

//go:embed airports.csv.gz
var packed []byte

// Place is an airport, which stands for its city.
type Place struct {
	// Code is the IATA code in lower case.
	Code string
	// Name of the airport, and the City that it serves; City may be empty.
	Name, City string
	// Country is the ISO 3166-1 code of two letters, in upper case.
	Country string
	// Continent is AF, AN, AS, EU, NA, OC or SA.
	Continent string
	// Lat and Lon are degrees, north and east positive.
	Lat, Lon float64

	large bool // a large airport with scheduled flights
}

// table reads the embedded table, once.
var table = sync.OnceValue(func() map[string]Place {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(fmt.Sprintf("place: embedded table: %v", err))
	}
	rows, err := csv.NewReader(zip).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("place: embedded table: %v", err))
	}
	places := make(map[string]Place, len(rows))
	for _, r := range rows {
		p := Place{Code: r[0], Name: r[1], City: r[2], Country: r[3], Continent: r[4], large: r[5] == "3"}
		if p.Lat, err = strconv.ParseFloat(r[6], 64); err == nil {
			p.Lon, err = strconv.ParseFloat(r[7], 64)
		}
		if err != nil {
			panic(fmt.Sprintf("place: embedded table: %s: %v", p.Code, err))
		}
		places[p.Code] = p
	}
	return places
})

// Lookup finds a place by its IATA code, in lower or upper case.
func Lookup(code string) (Place, bool) {
	p, ok := table()[strings.ToLower(code)]
	return p, ok
}

// Codes are all codes, sorted.
func Codes() []string {
	codes := make([]string, 0, len(table()))
	for c := range table() {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	return codes
}

// Suggest returns the code of a city, or of the airport whose name begins so,
// for somebody who wrote a name where a code was wanted; "" if there is none.
// Of several the first in order of code is taken, large airports before others.
func Suggest(name string) string {
	name = plain(name)
	if len(name) < 3 {
		return ""
	}
	best, most := "", 0
	for _, code := range Codes() {
		p := table()[code]
		fit := 0
		switch city := plain(p.City); {
		case city == name:
			fit = 3
		case strings.HasPrefix(city, name), strings.HasPrefix(plain(p.Name), name):
			fit = 1
		}
		if fit > 0 && p.large {
			fit++
		}
		if fit > most {
			best, most = code, fit
		}
	}
	return best
}

// plain is lower case without spaces and signs, so that new_york is New York.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" _-.'", r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

const (
	// earthRadius is the mean radius (IUGG), in metres.
	earthRadius = 6_371_008.8
	// fibreSpeed is two thirds of the speed of light in vacuum, in metres per
	// second: a refractive index of 1.5.
	fibreSpeed = 299_792_458.0 * 2 / 3
)

// Distance is the great-circle distance between two places in metres, on a
// sphere (haversine; at most 0.6 % off the ellipsoid).
func Distance(a, b Place) float64 {
	rad := math.Pi / 180
	sinLat := math.Sin((b.Lat - a.Lat) * rad / 2)
	sinLon := math.Sin((b.Lon - a.Lon) * rad / 2)
	h := sinLat*sinLat + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*sinLon*sinLon
	return 2 * earthRadius * math.Asin(math.Sqrt(min(1, h)))
}

// Delay is the one-way delay of fibre along the great circle: a lower bound
// for a real path.
func Delay(a, b Place) time.Duration {
	return time.Duration(Distance(a, b) / fibreSpeed * float64(time.Second))
}
