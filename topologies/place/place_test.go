package place_test

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/place"
)

func TestLookup(t *testing.T) {
	tests := []struct {
		code, city, country, region string
		ok                          bool
	}{
		{"lhr", "London", "GB", "WEUR", true},
		{"CDG", "Paris", "FR", "WEUR", true},
		{"waw", "Warsaw", "PL", "EEUR", true},
		{"jfk", "New York", "US", "ENAM", true},
		{"sfo", "San Francisco", "US", "WNAM", true},
		{"gru", "São Paulo", "BR", "SAM", true},
		{"jnb", "Johannesburg", "ZA", "AFR", true},
		{"dxb", "Dubai", "AE", "ME", true},
		{"sin", "Singapore", "SG", "APAC", true},
		{"syd", "Sydney", "AU", "OC", true},
		{"", "", "", "", false},
		{"london", "", "", "", false},
		{"zzz1", "", "", "", false},
	}
	for _, tt := range tests {
		p, ok := place.Lookup(tt.code)
		if ok != tt.ok {
			t.Errorf("Lookup(%q) found %v, want %v", tt.code, ok, tt.ok)
			continue
		}
		if ok && (p.City != tt.city || p.Country != tt.country || p.Region() != tt.region) {
			t.Errorf("Lookup(%q) = %s %s %s, want %s %s %s", tt.code, p.City, p.Country, p.Region(), tt.city, tt.country, tt.region)
		}
	}
}

func TestSuggest(t *testing.T) {
	tests := []struct{ name, want string }{
		{"paris", "cdg"}, {"frankfurt", "fra"}, {"london", "lgw"}, {"singapore", "sin"}, {"heathrow", ""}, {"London Heathrow", "lhr"}, {"xx", ""}, {"nowhereatall", ""},
	}
	for _, tt := range tests {
		if got := place.Suggest(tt.name); got != tt.want {
			t.Errorf("Suggest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		from, to string
		km       float64
		delay    time.Duration
	}{
		{"lhr", "cdg", 348, 1740 * time.Microsecond},
		{"lhr", "jfk", 5540, 27720 * time.Microsecond},
		{"lhr", "syd", 17021, 85162 * time.Microsecond},
		{"lhr", "lhr", 0, 0},
	}
	for _, tt := range tests {
		a, _ := place.Lookup(tt.from)
		b, _ := place.Lookup(tt.to)
		if km := place.Distance(a, b) / 1000; math.Abs(km-tt.km) > 5 {
			t.Errorf("%s to %s: %.0f km, want %.0f", tt.from, tt.to, km, tt.km)
		}
		if d := place.Delay(a, b); (d - tt.delay).Abs() > 30*time.Microsecond {
			t.Errorf("%s to %s: %v, want %v", tt.from, tt.to, d, tt.delay)
		}
	}
}

// TestDistanceLaw: symmetric, zero to itself, no more than half way round, and
// the triangle holds.
func TestDistanceLaw(t *testing.T) {
	codes := place.Codes()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) place.Place {
			p, _ := place.Lookup(rapid.SampledFrom(codes).Draw(t, name))
			return p
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		const rounding, half = 1e-3, 20_015_200
		ab, ba := place.Distance(a, b), place.Distance(b, a)
		if math.Abs(ab-ba) > rounding || ab < 0 || ab > half || place.Distance(a, a) != 0 {
			t.Fatalf("%s %s: %v and back %v", a.Code, b.Code, ab, ba)
		}
		if ab > place.Distance(a, c)+place.Distance(c, b)+rounding {
			t.Fatalf("%s %s is longer than over %s", a.Code, b.Code, c.Code)
		}
	})
}

func TestRegions(t *testing.T) {
	seen := map[string]int{}
	for _, code := range place.Codes() {
		p, _ := place.Lookup(code)
		if len(p.Country) != 2 || p.Code != code || math.Abs(p.Lat) > 90 || math.Abs(p.Lon) > 180 {
			t.Errorf("odd place %+v", p)
		}
		if !slices.Contains(place.Regions(), p.Region()) {
			t.Errorf("%s is in region %q", code, p.Region())
		}
		seen[p.Region()]++
	}
	for _, r := range place.Regions() {
		if seen[r] < 50 {
			t.Errorf("region %s has %d places", r, seen[r])
		}
	}
}

// TestAgainstTable compares with another extract of the same public data.
func TestAgainstTable(t *testing.T) {
	f, err := os.Open(filepath.Join(need.Data(t), "world", "airports-iata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var missing, far int
	for _, r := range rows[1:] {
		p, ok := place.Lookup(r[0])
		if !ok {
			missing++
			continue
		}
		lat, _ := strconv.ParseFloat(r[4], 64)
		lon, _ := strconv.ParseFloat(r[5], 64)
		if d := place.Distance(p, place.Place{Lat: lat, Lon: lon}); d > 50_000 || p.Country != r[3] {
			far++
			t.Logf("%s: %.0f km apart, %s and %s", r[0], d/1000, p.Country, r[3])
		}
	}
	// Airports are opened, closed and given new codes between two extracts.
	if n := len(rows) - 1; missing > n/50 || far > n/200 {
		t.Errorf("%d of %d places are missing and %d elsewhere", missing, n, far)
	}
}

func TestIsCountry(t *testing.T) {
	for code, want := range map[string]bool{"GB": true, "gb": true, "AX": true, "VA": true, "UK": false, "ZZ": false, "": false, "GBR": false} {
		if place.IsCountry(code) != want {
			t.Errorf("IsCountry(%q) is %v", code, !want)
		}
	}
}
