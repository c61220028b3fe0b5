package probe_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// SU-3 on the wire: packets with a port of slice 3 are fine, all others are
// counted, whichever end of the link is tapped, whatever carries the port.
// What comes back, and other addresses' packets, are not looked at.
func TestEgressCountsPortsOutsideTheSlice(t *testing.T) {
	eachFamily(t, egressCountsPortsOutsideTheSlice)
}

func egressCountsPortsOutsideTheSlice(t *testing.T, a family) {
	l := newLab(t, a)
	inSlice3 := func(from netip.AddrPort, _ netip.Addr, _ time.Time) bool {
		return from.Addr() == a.shared && from.Port()>>11 == 3
	}
	own := probe.EgressConfig{Interface: "eth0", Prefixes: []netip.Prefix{a.apart, a.around}, Owned: inSlice3}
	far := own
	far.Interface, far.Incoming = "a", true
	other := own
	other.Prefixes = own.Prefixes[:1]
	taps := map[string]*probe.Egress{}
	for name, c := range map[string]struct {
		ns *netns.NS
		c  probe.EgressConfig
	}{"own end": {l.hosts["a"].NS, own}, "far end": {l.router, far}, "other": {l.hosts["a"].NS, other}} {
		e, err := probe.StartEgress(c.ns, c.c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		taps[name] = e
	}
	// Each is answered, so each has passed: 5 datagrams and 2 pings inside, 3
	// datagrams (one just below, one just above) and 1 ping outside.
	var flows []plan.Flow
	add := func(proto plan.Proto, port uint16) {
		f := a.flow(len(flows)+1, "a", proto, port, 7)
		f.Packets = 1
		flows = append(flows, f)
	}
	for _, p := range []uint16{6144, 6145, 7000, 8190, 8191} {
		add(plan.UDP, p)
	}
	for _, p := range []uint16{6143, 8192, 40000} {
		add(plan.UDP, p)
	}
	add(plan.ICMP, 6144)
	add(plan.ICMP, 8191)
	add(plan.ICMP, 8192)
	for i, o := range host.Run(t.Context(), flows, host.Config{
		Namespace: func(string) *netns.NS { return l.hosts["a"].NS }, Key: key, Base: time.Now(),
	}) {
		if o.Result != record.OK {
			t.Fatalf("flow %d: %s %s", i, o.Result, o.Reason)
		}
	}
	for name, want := range map[string]probe.EgressCount{"own end": {Checked: 11, Outside: 4}, "far end": {Checked: 11, Outside: 4}, "other": {}} {
		got := taps[name].Count()
		if got.Checked != want.Checked || got.Outside != want.Outside || got.Dropped != 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if (got.Outside > 0) != got.First.IsValid() || got.Outside > 0 && inSlice3(got.First, netip.Addr{}, time.Time{}) {
			t.Errorf("%s: first violation %v", name, got.First)
		}
		if err := taps[name].Close(); err != nil {
			t.Error(err)
		}
		if after := taps[name].Count(); after != got {
			t.Errorf("%s: %+v after Close, want %+v", name, after, got)
		}
	}
}

// Superpackets are seen as well as small ones, without losing any.
func TestEgressSeesBulk(t *testing.T) { eachFamily(t, egressSeesBulk) }

func egressSeesBulk(t *testing.T, a family) {
	l := newLab(t, a)
	e, err := probe.StartEgress(l.router, probe.EgressConfig{
		Interface: "web", Incoming: true, Prefixes: []netip.Prefix{netip.PrefixFrom(a.origin, a.origin.BitLen())},
		Owned: func(netip.AddrPort, netip.Addr, time.Time) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	f := a.flow(1, "a", plan.TCP, 40000, 443)
	f.Response, f.Timeout = 100<<20, 5*time.Minute
	if r := l.run(t, []plan.Flow{f})["a tcp"]; r.Result != record.OK {
		t.Fatalf("%s %s", r.Result, r.Reason)
	}
	// 100 MiB take at least 1,600 superpackets of 64 KiB.
	if c := e.Count(); c.Checked < 1600 || c.Outside != 0 || c.Dropped != 0 {
		t.Errorf("%+v, want at least 1600 checked, none outside or dropped", c)
	}
}

func TestEgressRefusesNoPrefix(t *testing.T) {
	if _, err := probe.StartEgress(nil, probe.EgressConfig{Prefixes: make([]netip.Prefix, 1)}); err == nil {
		t.Error("no error for a prefix that is none")
	}
}
