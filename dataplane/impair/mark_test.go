package impair_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// A packet has met congestion if it waits longer than the threshold before its
// transmission begins, to the nanosecond, and when it comes out is as without a
// threshold: what its ends make of it is theirs.
func TestCongested(t *testing.T) {
	trace, err := impair.ReadTrace(strings.NewReader("10\n20\n30\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		c     impair.Config
		sizes []int
		want  string // x is congested, . is not, - is refused
	}{
		{"one after the other", impair.Config{Rate: 8 * unit.Mbit, CEThreshold: 2 * ms}, []int{1000, 1000, 1000, 1000, 1}, "...xx"},
		{"a nanosecond more", impair.Config{Rate: 8 * unit.Mbit, CEThreshold: 2*ms - 1}, []int{1000, 1000, 1000, 1000}, "..xx"},
		{"its own transmission is no wait", impair.Config{Rate: 8 * unit.Kbit, CEThreshold: ms}, []int{1000}, "."},
		{"nor is the delay", impair.Config{Rate: 8 * unit.Mbit, Delay: time.Second, CEThreshold: ms}, []int{1000, 1000}, ".."},
		{"a full queue refuses", impair.Config{Rate: 8 * unit.Mbit, Queue: 2000, CEThreshold: ms - 1}, []int{1000, 1000, 1000}, ".x-"},
		{"never", impair.Config{Rate: 8 * unit.Mbit}, []int{1000, 1000, 1000, 1000}, "...."},
		{"a trace", impair.Config{Trace: trace, CEThreshold: 15 * ms, Queue: 1 << 20}, []int{1500, 1500, 1500}, ".xx"},
		{"a trace, shared", impair.Config{Trace: trace, CEThreshold: 15 * ms, Queue: 1 << 20}, []int{700, 700, 700, 700}, "...x"},
	} {
		plain := tt.c
		plain.CEThreshold = 0
		l, without := line(t, tt.c), line(t, plain)
		got := ""
		for _, size := range tt.sizes {
			f, g := l.Send(0, size), without.Send(0, size)
			switch {
			case f.End == impair.Overflow:
				got += "-"
			case f.Congested:
				got += "x"
			default:
				got += "."
			}
			if f.Congested = false; f != g {
				t.Errorf("%s: %+v, and without a threshold %+v", tt.name, f, g)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What is lost on the line says nothing of congestion, and marks are counted by who
// makes them.
func TestMarksAreCounted(t *testing.T) {
	l := line(t, impair.Config{Rate: 8 * unit.Mbit, Queue: 1 << 20, CEThreshold: ms, Loss: 0.5})
	for range 100 {
		if f := l.Send(0, 1000); f.Congested && f.End != impair.Passed {
			t.Errorf("%+v", f)
		} else if f.Congested {
			l.Marked()
		}
	}
	if c := l.Counters(); c.Marked == 0 || c.Marked+c.Lost > c.Packets {
		t.Errorf("%+v", c)
	}
}

// A line with a threshold has more to say than when a packet comes out.
func TestThresholdIsNotSteady(t *testing.T) {
	l := line(t, impair.Config{Rate: 8 * unit.Mbit, CEThreshold: ms})
	if l.Steady() {
		t.Error("steady with a threshold")
	}
	if err := l.Set(vt.Instant(0), impair.Config{Rate: 8 * unit.Mbit}); err != nil || !l.Steady() {
		t.Errorf("%v, and steady %v without", err, l.Steady())
	}
}

func TestThresholdThatCannotBe(t *testing.T) {
	for want, c := range map[string]impair.Config{
		"without a rate":               {CEThreshold: ms},
		"want less than the 240ms":     {CEThreshold: 240 * ms, Rate: unit.Mbit, Queue: 30000},
		"want less than the 100ms":     {CEThreshold: 100 * ms, Rate: 100 * unit.Mbit},
		"ce_threshold -1ms, want 0 to": {CEThreshold: -ms, Rate: unit.Mbit},
	} {
		if err := c.Check(); !errors.Is(err, impair.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}
