package plan

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// The whole plan of a site that has a backup.
func TestGoldenFailover(t *testing.T) {
	doc, err := load.File(filepath.Join("testdata", "failover.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, doc, spec.Base, "failover.json")
}

// failover compiles the golden file with settings.
func failover(t *testing.T, sets ...string) *Plan {
	t.Helper()
	doc, err := load.File(filepath.Join("testdata", "failover.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var settings []spec.Setting
	for _, text := range sets {
		s, err := load.ParseSet(text)
		if err != nil {
			t.Fatal(err)
		}
		settings = append(settings, s)
	}
	s, err := doc.Resolve(spec.Base, settings)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProbingOfRates(t *testing.T) {
	tests := []struct {
		rate, scale                   string
		interval, timeout, burst, was time.Duration
	}{
		{"low", "1", 10 * time.Second, 300 * time.Millisecond, time.Second, 10600 * time.Millisecond},
		{"mid", "1", time.Second, 300 * time.Millisecond, time.Second, 1600 * time.Millisecond},
		{"high", "1", 250 * time.Millisecond, 300 * time.Millisecond, time.Second, 850 * time.Millisecond},
		{"mid", "0.5", 500 * time.Millisecond, 150 * time.Millisecond, 500 * time.Millisecond, 800 * time.Millisecond},
		{"mid", "0.01", 10 * time.Millisecond, leastWait, 2 * leastWait, 110 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.rate+" "+tt.scale, func(t *testing.T) {
			p := failover(t, "shop.*.wan.health.rate="+tt.rate, "timers.scale="+tt.scale)
			for _, o := range p.Servers[0].Config.OnRamps {
				if o.Name != "shop.1.wan" {
					continue
				}
				got := o.Probing
				if got.Interval != tt.interval || got.Timeout != tt.timeout || got.Burst != tt.burst || Detection(got) != tt.was || !got.Request {
					t.Errorf("got %+v, known to be down after %v, want %+v", got, Detection(got), tt)
				}
			}
		})
	}
}

// Each tunnel of a site has a line of its own, and every other site's router
// knows the way to its outer address.
func TestEachTunnelHasALine(t *testing.T) {
	p := failover(t)
	b, _ := p.Branch("shop.1.router")
	if len(b.Tunnels) != 2 || b.Tunnels[0].WAN != "" || b.WAN != "wan0" || b.Tunnels[1].WAN != "wan1" || b.Tunnels[0].Local == b.Tunnels[1].Local {
		t.Errorf("got WAN %q and %+v, want lines wan0 and wan1 with an outer address each", b.WAN, b.Tunnels)
	}
	if b.Choice == nil || len(b.Choice.Ways) != 2 || b.Choice.Ways[0].OnRamp != "shop.1.wan" || b.Choice.Ways[0].Hop.Interface != "gre2" {
		t.Errorf("got %+v, want the primary first", b.Choice)
	}
}

func TestGroupWords(t *testing.T) {
	tests := []struct {
		set  string
		want hub.Group
	}{
		{"title=x", hub.Group{Repin: 40 * time.Millisecond, Failback: hub.FailbackHoldDown, HoldDown: 6 * time.Second, Predictive: true}},
		{"shop.*.group={primary: wan, backups: [spare], failback: immediate}", hub.Group{Repin: 40 * time.Millisecond, Failback: hub.FailbackImmediate, Predictive: true}},
		{"shop.*.group={primary: wan, backups: [spare], repin: immediate, predictive: false, failback: never}", hub.Group{Failback: hub.FailbackNever}},
		{"shop.*.group={primary: wan, backups: [spare], repin_after: 1s, failback: hold-down, hold_down: 10s}",
			hub.Group{Repin: 200 * time.Millisecond, Failback: hub.FailbackHoldDown, HoldDown: 2 * time.Second, Predictive: true}},
	}
	for _, tt := range tests {
		got := failover(t, tt.set).Servers[0].Config.Groups[0]
		if len(got.Members) != 2 || got.Members[0] != 2 || got.Members[1] != 1 {
			t.Errorf("%s: members %v, want the primary (2) first", tt.set, got.Members)
		}
		got.Members = nil
		if got.Repin != tt.want.Repin || got.Failback != tt.want.Failback || got.HoldDown != tt.want.HoldDown || got.Predictive != tt.want.Predictive {
			t.Errorf("%s: got %+v, want %+v", tt.set, got, tt.want)
		}
	}
}

func TestECMPStartsOverAll(t *testing.T) {
	p := failover(t, "shop.*.cpe.select=ecmp")
	n, _ := p.Node("shop.1.router")
	for _, r := range n.Routes {
		if r.To.Bits() == 0 && (len(r.Hops) != 2 || !n.Multipath) {
			t.Errorf("got %+v and multipath %v, want both tunnels and a hash over ports", r, n.Multipath)
		}
	}
}
