package place

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:generate go run ./gen/people package/src people.csv

//go:embed people.csv
var peopleCSV string

var people = sync.OnceValue(func() map[string]int {
	rows, err := csv.NewReader(strings.NewReader(peopleCSV)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("place: embedded table of people: %v", err))
	}
	all := make(map[string]int, len(rows))
	for _, r := range rows {
		n, err := strconv.Atoi(r[1])
		if err != nil {
			panic(fmt.Sprintf("place: embedded table of people: %s: %v", r[0], err))
		}
		all[r[0]] = n
	}
	return all
})

// People is how many live in a country, by its code of two letters in upper case
// (the World Bank's figures of 2018); 0 if that is not known.
func People(country string) int { return people()[country] }

// IsCountry says whether there is a country of that code of two letters (ISO 3166-1),
// in lower or upper case: where somebody lives, or an airport is.
func IsCountry(code string) bool { return countries()[strings.ToUpper(code)] }

var countries = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{"AX": true} // counted as Finland in both tables
	for _, p := range table() {
		all[p.Country] = true
	}
	for code := range people() {
		all[code] = true
	}
	return all
})

// City is a place where people live.
type City struct {
	Place
	// People of the country, in equal parts to its cities.
	People float64
}

// Cities are the places with a large airport, and one of each country that has
// none but people, in the order of their codes.
var Cities = sync.OnceValue(func() []City {
	of := map[string][]Place{}
	for _, code := range Codes() {
		p := table()[code]
		if here := of[p.Country]; len(here) > 0 && !here[0].large && p.large {
			of[p.Country] = []Place{p}
		} else if len(here) == 0 || p.large {
			of[p.Country] = append(here, p)
		}
	}
	var all []City
	for country, here := range of {
		if n := People(country); n > 0 {
			for _, p := range here {
				all = append(all, City{p, float64(n) / float64(len(here))})
			}
		}
	}
	slices.SortFunc(all, func(a, b City) int { return strings.Compare(a.Code, b.Code) })
	return all
})
