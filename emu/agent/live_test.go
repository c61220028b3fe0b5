package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

func ptr(v uint32) *uint32 { return &v }

// A long transfer each way arrives intact through tunnel and hub, whichever
// engine each end runs on, and nothing is lost unaccounted.
func TestTransferIsIntact(t *testing.T) {
	need.BPF(t)
	for _, c := range []struct {
		name   string
		core   string
		key    *uint32
		io     IO
		branch branch.IO
		bytes  int
	}{
		{"eBPF at both ends", "fake", nil, IOVnet, branch.IOKernel, 50 << 20},
		{"eBPF with a key", "fake", ptr(0xfeed0001), IOVnet, branch.IOKernel, 5 << 20},
		{"plain server", "fake", nil, IOPlain, branch.IOKernel, 20 << 20},
		{"plain branch", "fake", ptr(7), IOVnet, branch.IOPlain, 20 << 20},
		{"plain at both ends", "fake", nil, IOPlain, branch.IOPlain, 50 << 20},
		{"hub with tcx", "hub", ptr(9), IOVnet, branch.IOKernel, 50 << 20},
		{"hub in plain mode", "hub", nil, IOPlain, branch.IOPlain, 50 << 20},
		{"hub over AF_XDP", "hub", ptr(9), IOXDP, branch.IOKernel, 20 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := raise(t, c.core, c.key, c.io, c.branch)
			if got := l.agent.Hello().IO; got != c.io {
				t.Errorf("engine = %v, want %v (%v)", got, c.io, l.agent.Hello().Features)
			}
			for _, way := range []string{"up", "down"} {
				client, server := l.connect(t, "host", hostAddr, "origin", originAddr)
				from, to := client, server
				if way == "down" {
					from, to = server, client
				}
				took, err := transfer(from, to, c.bytes)
				if err != nil {
					t.Fatalf("%s: %v", way, err)
				}
				t.Logf("%s: %.2f Gbit/s", way, float64(c.bytes)*8/float64(took.Nanoseconds()))
				checkStart(t, l)
			}
			f, err := l.agent.Stop(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			checkEnds(t, l, f)
			t.Logf("counters: %+v, io %v, drops %v, max RSS %v", f.Counters, f.IO, f.Drops, f.MaxRSS)
			if f.Counters.Forwarded == 0 || f.Counters.Returned == 0 {
				t.Errorf("forwarded %d and returned %d packets, want both above 0", f.Counters.Forwarded, f.Counters.Returned)
			}
			if c.io == IOVnet && f.IO["rx_superpackets"] == 0 {
				t.Errorf("no superpackets came through, of %d packets", f.IO["rx_packets"])
			}
		})
	}
}

// Where programs cannot be loaded the agent says so, and works.
func TestFallsBackToPlain(t *testing.T) {
	need.BPF(t)
	l := raise(t, "hub without bpf", nil, IOAuto, branch.IOAuto)
	hello := l.agent.Hello()
	if hello.IO != IOPlain || !strings.Contains(strings.Join(hello.Features, "\n"), "no tcx: ") {
		t.Errorf("Hello = %+v, want plain I/O and why there is no tcx", hello)
	}
	from, to := l.connect(t, "host", hostAddr, "origin", originAddr)
	if _, err := transfer(from, to, 1<<20); err != nil {
		t.Error(err)
	}
	if _, err := Start(l.spawn("hub without bpf"), l.plan.Servers[0], l.options(t, IOVnet)); !strings.Contains(fmt.Sprint(err), "load server programs") {
		t.Errorf("Start insisting on vnet = %v, want a refusal to load", err)
	}
}

// Superpackets behind our outer headers are such that the kernel can still cut
// them, where a link does not take them whole.
func TestKernelCanSegment(t *testing.T) {
	need.BPF(t)
	for name, key := range map[string]*uint32{"no key": nil, "key": ptr(3)} {
		t.Run(name, func(t *testing.T) {
			l := raise(t, "hub", key, IOVnet, branch.IOKernel)
			segment(t, l.NS("server"), "up0")
			segment(t, l.NS("branch"), "wan0")
			wire := l.tap(t, "edge", "s1")
			for _, way := range []string{"up", "down"} {
				from, to := l.connect(t, "host", hostAddr, "origin", originAddr)
				if way == "down" {
					from, to = to, from
				}
				if _, err := transfer(from, to, 5<<20); err != nil {
					t.Errorf("%s: %v", way, err)
				}
			}
			gre, others := wire.decode(t)
			if gre < 1000 || others < 1000 {
				t.Errorf("the server sent %d packets in GRE and %d others, want 1000 of each at least", gre, others)
			}
		})
	}
}

// What the server puts on the wire decodes without fault, on each engine.
func TestServersWireDecodes(t *testing.T) {
	need.BPF(t)
	for _, io := range []IO{IOVnet, IOPlain, IOXDP} {
		t.Run(string(io), func(t *testing.T) {
			l := raise(t, "hub", ptr(4), io, branch.IOKernel)
			wire := l.tap(t, "edge", "s1")
			client, server := l.connect(t, "host", hostAddr, "origin", originAddr)
			if _, err := transfer(server, client, 300<<10); err != nil {
				t.Fatal(err)
			}
			if gre, others := wire.decode(t); gre < 10 || others < 3 {
				t.Errorf("the server sent %d packets in GRE and %d others, want 10 and 3 at least", gre, others)
			}
		})
	}
}

// checkStart waits for the event of one connection's SYN.
func checkStart(t *testing.T, l *lab) {
	t.Helper()
	e := <-l.events
	if e.Node != "server" || e.Kind != hub.FlowStart || e.Tuple.Src.Addr() != hostAddr || e.Session == nil || e.Session.ID == [16]byte{} || e.At <= 0 {
		t.Errorf("event = %+v, want a flow start of %v on server", e, hostAddr)
	}
}

// checkEnds sees that the hub ended each flow it started, at the latest when
// it was stopped.
func checkEnds(t *testing.T, l *lab, f Final) {
	t.Helper()
	ended := uint64(0)
	for len(l.events) > 0 {
		if e := <-l.events; e.Kind == hub.FlowEnd {
			ended++
		}
	}
	if ended != f.Counters.FlowsStarted || f.Counters.Flows != 0 {
		t.Errorf("%d flows ended of %d, %d still live, want all ended", ended, f.Counters.FlowsStarted, f.Counters.Flows)
	}
}
