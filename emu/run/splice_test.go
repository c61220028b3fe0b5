package run_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/capture"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// raise brings up a lab of plain wires.
func raise(t *testing.T, file string, o run.Options) *run.Lab {
	t.Helper()
	need.Root(t)
	labtest.Clean(t)
	o.AgentArgs, o.PumpArgs = []string{agentWord}, []string{pumpWord}
	l, err := run.Up(t.Context(), compile(t, file), &record.Memory{}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return l
}

// impaired asks all links of a name for something, in both directions.
func impaired(t *testing.T, l *run.Lab, name string, im spec.Impairment, words ...string) []*plan.Link {
	t.Helper()
	links := l.Plan().LinksCalled(name)
	if len(links) == 0 {
		t.Fatalf("no link %s", name)
	}
	err := l.Reimpair(run.Change{Links: links, Directions: []impair.Direction{impair.AB, impair.BA}, With: im, Words: words, None: len(words) == 0, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// rounds sends traffic and wants all of it well; it returns the least round trip
// of each traffic.
func rounds(t *testing.T, l *run.Lab) map[string]time.Duration {
	t.Helper()
	flows, err := l.Traffic(t.Context(), run.Round{})
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]time.Duration{}
	for _, f := range flows {
		if f.Result != record.OK {
			t.Errorf("%s#%d from %s: %s (%s)", f.Traffic, f.N, f.Client, f.Result, f.Reason)
		}
		if rtt := time.Duration(f.RTTNs); least[f.Traffic] == 0 || rtt < least[f.Traffic] {
			least[f.Traffic] = rtt
		}
	}
	return least
}

// Every kind of link can be impaired although the lab came up with plain wires
// alone: hosts' own, those under tunnels and interconnects, with and without a
// tag, and servers' uplinks, whose programs and sockets stay where they are. Each
// flow still gets its own answer, both delays show, and what nobody asks for any
// more is gone.
func TestLiveSpliceEveryLink(t *testing.T) {
	for _, io := range []agent.IO{agent.IOAuto, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			l := raise(t, connectedLab+`
traffic:
  - {id: browse, from: "*.*.till", to: web, tcp: 443, source_port: 40000, response: 200KiB}
  - {id: sping, from: "*.*.till", to: web, icmp: 3}
  - {id: device, from: "eve.*", to: web, tcp: 443, response: 50KiB}
  - {id: private, from: "*.*.till", to: annex.files, tcp: 445, source_port: 41000, response: 50KiB}
`, run.Options{IO: io, Dataplane: run.Hub})
			rounds(t, l)
			const delay = 3 * time.Millisecond
			all := map[string]bool{}
			for i := range l.Plan().Links {
				all[string(l.Plan().Links[i].Class)] = true
			}
			for class := range all {
				impaired(t, l, class, spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(delay)}}, "delay")
			}
			// Till, router, edge, server, edge, web: at least four links, there and back.
			slow := rounds(t, l)["sping"]
			if slow < 8*delay {
				t.Errorf("a ping takes %v, want %v or more", slow, 8*delay)
			}
			wires, err := l.Wires()
			if err != nil || len(wires) != 2*len(l.Plan().Links) {
				t.Fatalf("%d directions, %v; want %d", len(wires), err, 2*len(l.Plan().Links))
			}
			measured := 0
			for _, w := range wires {
				if w.Unasked > 0 || w.Measured.N > 0 && time.Duration(w.Measured.P50Ns) < delay {
					t.Errorf("%s %s: %d lost unasked, took %+v", w.Link.ID, w.Direction, w.Unasked, w.Measured)
				}
				if w.Measured.N > 0 {
					measured++
				}
			}
			if measured < len(wires)/2 {
				t.Errorf("the meter saw %d of %d directions", measured, len(wires))
			}
			if m := l.Manifest(t.Context()); !strings.Contains(m.Features["wire"], "userspace pump") {
				t.Errorf("run.json says that wires are %q", m.Features["wire"])
			}
			for class := range all {
				impaired(t, l, class, spec.Impairment{})
			}
			if mended := rounds(t, l)["sping"]; mended > slow-4*delay {
				t.Errorf("mended, a ping takes %v, and %v before", mended, slow)
			}
		})
	}
}

// inside runs a program in a node.
func inside(t *testing.T, l *run.Lab, node string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(need.Tool(t, args[0]), args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.Spawn(node, cmd); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	return out.String(), err
}

// A cut holds whether the link was impaired before, during or after it, and what
// heals it leaves the delay; a rate that the kernel has is there again.
func TestLiveSpliceAndCut(t *testing.T) {
	l := raise(t, fmt.Sprintf(lab, true, "impair:\n  - {on: web, rate: 1Gbit}\n"+stayTraffic), run.Options{Dataplane: run.Hub})
	ping := func(want bool, when string) {
		t.Helper()
		out, err := inside(t, l, "shop.1.till", "ping", "-q", "-c", "2", "-i", "0.1", "-W", "1", "203.0.113.9")
		if got := err == nil; got != want {
			t.Errorf("%s: answered %t, want %t: %s", when, got, want, out)
		}
	}
	for _, link := range []string{"shop.1.wan", "web"} {
		cut := func() func() {
			h, err := l.Break(t.Context(), spec.Fault{ID: "cut", Do: spec.Cut, On: link}, "test")
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := l.Mend(h, "test"); err != nil {
					t.Error(err)
				}
			}
		}
		delay := spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(5 * time.Millisecond)}}
		mend := cut()
		impaired(t, l, link, delay, "delay")
		ping(false, link+" impaired while cut")
		mend()
		ping(true, link+" mended")
		mend = cut()
		ping(false, link+" cut while impaired")
		impaired(t, l, link, spec.Impairment{})
		ping(false, link+" plain while cut")
		mend()
		ping(true, link+" whole")
	}
	for _, end := range [][2]string{{"web", "eth0"}, {"transit.lhr", "web"}} {
		out, _ := inside(t, l, end[0], "tc", "qdisc", "show")
		if !strings.Contains(out, "tbf") {
			t.Errorf("%s has lost its rate: %s", end[0], out)
		}
	}
}

// A host whose own link is impaired is still seen sending, by witnesses and
// captures: where routes decide, who got whose answer is known.
func TestLiveSpliceIsSeen(t *testing.T) {
	l := raise(t, fmt.Sprintf(lab, false, equalRoutes+stayTraffic), run.Options{Dataplane: run.Hub})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var file bytes.Buffer
	listening, done := make(chan struct{}), make(chan error)
	s := capture.Stream{Points: []capture.Point{{Node: "shop.1.till", Interface: "eth0"}}, Listening: func() { close(listening) }}
	s.Follow = func(c *capture.Capture) func() {
		return l.OnSplice(func(of *wire.Splice) {
			for _, e := range of.Ends() {
				if err := c.Beside(l, e.Node, e.Interface, e.Sees); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { _, err := s.Run(ctx, l, &file); done <- err }()
	<-listening
	impaired(t, l, "lan", spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(2 * time.Millisecond)}}, "delay")
	flows, err := l.Traffic(t.Context(), run.Round{IDs: []string{"same", "ask"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(flows, misdelivered) {
		t.Errorf("nothing misdelivered with equal routes: %+v", flows)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	own := l.Plan().Links
	sent := 0
	for {
		data, _, err := r.ReadPacketData()
		if err != nil {
			break
		}
		for i := range own {
			if own[i].A.Node == "shop.1.till" && bytes.Equal(data[6:12], own[i].A.MAC) {
				sent++
			}
		}
	}
	if sent < 2 {
		t.Errorf("the capture has %d packets that the host sent, want its SYN and its question", sent)
	}
}
