package plan

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// busy is a scenario whose hosts have a workload and nothing else.
func busy() *spec.Scenario {
	s := overlapping()
	s.Traffic, s.Checks = nil, nil
	s.Internet = append(s.Internet, spec.InternetHost{ID: "news", Address: addr("203.0.113.10"), Near: spec.Near{{Code: "cdg", Share: 1}}, Serve: []string{"http", "echo"}})
	s.Workload = []spec.Workload{{
		ID: "busy", From: "shop.*.till", To: spec.ToInternet, Rate: 40, Mix: map[string]float64{"tcp": 2, "udp": 1, "dns": 0.5, "icmp": 0.5},
		Size: spec.Sizes{Draw: spec.Draw{Kind: spec.Exponential, A: 5000}}, Holding: spec.Times{Draw: spec.Draw{Kind: spec.Exponential, A: 2}},
		Popularity: spec.Popularity{Exponent: 1, Number: 2}, For: unit.Duration(time.Minute),
	}}
	return s
}

// TestWorkloadIsDrawnAsItSays: counts, protocols, destinations, sizes and lengths are
// what the words ask for, within what chance does.
func TestWorkloadIsDrawnAsItSays(t *testing.T) {
	p := compile(t, busy())
	count := map[string]float64{}
	size, hold := 0.0, 0.0
	for _, f := range p.Flows {
		count[""]++
		count[f.Server]++
		count[f.Client]++
		kind := string(f.Proto)
		if f.Proto == UDP && f.Dst.Port() == 53 {
			kind = "dns"
		}
		count[kind]++
		switch {
		case f.Proto == TCP:
			size, hold = size+float64(f.Response), hold+f.Hold.Seconds()
		case f.Packets < 2 || f.Src.Port() == 0 || f.Interval <= 0:
			t.Fatalf("a flow of packets that does not last, or has no port: %+v", f)
		}
		if f.Start < 0 || f.Start >= time.Minute {
			t.Fatalf("flow %d begins at %v", f.N, f.Start)
		}
	}
	n := 3 * 40 * 60.0
	for what, want := range map[string]float64{
		"": n, "shop.1.till": n / 3, "shop.3.till": n / 3, "web": n * 2 / 3, "news": n / 3, "tcp": n / 2, "udp": n / 4, "dns": n / 8, "icmp": n / 8,
	} {
		if math.Abs(count[what]-want) > 4*math.Sqrt(want) {
			t.Errorf("%q: %v flows, want %.0f ± %.0f", what, count[what], want, 4*math.Sqrt(want))
		}
	}
	within := 4 / math.Sqrt(count["tcp"])
	if mean := size / count["tcp"]; math.Abs(mean/5000-1) > within {
		t.Errorf("flows have %v bytes on average, want 5000", mean)
	}
	if mean := hold / count["tcp"]; math.Abs(mean/2-1) > within {
		t.Errorf("flows last %v s on average, want 2", mean)
	}
	if !reflect.DeepEqual(p, compile(t, busy())) {
		t.Error("the same file makes another plan")
	}
}

// TestWorkloadOfOneHostIsItsOwn: what one host draws is the same whoever else there is.
func TestWorkloadOfOneHostIsItsOwn(t *testing.T) {
	of := func(p *Plan, client string) (starts []time.Duration) {
		for _, f := range p.Flows {
			if f.Client == client {
				starts = append(starts, f.Start)
			}
		}
		return starts
	}
	fewer := busy()
	fewer.Workload[0].From = "shop.2.till"
	if a, b := of(compile(t, busy()), "shop.2.till"), of(compile(t, fewer), "shop.2.till"); len(a) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d flows of a host beside others, %d without them", len(a), len(b))
	}
}

// TestWorkloadCrowd: a crowd wants one destination, while it lasts.
func TestWorkloadCrowd(t *testing.T) {
	s := busy()
	s.Workload[0].Crowds = []spec.Crowd{{At: unit.Duration(20 * time.Second), For: unit.Duration(10 * time.Second), Times: 5, To: 2}}
	during := 0
	for _, f := range compile(t, s).Flows {
		if f.Server == "news" && f.Start >= 20*time.Second && f.Start < 30*time.Second {
			during++
		}
	}
	if want := 3 * 40 * 10 * (1./3 + 4); math.Abs(float64(during)-want) > 4*math.Sqrt(want) {
		t.Errorf("%d flows to news while the crowd is there, want %.0f", during, want)
	}
}

func TestWorkloadRefuses(t *testing.T) {
	for _, tt := range []struct {
		edit func(*spec.Workload)
		want string
	}{
		{func(w *spec.Workload) { w.From = "shop.9.till" }, `"shop.9.till" selects no host`},
		{func(w *spec.Workload) { w.Popularity.Number = 5 }, "popularity of 5 destinations, want zipf(1, 2)"},
		{func(w *spec.Workload) { w.Crowds = []spec.Crowd{{For: 1, Times: 2, To: 3}} }, "want the rank of a host of internet, 1 to 2"},
		{func(w *spec.Workload) { w.Rate = 1e7 }, "want at most 1000000 in all"},
		{func(w *spec.Workload) { w.Size.Draw = spec.Draw{Kind: spec.Constant, A: 1e9} }, "cut the distribution with most="},
	} {
		s := busy()
		tt.edit(&s.Workload[0])
		if _, err := Compile(s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}
