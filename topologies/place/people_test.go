package place

import (
	"math"
	"testing"
)

func TestPeople(t *testing.T) {
	if n := People("GB"); n < 60e6 || n > 70e6 {
		t.Errorf("GB has %d people, want some 66 million", n)
	}
	if n := People("XX"); n != 0 {
		t.Errorf("XX has %d people, want none", n)
	}
}

func TestCitiesHoldEverybody(t *testing.T) {
	sum, countries := 0.0, map[string]bool{}
	for i, c := range Cities() {
		sum += c.People
		countries[c.Country] = true
		if i > 0 && Cities()[i-1].Code >= c.Code {
			t.Errorf("%s stands after %s", c.Code, Cities()[i-1].Code)
		}
	}
	want := 0
	for c := range countries {
		want += People(c)
	}
	if math.Abs(sum-float64(want)) > 1e-3 || want < 7e9 {
		t.Errorf("cities hold %.0f people, their countries have %d, want the same and more than 7 billion", sum, want)
	}
	if len(countries) < 200 {
		t.Errorf("%d countries, want nearly all", len(countries))
	}
}
