package probe_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var key = host.Key{3}

// family is the addresses of a lab.
type family struct {
	name string
	// shared is both clients' address, nobody that of none.
	shared, origin, nobody netip.Addr
	// around holds the shared one, apart none of them.
	around, apart netip.Prefix
}

// eachFamily runs a test over IPv4 and IPv6.
func eachFamily(t *testing.T, f func(t *testing.T, a family)) {
	need.Root(t)
	at, in := netip.MustParseAddr, netip.MustParsePrefix
	for _, a := range []family{
		{"IPv4", at("10.0.1.5"), at("203.0.113.9"), at("203.0.113.77"), in("10.0.1.4/31"), in("192.0.2.0/24")},
		{"IPv6", at("fd00:1::5"), at("2001:db8::9"), at("2001:db8::77"), in("fd00:1::4/127"), in("2001:db8:1::/48")},
	} {
		t.Run(a.name, func(t *testing.T) { f(t, a) })
	}
}

// lab is two client hosts with one address behind one router, whose only route
// to that address leads to a: the wrong-way world of SEMANTICS 1.6.
type lab struct {
	family
	hosts  map[string]hosttest.Host // a, b, web
	router *netns.NS
	taps   map[string]*probe.Tap
}

func newLab(t *testing.T, a family) lab {
	t.Helper()
	l := lab{family: a, router: hosttest.Namespace(t, true), hosts: map[string]hosttest.Host{}, taps: map[string]*probe.Tap{}}
	l.hosts["a"] = hosttest.Attach(t, l.router, "a", a.shared, true)
	l.hosts["b"] = hosttest.Attach(t, l.router, "b", a.shared, false)
	l.hosts["web"] = hosttest.Attach(t, l.router, "web", a.origin, true)
	for _, svc := range []plan.Service{
		{Node: "web", Kind: "http", Address: a.origin, Ports: []uint16{443}},
		{Node: "web", Kind: "echo", Address: a.origin, Ports: []uint16{7}},
	} {
		c, err := host.Serve(t.Context(), l.hosts["web"].NS, svc, host.Options{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	for _, node := range []string{"a", "b"} {
		tap, err := probe.Start(node, l.hosts[node].NS, "eth0", 3)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tap.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		l.taps[node] = tap
	}
	return l
}

func (l lab) run(t *testing.T, flows []plan.Flow) map[string]record.Flow {
	t.Helper()
	began := time.Now().Add(100 * time.Millisecond)
	out := host.Run(t.Context(), flows, host.Config{
		Namespace: func(node string) *netns.NS { return l.hosts[node].NS }, Key: key, Base: began,
	})
	reports := map[string]probe.Report{}
	for node, tap := range l.taps {
		reports[node] = tap.Report()
		if reports[node].Dropped != 0 {
			t.Errorf("the tap of %s dropped %d", node, reports[node].Dropped)
		}
	}
	where := probe.Judge(flows, reports, began)
	records := map[string]record.Flow{}
	for i := range flows {
		f := &flows[i]
		records[f.Client+" "+string(f.Proto)] = journal.Combine(f, probe.Outcome(began, out[i], where[probe.Key(f)]))
	}
	return records
}

func (a family) flow(n int, client string, proto plan.Proto, from, to uint16) plan.Flow {
	return plan.Flow{
		Traffic: "same", N: n, Client: client, Server: "web", Proto: proto,
		Src: netip.AddrPortFrom(a.shared, from), Dst: netip.AddrPortFrom(a.origin, to),
		Nonce: 7700 + uint64(n), Request: 512, Response: 512, Packets: 2, Interval: 5 * time.Millisecond,
		Connect: 5 * time.Second, Timeout: 10 * time.Second, Close: "client",
	}
}

// What b asked for arrives at a, and is seen there; a's own arrives at a.
func TestMisdeliveryIsSeen(t *testing.T) { eachFamily(t, misdeliveryIsSeen) }

func misdeliveryIsSeen(t *testing.T, a family) {
	l := newLab(t, a)
	got := l.run(t, []plan.Flow{
		a.flow(1, "a", plan.TCP, 40000, 443), a.flow(2, "b", plan.TCP, 40001, 443),
		a.flow(3, "a", plan.UDP, 40000, 7), a.flow(4, "b", plan.UDP, 40001, 7),
		a.flow(5, "a", plan.ICMP, 7, 0), a.flow(6, "b", plan.ICMP, 8, 0),
	})
	for k, r := range got {
		want, delivered := record.OK, "a"
		if strings.HasPrefix(k, "b") {
			want = record.Misdelivered
		}
		if r.Result != want || r.DeliveredTo != delivered {
			t.Errorf("%s: %s, delivered to %q (%s), want %s, %q", k, r.Result, r.DeliveredTo, r.Reason, want, delivered)
		}
	}
}

// Nobody sees an answer that nobody gave: lost, not misdelivered.
func TestLostIsNotMisdelivered(t *testing.T) { eachFamily(t, lostIsNotMisdelivered) }

func lostIsNotMisdelivered(t *testing.T, a family) {
	l := newLab(t, a)
	hosttest.Blackhole(t, l.router, a.nobody)
	f := a.flow(1, "b", plan.TCP, 40000, 443)
	f.Dst = netip.AddrPortFrom(a.nobody, 443)
	if r := l.run(t, []plan.Flow{f})["b tcp"]; r.Result != record.Lost || r.DeliveredTo != "" {
		t.Errorf("%s, delivered to %q, want lost and nobody", r.Result, r.DeliveredTo)
	}
}

// Only what Judge needs reaches a tap, once each, and it can be read while
// running, after Close, and closed twice.
func TestTapKeepsLittle(t *testing.T) { eachFamily(t, tapKeepsLittle) }

func tapKeepsLittle(t *testing.T, a family) {
	l := newLab(t, a)
	f := a.flow(1, "a", plan.TCP, 40000, 443)
	f.Response, f.Timeout = 20<<20, 5*time.Minute
	ping := a.flow(2, "a", plan.ICMP, 7, 0)
	ping.Packets = 10
	stray := func() { // other people's datagrams
		hosttest.Do(t, l.hosts["a"].NS, func() error {
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.origin, 7)))
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("hello, is there anybody?")); err != nil {
				return err
			}
			b := make([]byte, 64)
			n, err := c.Read(b)
			if string(b[:n]) != "hello, is there anybody?" {
				t.Errorf("the echo service answered %q", b[:n])
			}
			return err
		})
	}
	stray()
	got := l.run(t, []plan.Flow{f, ping})
	if r := got["a tcp"]; r.Result != record.OK || r.DeliveredTo != "a" {
		t.Errorf("%+v", r)
	}
	tap := l.taps["a"]
	obs := tap.Report().Observations
	if len(obs) != 4 { // SYN, SYN-ACK, echo, echo reply
		t.Errorf("%d observations, want 4: %+v", len(obs), obs)
	}
	for _, o := range obs {
		if want := map[plan.Proto]int{plan.TCP: 1, plan.ICMP: 10}[o.Proto]; o.Count != want {
			t.Errorf("%+v: count %d, want %d", o, o.Count, want)
		}
	}
	for range 2 {
		if err := tap.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if after := tap.Report().Observations; len(after) != len(obs) {
		t.Errorf("%d observations after Close, want %d", len(after), len(obs))
	}
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	need.Root(t)
	_, err := probe.Start("a", hosttest.Namespace(t, false), "eth7", 3)
	if err == nil || !strings.Contains(err.Error(), "eth7") {
		t.Errorf("Start on a missing interface: %v", err)
	}
}
