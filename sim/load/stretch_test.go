package load

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/place"
)

// The band of measured round trips over the great circle's in fibre: a twentieth is
// below, half, and nineteen of twenty.
func band() [3]float64 { return [3]float64{1.34, 1.78, 3.21} }

func quantilesOf(t *testing.T, values []float64) (q [3]float64) {
	t.Helper()
	if len(values) < 500 {
		t.Fatalf("%d pairs are too few", len(values))
	}
	slices.Sort(values)
	for i, u := range []float64{0.05, 0.5, 0.95} {
		q[i] = values[int(u*float64(len(values)))]
	}
	return q
}

func inBand(t *testing.T, what string, q [3]float64) {
	t.Helper()
	for i, want := range band() {
		if q[i] < want*0.93 || q[i] > want*1.07 {
			t.Errorf("%s: quantiles %.2f of the way over fibre, want %.2f", what, q, band())
			return
		}
	}
}

// TestRoundTripsAreInTheBand: from city to city, both ways alike.
func TestRoundTripsAreInTheBand(t *testing.T) {
	cities := place.Cities()
	var ways []float64
	for i := range cities {
		for k := i + 1; k < len(cities); k += 7 {
			a, b := cities[i].Place, cities[k].Place
			if d := place.Delay(a, b).Seconds() * 2e3; d > 0 {
				ways = append(ways, roundTrip(a, b)/d)
			}
			if roundTrip(a, b) != roundTrip(b, a) {
				t.Fatalf("%s and %s differ by direction", a.Code, b.Code)
			}
		}
	}
	inBand(t, "the model", quantilesOf(t, ways))
}

// TestTheBandIsMeasured: between the regions of a large cloud it is so.
func TestTheBandIsMeasured(t *testing.T) {
	dir := filepath.Join(need.Data(t), "latency")
	rows := func(name string) [][]string {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		all, err := csv.NewReader(f).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	at := map[string]place.Place{}
	for _, r := range rows("azure-regions.csv")[1:] {
		lat, err1 := strconv.ParseFloat(r[2], 64)
		lon, err2 := strconv.ParseFloat(r[3], 64)
		if err1 == nil && err2 == nil {
			at[r[0]] = place.Place{Code: r[1], Lat: lat, Lon: lon}
		}
	}
	table := rows("azure-rtt-p50-ms.csv")
	var ways []float64
	for _, r := range table[1:] {
		for k := 1; k < len(r); k++ {
			a, okA := at[r[0]]
			b, okB := at[table[0][k]]
			ms, err := strconv.ParseFloat(r[k], 64)
			// Regions of one city say nothing of ways.
			if d := place.Delay(a, b).Seconds() * 2e3; okA && okB && err == nil && d > 1 {
				ways = append(ways, ms/d)
			}
		}
	}
	inBand(t, "measured", quantilesOf(t, ways))
}
