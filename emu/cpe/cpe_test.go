package cpe_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/cpe"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// probing as of a scenario with timers.scale 0.2.
var probing = &hub.Probing{Interval: 200 * time.Millisecond, Timeout: 60 * time.Millisecond, Window: time.Minute, Burst: 200 * time.Millisecond}

// slack is what a busy machine may take on top.
const slack = 500 * time.Millisecond

// ways are two wires between a router and the far end, which answers pings.
func ways(choice string, p *hub.Probing) (*plan.Plan, *plan.Choice) {
	lab := &plan.Plan{
		Scenario: "ways",
		Nodes:    []plan.Node{{ID: "router", Kind: plan.KindBranch, Forward: true, Multipath: true}, {ID: "far", Kind: plan.KindEdge, Forward: true}},
	}
	c := &plan.Choice{Select: choice, To: netip.MustParsePrefix("0.0.0.0/0")}
	for i, name := range []string{"wan0", "wan1"} {
		inner, peer := netip.MustParseAddr(fmt.Sprintf("169.254.240.%d", 2*i+1)), netip.MustParseAddr(fmt.Sprintf("169.254.240.%d", 2*i))
		end := func(node string, own, other netip.Addr, last byte) plan.Endpoint {
			return plan.Endpoint{Node: node, Interface: name, MAC: net.HardwareAddr{2, 0, 0, 0, byte(i), last}, Addresses: []netip.Prefix{netip.PrefixFrom(own, 31)}, Neighbors: []netip.Addr{other}}
		}
		lab.Links = append(lab.Links, plan.Link{ID: name, Class: plan.ClassAccess, MTU: 1500, A: end("router", inner, peer, 1), B: end("far", peer, inner, 2)})
		c.Ways = append(c.Ways, plan.Way{OnRamp: "shop.1." + name, Hop: plan.Hop{Interface: name, Via: peer}, Inner: inner, Peer: peer, Probing: p})
	}
	route := plan.KernelRoute{To: c.To}
	for _, w := range c.Ways {
		if choice == spec.ECMP || len(route.Hops) == 0 {
			route.Hops = append(route.Hops, w.Hop)
		}
	}
	lab.Nodes[0].Routes = []plan.KernelRoute{route}
	return lab, c
}

// site is a router that chooses, and the far end's side of its wires.
type site struct {
	lab      *keeper.Lab
	far      *wire.Routes
	switches chan cpe.Switch
}

func raise(t *testing.T, choice string, p *hub.Probing) *site {
	t.Helper()
	need.Root(t)
	lab, c := ways(choice, p)
	k, err := keeper.Up(t.Context(), lab, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &site{lab: k, switches: make(chan cpe.Switch, 16)}
	if s.far, err = wire.OpenRoutes(k.NS("far")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.far.Close)
	chooser, err := cpe.Start([]cpe.Router{{Node: "router", NS: k.NS("router"), Choice: c}}, func(w cpe.Switch) { s.switches <- w })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chooser.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// leaves says by which of the router's addresses flows to the Internet leave.
func (s *site) leaves(t *testing.T) []string {
	t.Helper()
	var seen []string
	err := s.lab.NS("router").Do(func() error {
		for port := range 32 {
			c, err := net.Dial("udp4", fmt.Sprintf("203.0.113.9:%d", 1000+port))
			if err != nil {
				return err
			}
			if a := c.LocalAddr().(*net.UDPAddr).IP.String(); !slices.Contains(seen, a) {
				seen = append(seen, a)
			}
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(seen)
	return seen
}

// mute has the far end send nothing by a wire, or everything again.
func (s *site) mute(t *testing.T, name string, silent bool) {
	t.Helper()
	f := s.far.Unmute
	if silent {
		f = s.far.Mute
	}
	if err := f(name); err != nil {
		t.Fatal(err)
	}
	if is, err := s.far.Muted(name); err != nil || is != silent {
		t.Fatalf("%s muted: %v, %v, want %v", name, is, err, silent)
	}
}

// next is the router's next change of mind.
func (s *site) next(t *testing.T, within time.Duration, want ...string) {
	t.Helper()
	start := time.Now()
	select {
	case w := <-s.switches:
		if !slices.Equal(w.Ways, want) {
			t.Fatalf("%v, want %v", w, want)
		}
		t.Logf("%v after %v", w, time.Since(start))
	case <-time.After(within):
		t.Fatalf("no switch to %v within %v", want, within)
	}
}

func TestPrimaryBackup(t *testing.T) {
	s := raise(t, spec.PrimaryBackup, probing)
	time.Sleep(2 * probing.Interval)
	if got := s.leaves(t); !slices.Equal(got, []string{"169.254.240.1"}) {
		t.Fatalf("leaves by %v, want the primary", got)
	}
	s.mute(t, "wan0", true)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan1")
	if got := s.leaves(t); !slices.Equal(got, []string{"169.254.240.3"}) {
		t.Fatalf("leaves by %v, want the backup", got)
	}
	// With both silent it is as if neither were.
	s.mute(t, "wan1", true)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan0")
	s.mute(t, "wan1", false)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan1")
	s.mute(t, "wan0", false)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan0")
	if got := s.leaves(t); !slices.Equal(got, []string{"169.254.240.1"}) {
		t.Fatalf("leaves by %v, want the primary again", got)
	}
}

func TestECMP(t *testing.T) {
	s := raise(t, spec.ECMP, probing)
	time.Sleep(2 * probing.Interval)
	if got := s.leaves(t); len(got) != 2 {
		t.Fatalf("leaves by %v, want both", got)
	}
	s.mute(t, "wan1", true)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan0")
	if got := s.leaves(t); !slices.Equal(got, []string{"169.254.240.1"}) {
		t.Fatalf("leaves by %v, want the first alone", got)
	}
	s.mute(t, "wan1", false)
	s.next(t, plan.Detection(probing)+slack, "shop.1.wan0", "shop.1.wan1")
	if got := s.leaves(t); len(got) != 2 {
		t.Fatalf("leaves by %v, want both again", got)
	}
}

func TestDetectNone(t *testing.T) {
	s := raise(t, spec.PrimaryBackup, nil)
	s.mute(t, "wan0", true)
	select {
	case w := <-s.switches:
		t.Errorf("%v, want none", w)
	case <-time.After(plan.Detection(probing) + slack):
	}
}
