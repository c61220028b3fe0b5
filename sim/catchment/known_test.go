package catchment

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/sim/asgraph"
)

func TestKnownASesAreAtHome(t *testing.T) {
	known, err := ReadKnown("f", strings.NewReader("asn,name,country,users\n10,a,NZ,500\n30,b,BR,7\n99,c,FR,1\n8,d,FR,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := asgraph.New([]asgraph.Link{{A: 10, B: 20, Relation: asgraph.Transit}, {A: 20, B: 30, Relation: asgraph.Transit}})
	if err != nil {
		t.Fatal(err)
	}
	w := Of(g, known, 1)
	if lost := Unknown(g, known); len(lost) != 2 || lost[0] != 99 || known[lost[0]].Line != 4 || lost[1] != 8 {
		t.Errorf("%v are not in the graph, want AS99 of line 4 and AS8", lost)
	}
	for asn, want := range known {
		if asn == 99 || asn == 8 {
			continue
		}
		v, _ := g.Lookup(asn)
		if got := w.Places[w.Home[v]].Country; got != want.Country || w.Users[v] != want.Users {
			t.Errorf("%v is in %s with %v users, want %+v", asn, got, w.Users[v], want)
		}
	}
	if v, _ := g.Lookup(20); w.Users[v] < 1000 {
		t.Errorf("AS20 has %v users, want its country's", w.Users[v])
	}
}

func TestReadKnownMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"number,country\n":             "f:1: columns [number country], want asn and country, and users if known",
		"asn,country\nx,NZ\n":          `f:2: "x" is no AS number`,
		"asn,country,users\n1,NZ,-4\n": `f:2: "-4" users, want a number from 0 on`,
		"asn,country\n1\n":             "f: record on line 2: wrong number of fields",
	} {
		if _, err := ReadKnown("f", strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
