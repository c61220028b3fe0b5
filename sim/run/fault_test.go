package run

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const breakable = `version: 1
name: breakable
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/31]}
  - {id: cdg, servers: 2, egress: [198.51.100.2/31]}
account: {orphan: reset}
sites:
  - id: shop
    count: 3
    near: {lhr: 2, cdg: 1}
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5}
    onramps: [{id: wan, type: gre, arr: true}]
internet: [{id: web, address: 203.0.113.9, near: cdg, serve: [http, echo]}]
links: {access: {delay: 5ms}}
traffic:
  - {id: early, from: shop.*.till, to: web, tcp: 80, source_port: 40000, response: 1KiB}
  - {id: tick, from: shop.*.till, to: web, udp: 7, source_port: 40001, packets: 60, interval: 100ms, connect: 500ms, timeout: 20s}
  - {id: late, from: shop.*.till, to: web, tcp: 80, source_port: 40002, flows: 40, start: 3s, response: 1KiB, connect: 500ms, timeout: 2s}
  - {id: last, from: shop.*.till, to: web, tcp: 80, source_port: 50002, flows: 40, start: 8s, response: 64KiB}
`

func broken(t *testing.T, fault string) *plan.Plan {
	t.Helper()
	return loadtest.Plan(t, breakable+"faults: [{id: f, "+fault+"}]\n", spec.Base)
}

// ok is how many flows of a traffic from a client are ok.
func ok(r *record.Records, traffic, client string) (n int) {
	for _, f := range r.Flows {
		if f.Traffic == traffic && strings.HasPrefix(f.Client, client) && f.Result == record.OK {
			n++
		}
	}
	return n
}

// homes are the servers at which flows of a traffic were at home.
func homes(r *record.Records, traffic, client string) []string {
	var all []string
	for _, f := range r.Flows {
		if f.Traffic == traffic && strings.HasPrefix(f.Client, client) && !slices.Contains(all, f.HomeServer) {
			all = append(all, f.HomeServer)
		}
	}
	slices.Sort(all)
	return all
}

// at is when the first event of a kind was, from the start of traffic.
func at(r *record.Records, kind string) time.Duration {
	begin := int64(-1)
	for _, e := range r.Events {
		if e.Kind == "traffic" && begin < 0 {
			begin = e.AtNs
		}
		if e.Kind == kind {
			return time.Duration(e.AtNs - begin)
		}
	}
	return -1
}

// lateFlows are how many flows of a shop begin while a fault lasts.
const lateFlows = 40

// faultCase is a fault, and what it does to flows.
type faultCase struct {
	fault string
	// late1 and late3 are how many of the flows that begin while it lasts are ok
	// at shop 1 and shop 3.
	late1, late3 int
	more         func(*testing.T, *record.Records)
}

func faultCases() []faultCase {
	const late = lateFlows
	none := func(*testing.T, *record.Records) {}
	inParis := func(t *testing.T, homes ...string) {
		t.Helper()
		for _, home := range homes {
			if !strings.HasPrefix(home, "cdg") {
				t.Errorf("at home at %s, want cdg", home)
			}
		}
	}
	return []faultCase{
		{"at: 2s, for: 4s, do: cut, on: shop.1.wan", 0, late, none},
		{"at: 2s, for: 4s, do: blackhole, direction: down, on: shop.1.wan", 0, late, func(t *testing.T, r *record.Records) {
			if len(homes(r, "late", "shop.1")) == 0 || homes(r, "late", "shop.1")[0] == "" {
				t.Error("requests do not arrive, want answers alone to be lost")
			}
		}},
		{"at: 2s, for: 4s, do: partition, on: shop.1", 0, late, none},
		{"at: 2s, for: 4s, do: flap, every: 4s, on: shop.1.wan", 0, late, func(t *testing.T, r *record.Records) {
			if n := ok(r, "tick", "shop.1"); n != 0 {
				t.Error("a flow of datagrams missed nothing")
			}
		}},
		{"at: 2s, for: 4s, do: degrade, on: shop.1.wan, impairment: {delay: 100ms}", late, late, func(t *testing.T, r *record.Records) {
			for _, f := range r.Flows {
				slow := f.Traffic == "late" && f.Client == "shop.1.till"
				if (f.RTTNs >= int64(200*time.Millisecond)) != slow {
					t.Errorf("%s#%d of %s takes %v", f.Traffic, f.N, f.Client, time.Duration(f.RTTNs))
				}
			}
		}},
		{"at: 2s, for: 4s, do: mtu, mtu: 1280, on: shop.1.wan", late, late, none},
		{"at: 2s, for: 4s, do: mtu, mtu: 1280, on: web", late, late, none},
		{"at: 2s, for: 4s, do: kill, on: lhr.1", late, late, func(t *testing.T, r *record.Records) {
			if got := homes(r, "late", "shop.1"); !slices.Equal(got, []string{"lhr.2"}) {
				t.Errorf("at home at %v while lhr.1 is gone, want lhr.2", got)
			}
			if got := homes(r, "last", "shop.1"); !slices.Equal(got, []string{"lhr.1", "lhr.2"}) {
				t.Errorf("at home at %v afterwards, want both", got)
			}
			if !slices.Equal(r.Run.Metrics.Lost, []string{"lhr.1"}) || at(r, "step") != 3*time.Second {
				t.Errorf("lost %v, noticed at %v; want lhr.1, noticed at 3s", r.Run.Metrics.Lost, at(r, "step"))
			}
		}},
		{"at: 2s, for: 4s, do: pause, on: lhr.1", late, late, func(t *testing.T, r *record.Records) {
			if r.Run.Metrics.Lost != nil {
				t.Errorf("lost %v, want none", r.Run.Metrics.Lost)
			}
		}},
		{"at: 2s, do: restart, on: lhr.1", late, late, func(t *testing.T, r *record.Records) {
			if at(r, "step") >= 0 || at(r, "healed") != 2*time.Second {
				t.Errorf("noticed at %v, healed at %v; want never, and at once", at(r, "step"), at(r, "healed"))
			}
		}},
		{"at: 2s, for: 4s, do: pause, on: shop.1.router", 0, late, none},
		{"at: 2s, for: 4s, do: withdraw, address: tunnel, on: lhr", late, late, func(t *testing.T, r *record.Records) {
			inParis(t, homes(r, "late", "shop.1")...)
		}},
		{"at: 1s, for: 5s, do: drain, on: lhr", late, late, func(t *testing.T, r *record.Records) {
			inParis(t, append(homes(r, "late", "shop.1"), homes(r, "late", "shop.2")...)...)
			if at(r, "step") != 2*time.Second {
				t.Errorf("its servers stop at %v, want 2s", at(r, "step"))
			}
		}},
	}
}

// Every fault does what it says, to whom it says, and heals.
func TestFaults(t *testing.T) {
	for _, c := range faultCases() {
		t.Run(c.fault, func(t *testing.T) {
			p := broken(t, c.fault)
			r := run(t, p, Options{})
			if n := ok(r, "early", "shop"); n != 3 {
				t.Errorf("before it, %d of 3 flows are ok", n)
			}
			if n := ok(r, "last", "shop"); n != 3*lateFlows {
				t.Errorf("after it has healed, %d of %d flows are ok", n, 3*lateFlows)
			}
			if got := [2]int{ok(r, "late", "shop.1"), ok(r, "late", "shop.3")}; got != [2]int{c.late1, c.late3} {
				t.Errorf("while it lasts, %v flows of shops 1 and 3 are ok, want %d and %d", got, c.late1, c.late3)
			}
			if at(r, "fault") != p.Faults[0].At.D() || at(r, "healed") != p.Faults[0].At.D()+p.Faults[0].For.D() {
				t.Errorf("it happens at %v and heals at %v", at(r, "fault"), at(r, "healed"))
			}
			seen := map[string]bool{}
			for _, s := range r.Sessions {
				if seen[s.SessionID] {
					t.Errorf("session %s is there twice", s.SessionID)
				}
				seen[s.SessionID] = true
			}
			c.more(t, r)
			if again := run(t, p, Options{Queue: &engine.Heap{}}); !reflect.DeepEqual(same(r), same(again)) {
				t.Error("another run differs")
			}
		})
	}
}

// What is under way when its link becomes narrow is lost if it is too long.
func TestNarrowUnderWay(t *testing.T) {
	const text = `version: 1
name: underway
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/32]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
links: {internet: {delay: 50ms}}
traffic:
  - {id: long, from: shop.1.till, to: web, udp: 7, request: 1400B, connect: 1s}
  - {id: short, from: shop.1.till, to: web, udp: 7, request: 1000B, connect: 1s}
faults: [{id: narrow, at: 10ms, do: mtu, mtu: 1280, on: web, for: 3s}]
`
	r := run(t, loadtest.Plan(t, text, spec.Base), Options{})
	if got := [2]int{ok(r, "long", "shop"), ok(r, "short", "shop")}; got != [2]int{0, 1} {
		t.Errorf("ok of a long one and a short one: %v; want 0 and 1", got)
	}
}

// A device whose tunnel hears that its way takes less sends smaller segments, and finds
// out by itself what of those under way is lost: the kernel's TCP took 2.66 s for this
// transfer in most labs. One that was told of each, as behind a router (RFC 1191), would have
// sent all of it again at once, and been quicker.
func TestDeviceNarrowed(t *testing.T) {
	for _, f := range run(t, planOf(t, "narrow_path", "edge"), Options{}).Flows {
		if took := time.Duration(f.EndNs - f.StartNs); f.Traffic == "roam" && (f.Result != record.OK || (took-2660*time.Millisecond).Abs() > 100*time.Millisecond) {
			t.Errorf("%s#%d: %s after %v, want ok after 2.66s", f.Traffic, f.N, f.Result, took)
		}
	}
}
