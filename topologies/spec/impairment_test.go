package spec

import (
	"fmt"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
)

func TestImpairmentWords(t *testing.T) {
	trace := Trace{File: "lte.trace", Times: new(impair.Trace)}
	for _, c := range []struct {
		im   Impairment
		want string
	}{
		{Impairment{}, "[]"},
		{Impairment{Delay: Delay{Geo: true}, Loss: 0.015}, "[delay=geo loss=1.5%]"},
		{Impairment{Rate: 10 * unit.Mbit, Delay: Delay{Fixed: unit.Duration(50 * time.Millisecond)}, LossBurst: 2.5}, "[delay=50ms loss_burst=2.5 rate=10Mbit]"},
		{Impairment{Trace: trace, JitterDistribution: "normal", ReorderGap: 3, Queue: 30000}, "[jitter_distribution=normal reorder_gap=3 queue=30kB trace=lte.trace]"},
	} {
		if got := fmt.Sprint(c.im.Words()); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestImpairmentWith(t *testing.T) {
	ms := func(n int) Delay { return Delay{Fixed: unit.Duration(time.Duration(n) * time.Millisecond)} }
	trace := Trace{File: "lte.trace", Times: new(impair.Trace)}
	for _, c := range []struct {
		name       string
		was, other Impairment
		words      []string
		want       string
	}{
		{"the rest stays", Impairment{Delay: ms(20)}, Impairment{Loss: 0.01}, []string{"loss"}, "[delay=20ms loss=1%]"},
		{"zero is given", Impairment{Delay: ms(20), Loss: 0.01}, Impairment{}, []string{"delay"}, "[loss=1%]"},
		{"what is not given does not count", Impairment{Delay: ms(20)}, Impairment{Delay: ms(1)}, nil, "[delay=20ms]"},
		{"a rate for a trace", Impairment{Trace: trace}, Impairment{Rate: unit.Mbit}, []string{"rate"}, "[rate=1Mbit]"},
		{"a trace for a rate", Impairment{Rate: unit.Mbit}, Impairment{Trace: trace}, []string{"trace"}, "[trace=lte.trace]"},
		{"no rate, and a trace stays", Impairment{Trace: trace}, Impairment{}, []string{"rate"}, "[trace=lte.trace]"},
	} {
		if got := fmt.Sprint(c.was.With(c.other, c.words).Words()); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
