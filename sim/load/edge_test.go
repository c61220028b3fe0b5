package load_test

import (
	"math"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/sim/load"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// TestLondonFails: over the whole edge and an Internet of full size, London's users
// are elsewhere afterwards, nobody else moves, and those who take over have fuller
// ports. It is noticed after the hold time.
func TestLondonFails(t *testing.T) {
	doc, err := topologies.Load("global_edge")
	if err != nil {
		t.Fatal(err)
	}
	var atlas load.Atlas
	play := func(sets ...spec.Setting) *load.Outcome {
		s, err := doc.Resolve("base", sets)
		if err != nil {
			t.Fatal(err)
		}
		if sets == nil {
			s.Faults = append(s.Faults, spec.Fault{ID: "london", At: 300e9, Do: spec.Kill, On: "lhr"})
		}
		m, err := load.New(s, &atlas)
		if err != nil {
			t.Fatal(err)
		}
		o, err := m.Run(1)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	well, failed := play(spec.Setting{Path: "seed", Value: "1"}), play()
	london := value(t, well, "landing.lhr")
	if moved := value(t, failed, "moved"); math.Abs(moved-london) > 1e-9 || london == 0 || value(t, failed, "landing.lhr") != 0 {
		t.Errorf("%v of all users move, and London had %v", moved, london)
	}
	took := 0.0
	for _, x := range failed.Takeover {
		if x.From != "lhr" {
			t.Errorf("%.0f users of %s moved", x.Users, x.From)
		}
		took += x.Users
	}
	if want := london * 22e6; math.Abs(took-want) > 1 {
		t.Errorf("%.0f users are taken over, want %.0f", took, want)
	}
	const hold = 90 // seconds
	if lost, want := value(t, failed, "lost.converging"), london*22e6*hold/60; math.Abs(lost/want-1) > 1e-6 {
		t.Errorf("%.0f user-minutes are lost until it is noticed, want %.0f", lost, want)
	}
	const sampled = 0.005 // of the servers of a group some are played, and others in either run
	if value(t, failed, "ports_peak") < value(t, well, "ports_peak")-sampled {
		t.Error("ports are emptier after a failure")
	}
	heir := failed.Takeover[0]
	if a, b := value(t, well, "utilisation."+heir.To), value(t, failed, "utilisation."+heir.To); b <= a {
		t.Errorf("%s took %.0f users and its ports went from %.3f to %.3f", heir.To, heir.Users, a, b)
	}
	for _, x := range failed.Times {
		if x.What == "stall" && x.Ms != hold*1000 {
			t.Errorf("%d %% of those who were cut off had no way for %v ms, want the hold time", x.Percent, x.Ms)
		}
	}
	trip := func(o *load.Outcome) float64 { return o.Times[10].Ms }
	if n := len(failed.Times); n != 2*21 || failed.Times[10].Percent != 50 || trip(failed) < trip(well) {
		t.Errorf("%d quantiles; half of all users have %v ms to where they land, before London failed %v", n, trip(failed), trip(well))
	}
	if why := failed.Why("moved"); len(why) == 0 || !strings.Contains(why[0], "lhr") {
		t.Errorf("moved because of %q", why)
	}
	t.Logf("london %.4f, ports %.3f → %.3f, blocked %.2g → %.2g, of %d groups played", london, value(t, well, "ports_peak"), value(t, failed, "ports_peak"), value(t, well, "blocked"), value(t, failed, "blocked"), len(failed.Ports))
}

// TestCountryPools: users with addresses of their country leave by those, from the
// nearest datacenter that has any, and fill them.
func TestCountryPools(t *testing.T) {
	text := strings.Replace(edge, "egress: [198.51.100.1/32]", "egress: [198.51.100.1/32, {prefix: 198.51.100.9/32, country: DE}]", 1)
	text = strings.Replace(text, "users: 100000", "users: 1000000, countries: {DE: 30}", 1)
	o := outcome(t, text, 1)
	found := false
	for _, p := range o.Ports {
		if p.Pool == "DE" {
			found = true
			if p.Datacenter != "cdg" || p.Tries == 0 {
				t.Errorf("%+v, want Germany's ports in cdg", p)
			}
		}
	}
	if !found {
		t.Errorf("of %d groups none has Germany's addresses", len(o.Ports))
	}
}

// TestCrowd: a flash crowd of one country begins and ends, and adds what it says.
func TestCrowd(t *testing.T) {
	o := outcome(t, strings.Replace(edge, "for: 5m}", "for: 5m, crowds: [{at: 1m, for: 1m, times: 3, to: 1}]}", 1), 1)
	for _, m := range o.Timeline {
		want := 1000.0
		if m.At >= 60 && m.At < 120 {
			want = 3000
		}
		if math.Abs(m.Rate-want) > 1 {
			t.Errorf("%v s: %.0f flows per second, want %.0f", m.At, m.Rate, want)
		}
	}
}

// TestAnotherDatacenterChangesNoOthersChance: what the datacenters that keep their
// users draw is the same whether there is one more or not.
func TestAnotherDatacenterChangesNoOthersChance(t *testing.T) {
	text := strings.Replace(edge, "users: 100000", "users: 2000000", 1)
	more := strings.Replace(text, "population:", "  - {id: syd, servers: 4, egress: [198.51.100.4/32]}\npopulation:", 1)
	a, b := outcome(t, text, 1), outcome(t, more, 1)
	same := 0
	for _, x := range a.Ports {
		for _, y := range b.Ports {
			if x.Datacenter == y.Datacenter && x.Destination == y.Destination && x.Protocol == y.Protocol && x.Load == y.Load {
				if same++; x != y {
					t.Errorf("%+v became %+v", x, y)
				}
			}
		}
	}
	if same == 0 {
		t.Error("no group of slices has the same load in both")
	}
}
