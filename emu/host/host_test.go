package host_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	clientAddr = netip.MustParseAddr("10.0.1.5")
	originAddr = netip.MustParseAddr("203.0.113.9")
	key        = host.Key{7}
	ipv4       = family{"IPv4", clientAddr, originAddr}
	ipv6       = family{"IPv6", netip.MustParseAddr("fd00:1::5"), netip.MustParseAddr("2001:db8::9")}
)

// family is the addresses of a world.
type family struct {
	name           string
	client, origin netip.Addr
}

// flow is flow between the family's addresses.
func (a family) flow(proto plan.Proto, n int, src, dst uint16) plan.Flow {
	f := flow(proto, n, src, dst)
	f.Src, f.Dst = netip.AddrPortFrom(a.client, src), netip.AddrPortFrom(a.origin, dst)
	return f
}

// eachFamily runs a test over IPv4 and IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, a family)) {
	need.Root(t)
	for _, a := range []family{ipv4, ipv6} {
		t.Run(a.name, func(t *testing.T) { f(t, a) })
	}
}

// world is one client, one router, one origin; many may exist at once, with
// the same addresses.
type world struct {
	router         *netns.NS
	client, origin hosttest.Host
}

func newWorld(t *testing.T) world { return ipv4.world(t) }

func (a family) world(t *testing.T) world {
	t.Helper()
	w := world{router: hosttest.Namespace(t, true)}
	w.client = hosttest.Attach(t, w.router, "client", a.client, true)
	w.origin = hosttest.Attach(t, w.router, "origin", a.origin, true)
	return w
}

func (w world) serve(t *testing.T, kind string, port uint16, observe func(host.Seen)) {
	t.Helper()
	svc := plan.Service{Node: "web", Kind: kind, Address: w.origin.Address, Ports: []uint16{port}}
	c, err := host.Serve(t.Context(), w.origin.NS, svc, host.Options{Key: key, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}

func flow(proto plan.Proto, n int, src, dst uint16) plan.Flow {
	return plan.Flow{
		Traffic: "same", N: n, Client: "a", Server: "web", Proto: proto,
		Src: netip.AddrPortFrom(clientAddr, src), Dst: netip.AddrPortFrom(originAddr, dst),
		Nonce: 1000 + uint64(n), Request: 1024, Response: 4096,
		Packets: 1, Interval: 10 * time.Millisecond,
		Connect: 3 * time.Second, Timeout: 20 * time.Second, Close: "client",
	}
}

func run(t *testing.T, w map[string]world, flows ...plan.Flow) []host.Outcome {
	t.Helper()
	return host.Run(t.Context(), flows, host.Config{
		Namespace: func(node string) *netns.NS {
			if w, ok := w[node]; ok {
				return w.client.NS
			}
			return nil
		},
		Key: key, Base: time.Now().Add(100 * time.Millisecond),
	})
}

func wantOK(t *testing.T, f plan.Flow, o host.Outcome) {
	t.Helper()
	if o.Result != record.OK || o.Reason != "" {
		t.Errorf("%s %d: %s %q, want ok", f.Proto, f.N, o.Result, o.Reason)
	}
	if o.RTT <= 0 || o.RTT > 20*time.Second {
		t.Errorf("%s %d: round trip %v", f.Proto, f.N, o.RTT)
	}
	if f.Proto != plan.ICMP && o.Egress != f.Src {
		t.Errorf("%s %d: egress %v, want %v (nothing translates here)", f.Proto, f.N, o.Egress, f.Src)
	}
}

// Identical tuples from two namespaces at one instant, in TCP, UDP and ICMP:
// each client gets its own answer.
func TestIdenticalTuplesAtOnce(t *testing.T) { eachFamily(t, identicalTuples) }

func identicalTuples(t *testing.T, a family) {
	w := map[string]world{"a": a.world(t), "b": a.world(t)}
	var flows []plan.Flow
	for _, node := range []string{"a", "b"} {
		w[node].serve(t, "http", 443, nil)
		w[node].serve(t, "echo", 7, nil)
		for i, proto := range []plan.Proto{plan.TCP, plan.UDP, plan.ICMP} {
			f := a.flow(proto, len(flows)+1, 40000, []uint16{443, 7, 0}[i])
			f.Client, f.Packets = node, 3
			flows = append(flows, f)
		}
	}
	out := run(t, w, flows...)
	for i, f := range flows {
		wantOK(t, f, out[i])
		up, down := int64(3*1024), int64(3*4096)
		switch f.Proto {
		case plan.ICMP:
			down = up
		case plan.TCP: // the heads of HTTP are payload of TCP
			if o := out[i]; o.Up <= 1024 || o.Up > 1400 || o.Down <= 4096 || o.Down > 4700 {
				t.Errorf("tcp %d: %d bytes up, %d down", f.N, o.Up, o.Down)
			}
			continue
		}
		if out[i].Up != up || out[i].Down != down {
			t.Errorf("%s %d: %d bytes up, %d down, want %d, %d", f.Proto, f.N, out[i].Up, out[i].Down, up, down)
		}
	}
}

// Small datagrams are as large as their marks need.
// Datagrams of many packets are cut by the sender and come back whole.
func TestLongDatagrams(t *testing.T) {
	eachFamily(t, func(t *testing.T, a family) {
		w := a.world(t)
		w.serve(t, "echo", 7, nil)
		flows := []plan.Flow{a.flow(plan.UDP, 1, 40000, 7), a.flow(plan.ICMP, 2, 7, 0)}
		for i := range flows {
			flows[i].Request, flows[i].Response, flows[i].Packets = 9000, 9000, 3
		}
		for i, o := range run(t, map[string]world{"a": w}, flows...) {
			wantOK(t, flows[i], o)
		}
	})
}

func TestSmallestDatagrams(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "echo", 7, nil)
	f := flow(plan.UDP, 1, 40000, 7)
	f.Request, f.Response = 0, 0
	o := run(t, map[string]world{"a": w}, f)[0]
	wantOK(t, f, o)
	if o.Up != host.MinRequest || o.Down != host.MinAnswer {
		t.Errorf("%d bytes up, %d down, want %d, %d", o.Up, o.Down, host.MinRequest, host.MinAnswer)
	}
}

// A large response is verified to the last byte with memory that does not
// depend on its size, and either end may close first.
func TestLargeResponseInConstantMemory(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	var seen atomic.Int64
	w.serve(t, "http", 443, func(s host.Seen) {
		if s.Intact {
			seen.Add(s.Request)
		}
	})
	up, down := flow(plan.TCP, 1, 40000, 443), flow(plan.TCP, 2, 40001, 443)
	up.Request = 64 << 20
	up.Timeout, down.Timeout = 5*time.Minute, 5*time.Minute // the race detector's pace
	down.Response, down.Close = 200e6, "server"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out := run(t, map[string]world{"a": w}, up, down)
	runtime.ReadMemStats(&after)
	wantOK(t, up, out[0])
	wantOK(t, down, out[1])
	if got := out[1].Down; got <= 200e6 || got > 200e6+700 {
		t.Errorf("%d bytes down", got)
	}
	if got, want := seen.Load(), int64(64<<20+1024); got != want {
		t.Errorf("the origin saw %d intact bytes, want %d", got, want)
	}
	// Everything ever allocated, not what is left of it.
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("allocated %d bytes for 264 MB of payload, want at most 8 MiB", got)
	}
	t.Logf("200 MB down in %v", out[1].End.Sub(out[1].Start))
}

// Many flows, from ports in a row, are all run, also with fewer slots than flows.
func TestManyFlows(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	w.serve(t, "echo", 7, nil)
	flows := make([]plan.Flow, 1500)
	for i := range flows {
		proto, port := plan.TCP, uint16(443)
		if i%3 == 0 {
			proto, port = plan.UDP, 7
		}
		flows[i] = flow(proto, i+1, 20000+uint16(i), port)
		flows[i].Start = time.Duration(i%10) * 20 * time.Millisecond
	}
	var done atomic.Int64
	out := host.Run(t.Context(), flows, host.Config{
		Namespace: func(string) *netns.NS { return w.client.NS },
		Key:       key, Base: time.Now(), MaxLive: 200,
		Done: func(int, host.Outcome) { done.Add(1) },
	})
	for i, f := range flows {
		wantOK(t, f, out[i])
	}
	if done.Load() != int64(len(flows)) {
		t.Errorf("Done was called %d times, want %d", done.Load(), len(flows))
	}
}

// A flow starts at its planned instant, never before.
func TestStartIsPlanned(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "echo", 7, nil)
	f := flow(plan.UDP, 1, 40000, 7)
	f.Start = 400 * time.Millisecond
	base := time.Now()
	out := host.Run(t.Context(), []plan.Flow{f}, host.Config{
		Namespace: func(string) *netns.NS { return w.client.NS }, Key: key, Base: base,
	})
	wantOK(t, f, out[0])
	if got := out[0].Start.Sub(base); got < f.Start {
		t.Errorf("started after %v, want %v or later", got, f.Start)
	}
	if want := out[0].Start.Sub(base) - f.Start; out[0].Late != want {
		t.Errorf("late by %v, want %v", out[0].Late, want)
	}
}

// When the context ends, flows are over at once.
func TestInterrupted(t *testing.T) {
	need.Root(t)
	w := newWorld(t) // no service at 443 answers: see mute below
	mute(t, w, 443)
	live, later := flow(plan.TCP, 1, 40000, 443), flow(plan.TCP, 2, 40001, 443)
	later.Start = time.Hour
	live.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	out := host.Run(ctx, []plan.Flow{live, later}, host.Config{
		Namespace: func(string) *netns.NS { return w.client.NS }, Key: key, Base: time.Now(),
	})
	for i, o := range out {
		if o.Result != record.Failed || !strings.HasPrefix(o.Reason, "interrupted") {
			t.Errorf("flow %d: %s %q, want interrupted", i, o.Result, o.Reason)
		}
	}
}

// Other people's programs work against an origin.
func TestCurl(t *testing.T) {
	need.Root(t)
	curl := need.Tool(t, "curl")
	w := newWorld(t)
	w.serve(t, "http", 80, nil)
	var text string
	hosttest.Do(t, w.client.NS, func() error {
		// The child is forked from this thread, and so inside.
		out, err := exec.Command(curl, "-sS", "--max-time", "10", "-w", "%{http_code}", fmt.Sprintf("http://%s/", originAddr)).CombinedOutput()
		text = string(out)
		return err
	})
	for _, want := range []string{"Hello from web at 203.0.113.9", "come from 10.0.1.5:", "200"} {
		if !strings.Contains(text, want) {
			t.Errorf("curl got %q, want it to contain %q", text, want)
		}
	}
}

func TestServeRefusesWhatItIsNot(t *testing.T) {
	need.Root(t)
	ns := hosttest.Namespace(t, false)
	for _, svc := range []plan.Service{
		{Node: "web", Kind: "gopher", Address: netip.MustParseAddr("127.0.0.1"), Ports: []uint16{70}},
		{Node: "web", Kind: "http", Address: originAddr, Ports: []uint16{80}}, // not an address here
	} {
		c, err := host.Serve(t.Context(), ns, svc, host.Options{})
		if err == nil {
			c.Close()
			t.Errorf("Serve %s at %s: no error", svc.Kind, svc.Address)
		}
	}
}
