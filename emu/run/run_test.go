package run_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// The test binary is its own agent: the lab starts it again with this word.
const agentWord = "serve-as-agent"

// pumpWord and speakerWord likewise: the pump of impaired links, and a router's BGP.
const (
	pumpWord    = "serve-as-pump"
	speakerWord = "serve-as-speaker"
)

func TestMain(m *testing.M) {
	children := map[string]func(io.Reader, io.Writer) error{agentWord: agent.Main, pumpWord: pump.Main, speakerWord: speaker.Main}
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		if err := children[os.Args[1]](os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// lab is two datacenters of two servers, three branches with one prefix and
// one origin; %s is the traffic and whatever else a test asks for.
const lab = `version: 1
name: live
seed: 7
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/30]}
  - {id: cdg, servers: 2, egress: [198.51.100.4/30]}
sites:
  - id: shop
    count: 3
    near: {lhr: 2, cdg: 1}
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5}
    onramps: [{id: wan, type: gre, arr: %t}]
internet:
  - {id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}
%s
`

const equalRoutes = "routes: [{prefix: 10.0.1.0/24, via: shop.*.wan}]\n"

func compile(t *testing.T, text string) *plan.Plan {
	t.Helper()
	return loadtest.Plan(t, text, "base")
}

// dataplaneEnv says what the servers of live labs are, where a test does not.
const dataplaneEnv = "HOMEWARD_TEST_DATAPLANE"

// What holds of a lab whose hub decides every packet holds where the kernel carries
// flows: return routing, slices, hand-overs, fragments, groups, captures, what
// servers tell of sessions, and tools that nobody here wrote.
func TestOnEBPF(t *testing.T) {
	need.BPF(t)
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.timeout=10m", "-test.run=^TestLive(ARR1|ARR6|ARR10|ARR11|SU1|SU3|SU8|SU10|RT7|RT14|Fragments|CaptureInTshark|Bulk|Tools|ServerKilled|KillTellsWhatIsLost|NarrowTunnel)$")
	cmd.Env = append(os.Environ(), dataplaneEnv+"="+string(run.EBPF))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n--- PASS: TestLive") < 17 {
		t.Errorf("%v\n%s", err, out)
	}
}

// live runs the plan on this machine and proves that nothing of it stays.
func live(t *testing.T, p *plan.Plan, o run.Options) *record.Records {
	t.Helper()
	r := played(t, p, o)
	invariants(t, p, r)
	return r
}

// played is live of a plan in which addresses move: what servers own changes. A lab
// that was saturated, and in which some flow fell short, is made again, at most three
// times.
func played(t *testing.T, p *plan.Plan, o run.Options) *record.Records {
	t.Helper()
	return again(t, p, o, func(r *record.Records) bool {
		return slices.ContainsFunc(r.Flows, func(f record.Flow) bool { return f.Result != record.OK })
	})
}

// again is played of a plan whose test says itself what falls short.
func again(t *testing.T, p *plan.Plan, o run.Options, short func(*record.Records) bool) *record.Records {
	t.Helper()
	need.Root(t)
	labtest.Clean(t)
	if o.Dataplane == "" && o.IO != agent.IOPlain {
		o.Dataplane = run.Dataplane(os.Getenv(dataplaneEnv))
	}
	o.AgentArgs, o.PumpArgs = []string{agentWord}, []string{pumpWord}
	var r *record.Records
	for range 4 {
		var memory record.Memory
		if err := run.Run(context.Background(), p, &memory, o); err != nil {
			t.Fatal(err)
		}
		r = memory.Records()
		if !short(r) || !busy(t, r) {
			break
		}
	}
	return r
}

// busy says whether the machine was too busy for the lab, by the lab's own word:
// what was lost then is no verdict.
func busy(t *testing.T, r *record.Records) (is bool) {
	t.Helper()
	for _, e := range r.Events {
		if e.Kind == "saturated" {
			t.Logf("not judged: %s %s: %s", e.Node, e.Fault, e.Text)
			is = true
		}
	}
	return is
}

// invariants hold for every run: one line for each flow; one record
// for each session, with a port of its server's own slice; no packet outside it.
func invariants(t *testing.T, p *plan.Plan, r *record.Records) {
	t.Helper()
	if len(r.Flows) != len(p.Flows) {
		t.Errorf("%d lines for %d flows", len(r.Flows), len(p.Flows))
	}
	if n := r.Run.Metrics.PortOutsideSlice; n != 0 {
		t.Errorf("%d packets left with a port outside their server's slice", n)
	}
	ids := map[string]bool{}
	for _, s := range r.Sessions {
		if ids[s.SessionID] {
			t.Errorf("session %s has two records", s.SessionID)
		}
		ids[s.SessionID] = true
		if server, ok := p.Server(s.EgressServer); s.Refused == "" && s.Offramp == "INTERNET" && (!ok || !owns(server, s.EgressIP, s.EgressPort, s.OriginIP)) {
			t.Errorf("session of %s left from %s port %d, which is not of %s", s.HomeServer, s.EgressIP, s.EgressPort, s.EgressServer)
		}
	}
}

// owns says whether the server may send from a port of an egress address.
func owns(s *plan.Server, addr string, port int, to string) bool {
	from, err := netip.ParseAddr(addr)
	known := slices.ContainsFunc(s.Config.Egress, func(a egress.Address) bool { return a.Addr == from })
	dst, other := netip.ParseAddr(to)
	return err == nil && other == nil && known &&
		journal.NewSlices(&s.Config).Owns(netip.AddrPortFrom(from, uint16(port)), dst, time.Time{})
}

func results(flows []record.Flow) map[record.Result]int {
	n := map[record.Result]int{}
	for _, f := range flows {
		n[f.Result]++
	}
	return n
}

func wantAll(t *testing.T, r *record.Records, want record.Result) {
	t.Helper()
	for _, f := range r.Flows {
		if f.Result != want {
			t.Errorf("%s#%d of %s: %s (%s), delivered to %q, want %s", f.Traffic, f.N, f.Client, f.Result, f.Reason, f.DeliveredTo, want)
		}
	}
}

// ARR-1: identical 5-tuples at the same moment, each gets its own payload, and
// the egress address and port differ. SU-3: every port in its slice. The bytes
// of the session log are those the clients counted.
func TestLiveARR1(t *testing.T) { each(t, arr1) }

func arr1(t *testing.T, w world) {
	p := w.plan(t, "traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, request: 4KiB, response: 1MiB}]")
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			if io == agent.IOVnet {
				need.BPF(t)
			}
			r := live(t, p, run.Options{IO: io})
			wantAll(t, r, record.OK)
			if r.Run.Engine == run.EBPF.Engine() { // whose superpackets are the kernel's to send
				if n := total(&r.Run.Metrics, "io.ebpf_returned"); n == 0 {
					t.Error("the kernel returned nothing by itself")
				}
			} else if n := superpackets(r); (n == 0) == (io == agent.IOVnet) {
				t.Errorf("servers sent %d superpackets", n)
			}
			egresses := map[string]bool{}
			sessions := map[string]record.Session{}
			for _, s := range r.Sessions {
				sessions[s.SessionID] = s
			}
			for _, f := range r.Flows {
				egresses[fmt.Sprint(f.EgressIP, f.EgressPort)] = true
				if f.OnRamp != f.ReturnOnRamp || f.DeliveredTo != f.Client {
					t.Errorf("%s: on-ramp %s, return %s, delivered to %s", f.Client, f.OnRamp, f.ReturnOnRamp, f.DeliveredTo)
				}
				s, ok := sessions[f.SessionID]
				if !ok || s.BytesSent != f.BytesUp || s.BytesReceived != f.BytesDown {
					t.Errorf("%s counted %d up, %d down; the session log %d, %d", f.Client, f.BytesUp, f.BytesDown, s.BytesSent, s.BytesReceived)
				}
				if s.ConnectionCloseReason != "CLIENT_CLOSED" {
					t.Errorf("%s: close reason %s, want CLIENT_CLOSED", f.Client, s.ConnectionCloseReason)
				}
			}
			if len(egresses) != 3 {
				t.Errorf("%d distinct egress addresses and ports for 3 flows", len(egresses))
			}
		})
	}
}

// superpackets is how many the servers sent whole.
func superpackets(r *record.Records) (n int64) {
	for _, s := range r.Run.Metrics.Servers {
		n += s["io.tx_superpackets"]
	}
	return n
}

// ARR-3: no ARR and equal routes: (N-1)/N of the flows are misdelivered, within
// three sigma, and each flow is consistent: what is misdelivered is not also
// delivered.
func TestLiveARR3(t *testing.T) {
	const flows = 3000
	p := compile(t, fmt.Sprintf(lab, false, equalRoutes+fmt.Sprintf("traffic: [{id: many, from: shop.*.till, to: web, tcp: 80, flows: %d, rate: 400, response: 100B, connect: 1500ms}]", flows/3)))
	r := live(t, p, run.Options{})
	n := results(r.Flows)
	const share = 2.0 / 3
	got, sigma := float64(n[record.Misdelivered])/flows, math.Sqrt(share*(1-share)/flows)
	t.Logf("%v; misdelivered %.4f, want %.4f ± %.4f", n, got, share, 3*sigma)
	if math.Abs(got-share) > 3*sigma {
		t.Errorf("misdelivered %.4f, want %.4f within 3 sigma (%.4f)", got, share, 3*sigma)
	}
	if n[record.OK]+n[record.Misdelivered] != flows {
		t.Errorf("results %v: every flow is either ok or misdelivered", n)
	}
}

// ARR-4: no ARR, the identical tuple from all sites: all replies reach the same
// one, so exactly one site is served.
func TestLiveARR4(t *testing.T) {
	p := compile(t, fmt.Sprintf(lab, false, equalRoutes+"traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, connect: 1500ms}]"))
	r := live(t, p, run.Options{})
	n := results(r.Flows)
	to := map[string]bool{}
	for _, f := range r.Flows {
		to[f.DeliveredTo] = true
	}
	if n[record.OK] != 1 || n[record.Misdelivered] != 2 || len(to) != 1 {
		t.Errorf("results %v, replies seen at %v; want one ok, two misdelivered, all seen at one host", n, to)
	}
}

// ARR-5: no ARR and no route: replies are counted as null-routed, and none is delivered.
func TestLiveARR5(t *testing.T) {
	p := compile(t, fmt.Sprintf(lab, false, "traffic: [{id: some, from: shop.*.till, to: web, tcp: 80, flows: 5, connect: 1s}, {id: ask, from: shop.*.till, to: web, udp: 7, connect: 1s}]"))
	r := live(t, p, run.Options{})
	wantAll(t, r, record.Lost)
	var dropped int64
	for _, s := range r.Run.Metrics.Servers {
		dropped += s["drop.null_routed"]
	}
	if dropped < int64(len(p.Flows)) {
		t.Errorf("%d replies counted as null-routed, want at least one for each of %d flows", dropped, len(p.Flows))
	}
	for _, f := range r.Flows {
		if f.DeliveredTo != "" {
			t.Errorf("the reply to %s reached %s", f.Client, f.DeliveredTo)
		}
		if f.Reason != "null_routed" {
			t.Errorf("%s#%d: reason %q, want null_routed", f.Traffic, f.N, f.Reason)
		}
	}
}

// ARR-6: ARR on one site alone: that one is always right, the others behave as
// in ARR-3.
func TestLiveARR6(t *testing.T) {
	text := fmt.Sprintf(lab, false, equalRoutes+`traffic: [{id: many, from: shop.*.till, to: web, tcp: 80, flows: 40, rate: 200, connect: 1500ms}]
variants: {one: {set: {shop.1.wan.arr: true}}}`)
	p := loadtest.Plan(t, text, "one")
	r := live(t, p, run.Options{})
	wrong := 0
	for _, f := range r.Flows {
		if f.Client == "shop.1.till" && f.Result != record.OK {
			t.Errorf("%s#%d of the site with ARR: %s, delivered to %s", f.Traffic, f.N, f.Result, f.DeliveredTo)
		}
		if f.Client != "shop.1.till" && f.Result == record.Misdelivered {
			wrong++
		}
	}
	if wrong < 20 {
		t.Errorf("%d of 80 flows of the sites without ARR misdelivered, want about 53", wrong)
	}
}

// ARR-10: all sites ping with echo id 7 and get their own replies; UDP from one
// source port likewise.
func TestLiveARR10(t *testing.T) { each(t, arr10) }

func arr10(t *testing.T, w world) {
	p := w.plan(t, "traffic: [{id: ping, from: shop.*.till, to: web, icmp: 7, packets: 5, interval: 20ms}, {id: ask, from: shop.*.till, to: web, udp: 7, source_port: 40001, packets: 5, interval: 20ms, request: 1200B}]")
	r := live(t, p, run.Options{})
	wantAll(t, r, record.OK)
}

// SU-1: the origin is near one datacenter, so replies to the other's addresses
// land in the wrong one, and reach the slice's owner in at most two hops.
func TestLiveSU1(t *testing.T) {
	p := compile(t, fmt.Sprintf(lab, true, "traffic: [{id: many, from: shop.3.till, to: web, tcp: 80, flows: 40, rate: 400}]"))
	r := live(t, p, run.Options{})
	wantAll(t, r, record.OK)
	landed := 0
	for _, e := range r.Events {
		if e.Kind == "handover" && strings.HasPrefix(e.Node, "lhr.") && strings.HasPrefix(e.Peer, "cdg.") {
			landed++
		}
	}
	if landed < len(p.Flows) {
		t.Errorf("%d first replies handed over from lhr to cdg, want one for each of %d flows", landed, len(p.Flows))
	}
	for _, s := range r.Run.Metrics.Servers {
		if s["drop.hop_limit"] != 0 {
			t.Errorf("%d packets at the hop limit", s["drop.hop_limit"])
		}
	}
}

// SU-8: replies to IPv6 addresses that are in the other datacenter are routed to
// their server: no server that they pass hands them over, or sees them at all.
func TestLiveSU8(t *testing.T) {
	p := worlds()[1].plan(t, "traffic: [{id: many, from: shop.3.till, to: web, tcp: 80, flows: 40, rate: 400}]")
	r := live(t, p, run.Options{})
	wantAll(t, r, record.OK)
	left := map[string]int{}
	for _, f := range r.Flows {
		left[f.EgressServer]++
	}
	if len(left) != 2 || left["cdg.1"] == 0 || left["cdg.2"] == 0 {
		t.Errorf("flows left by %v, want both servers of cdg", left)
	}
	for _, node := range []string{"lhr.1", "lhr.2"} {
		if s := r.Run.Metrics.Servers[node]; s["packets"] != 0 {
			t.Errorf("%s handled %d packets of flows from cdg, want none", node, s["packets"])
		}
	}
}

// tshark, which nobody here wrote, decodes the GRE of a capture, tunnels and
// hand-overs, without a malformed packet.
func TestLiveCaptureInTshark(t *testing.T) { each(t, captureInTshark) }

func captureInTshark(t *testing.T, w world) {
	tshark := need.Tool(t, "tshark")
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	p := w.plan(t, "traffic: [{id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, response: 64KiB}, {id: ping, from: shop.*.till, to: web, icmp: 7}, {id: many, from: shop.*.till, to: web, udp: 7, flows: 10}]")
	wantAll(t, live(t, p, run.Options{Capture: file}), record.OK)
	count := func(filter string) int {
		out, err := exec.Command(tshark, "-n", "-r", file, "-Y", filter).Output()
		if err != nil {
			t.Fatalf("tshark %q: %v", filter, err)
		}
		return strings.Count(string(out), "\n")
	}
	tunnels, handovers := count("gre && ip.dst == 198.18.0.1"), count("gre.key")
	t.Logf("tshark sees %d packets into tunnels, %d handed over", tunnels, handovers)
	if tunnels == 0 || handovers == 0 {
		t.Error("want both tunnels and hand-overs in the capture")
	}
	if bad := count("_ws.malformed || gre.flags.version != 0"); bad != 0 {
		t.Errorf("tshark calls %d packets malformed", bad)
	}
}
