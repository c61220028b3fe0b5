// Package recordtest makes records for the tests of reports: five variants of
// three branches that share 10.0.1.0/24, as a lab would have written them.
//
// It is for tests alone and runs no network: what it says about replies is
// worked out from the rules of each variant. Its law: the same call gives the
// same records.
package recordtest

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// Names of what the fixture holds.
const (
	Scenario = "overlapping_branches"
	Title    = "Three branches share 10.0.1.0/24 and every reply goes home"
	Engine   = "emu-hub"
)

// Variants in the order of the scenario file.
func Variants() []string {
	return []string{"base", "routes_only", "no_routes", "one_arr", "tuple_key"}
}

// Results are all five runs with their summaries, in memory.
func Results() *record.Results {
	r := &record.Results{Dir: "out/fixture"}
	for _, v := range Variants() {
		run := Run(v)
		r.Runs = append(r.Runs, run)
		r.Summaries = append(r.Summaries, summary(run))
	}
	return r
}

// Write writes Results below a temporary directory as an engine would, and
// returns that directory.
func Write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	out, err := record.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, run := range Results().Runs {
		rd, err := out.Run(run.Run.Scenario, run.Run.Variant, run.Run.Engine)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range run.Flows {
			rd.Flow(f)
		}
		for _, s := range run.Sessions {
			rd.Session(s)
		}
		for _, e := range run.Events {
			rd.Event(e)
		}
		rd.Run(run.Run)
		if err := rd.Close(); err != nil {
			t.Fatal(err)
		}
		if err := out.Summaries(summary(run)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func summary(run *record.Records) record.Summary {
	n := map[record.Result]int{}
	for _, f := range run.Flows {
		if f.Traffic == "same" {
			n[f.Result]++
		}
	}
	home := record.CheckResult{
		ID: "home", Verdict: record.Pass,
		Detail: fmt.Sprintf("same.misdelivered = %d of 3, same.ok = %d of 3", n[record.Misdelivered], n[record.OK]),
	}
	if n[record.OK] != 3 {
		home.Verdict, home.Expected = record.Fail, true
	}
	return record.Summary{
		Scenario: Scenario, Variant: run.Run.Variant, Engine: Engine, Verdict: record.Pass, Seed: 7,
		Fingerprint: run.Run.Fingerprint, WallMs: run.Run.WallMs,
		Checks: []record.CheckResult{home, {ID: "owner", Verdict: record.Pass, Detail: "egress.port_outside_slice = 0"}},
	}
}

// Run is one variant's records.
func Run(variant string) *record.Records {
	b := &builder{variant: variant, r: &record.Records{Run: manifest(variant)}}
	for site := 1; site <= 3; site++ {
		b.flow("same", site, site, 40000, "tcp", 443)
	}
	for n := 1; n <= 30; n++ {
		b.flow("web", n, (n-1)%3+1, 41000+n, "tcp", 443)
	}
	for site := 1; site <= 3; site++ {
		b.flow("ping", site, site, 77, "icmp", 0)
	}
	return b.r
}

type builder struct {
	variant string
	r       *record.Records
}

// pick is a number below n that depends on the text alone.
func pick(n int, format string, args ...any) int {
	h := fnv.New64a()
	fmt.Fprintf(h, format, args...)
	x := h.Sum64()
	x ^= x >> 29 // FNV's low bits follow the last characters closely
	return int(x * 0x9E3779B97F4A7C15 >> 33 % uint64(n))
}

// returnSite is the site whose tunnel the reply leaves by, 0 for none, and why.
func (b *builder) returnSite(traffic string, site, port int) (int, string) {
	equal := func() (int, string) { return 1 + pick(3, "%d %s %d %d", site, traffic, port, site*7), "equal routes" }
	switch b.variant {
	case "routes_only":
		return equal()
	case "no_routes":
		return 0, "null_routed"
	case "one_arr":
		if site != 1 {
			return equal()
		}
	case "tuple_key":
		if traffic != "web" { // equal tuples share one flow, whose on-ramp is the first one's
			return 1, "ARR"
		}
	}
	return site, "ARR"
}

func (b *builder) flow(traffic string, n, site, port int, proto string, dport int) {
	dc := []string{"lhr", "lhr", "cdg"}[site-1]
	home := fmt.Sprintf("%s.%d", dc, 1+pick(2, "home %s %d %d", traffic, site, port))
	ingress := fmt.Sprintf("%s.%d", dc, 1+pick(2, "ingress %d %d", site, port))
	slice := int(home[len(home)-1] - '0')
	egress := netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:%d", map[string]int{"lhr": 0, "cdg": 4}[dc]+pick(4, "address %d %d", site, port), 2048*slice+pick(2048, "port %d %d", site, port)))
	start := int64(2e6) * int64(len(b.r.Flows)%31)
	rtt := int64(900e3) + int64(pick(400e3, "rtt %s %s %d", b.variant, traffic, n)) + map[string]int64{"lhr": 0, "cdg": 1200e3}[dc]
	f := record.Flow{
		Traffic: traffic, N: n, Client: fmt.Sprintf("shop.%d.till", site), Server: "web", Proto: proto,
		Src: fmt.Sprintf("10.0.1.5:%d", port), Dst: fmt.Sprintf("203.0.113.9:%d", dport),
		OnRamp: fmt.Sprintf("shop.%d.wan", site), IngressDC: dc, HomeServer: home, EgressDC: dc, EgressServer: home,
		EgressIP: egress.Addr().String(), EgressPort: int(egress.Port()), Result: record.OK,
		BytesUp: 1024, BytesDown: 256 << 10, RTTNs: rtt, StartNs: start, EndNs: start + 9*rtt,
		SessionID: fmt.Sprintf("%032x", uint64(site)<<40|uint64(port)<<8|uint64(len(traffic))),
	}
	back, why := b.returnSite(traffic, site, port)
	switch {
	case back == 0:
		f.Result, f.Reason = record.Lost, why
	case back != site:
		f.Result, f.Reason = record.Misdelivered, fmt.Sprintf("the reply was seen at shop.%d.till", back)
	}
	if back > 0 {
		f.ReturnOnRamp, f.DeliveredTo = fmt.Sprintf("shop.%d.wan", back), fmt.Sprintf("shop.%d.till", back)
	}
	if f.Result != record.OK {
		f.BytesUp, f.BytesDown, f.RTTNs, f.EndNs = 0, 0, 0, start+3e9
	}
	b.r.Flows = append(b.r.Flows, f)
	b.session(f, why)
	b.events(f, ingress, why, egress)
	b.count(f, ingress)
}

func (b *builder) session(f record.Flow, why string) {
	src, dst := netip.MustParseAddrPort(f.Src), netip.MustParseAddrPort(f.Dst)
	closed := "CLIENT_CLOSED"
	if f.Result != record.OK {
		closed = "CLIENT_IDLE_TIMEOUT"
	}
	s := record.Session{
		AccountID: "main", BytesSent: f.BytesUp, BytesReceived: f.BytesDown, ClientTCPHandshakeMs: f.RTTNs / 1e6,
		ConnectionCloseReason: closed, DestinationTunnelID: "00000000-0000-0000-0000-000000000000",
		EgressColoName: "LHR", EgressIP: f.EgressIP, EgressPort: f.EgressPort, EgressRuleID: "00000000-0000-0000-0000-000000000000",
		IngressColoName: "LHR", Offramp: "INTERNET", OnrampType: "MAGIC", OriginIP: dst.Addr().String(), OriginPort: int(dst.Port()),
		Protocol: map[string]string{"tcp": "TCP", "icmp": "ICMP"}[f.Proto], SessionID: f.SessionID,
		SourceIP: src.Addr().String(), SourcePort: int(src.Port()), SourceInternalIP: src.Addr().String(),
		OnRamp: f.OnRamp, HomeServer: f.HomeServer, StartNs: f.StartNs + f.RTTNs/2, EndNs: f.EndNs,
	}
	if why == "ARR" {
		s.ReturnOnRamp = f.ReturnOnRamp
	}
	started := b.r.Run.Started.UnixNano()
	s.SessionStartTime, s.SessionEndTime = started+s.StartNs, started+s.EndNs
	b.r.Sessions = append(b.r.Sessions, s)
}

func (b *builder) events(f record.Flow, ingress, why string, egress netip.AddrPort) {
	inner, outer := f.Proto+" "+f.Src+" > "+f.Dst, f.Proto+" "+f.Dst+" > "+egress.String()
	if f.Proto == "icmp" {
		outer = f.Proto + " 203.0.113.9:0 > " + egress.String()
	}
	at := f.StartNs
	add := func(after int64, e record.Event) {
		at += after
		e.AtNs = at
		b.r.Events = append(b.r.Events, e)
	}
	if ingress != f.HomeServer {
		add(210e3, record.Event{Node: ingress, Kind: "handover", Flow: inner, OnRamp: f.OnRamp, Peer: f.HomeServer, Reason: "bucket"})
	}
	add(95e3, record.Event{Node: f.HomeServer, Kind: "flow_start", Flow: inner, OnRamp: f.OnRamp, SessionID: f.SessionID, Reason: "bucket"})
	add(180e3, record.Event{Node: "web", Kind: "origin", Flow: inner, Text: "saw " + egress.String(), SessionID: f.SessionID})
	landed := f.EgressDC + ".1"
	if landed != f.HomeServer {
		add(170e3, record.Event{Node: landed, Kind: "handover", Flow: outer, Peer: f.HomeServer, Reason: "slice"})
	}
	switch f.Result {
	case record.Lost:
		add(80e3, record.Event{Node: f.HomeServer, Kind: "drop", Flow: outer, Reason: f.Reason, Count: 1, SessionID: f.SessionID})
	default:
		add(80e3, record.Event{Node: f.HomeServer, Kind: "returned", Flow: inner, OnRamp: f.ReturnOnRamp, Reason: why, SessionID: f.SessionID})
	}
	if f.Result == record.Misdelivered {
		add(210e3, record.Event{Node: f.Client, Kind: "misdelivered", Flow: inner, OnRamp: f.OnRamp, Peer: f.DeliveredTo, SessionID: f.SessionID})
	}
	at = f.EndNs
	add(0, record.Event{Node: f.HomeServer, Kind: "flow_end", Flow: inner, OnRamp: f.OnRamp, SessionID: f.SessionID, Reason: b.r.Sessions[len(b.r.Sessions)-1].ConnectionCloseReason})
}

func (b *builder) count(f record.Flow, ingress string) {
	c := func(server, name string, n int64) { b.r.Run.Metrics.Servers[server][name] += n }
	packets := int64(12)
	if f.Result != record.OK {
		packets = 4
	}
	if ingress != f.HomeServer {
		c(ingress, "packets", packets)
		c(ingress, "handed_over", packets)
	}
	c(f.HomeServer, "packets", 2*packets)
	c(f.HomeServer, "forwarded", packets)
	c(f.HomeServer, "flows_started", 1)
	c(f.HomeServer, "flows_ended", 1)
	if f.Result == record.Lost {
		c(f.HomeServer, "drop."+f.Reason, packets)
		return
	}
	c(f.HomeServer, "returned", packets)
	if f.Result == record.Misdelivered {
		c(f.HomeServer, "drop.no_flow", 1)
	}
}

func manifest(variant string) record.Run {
	r := record.Run{
		Scenario: Scenario, Variant: variant, Title: Title, Engine: Engine, Seed: 7, Fingerprint: fmt.Sprintf("%016x", pick(1<<30, "%s", variant)),
		Started: time.Date(2026, 11, 21, 22, 30, 0, 0, time.UTC), WallMs: 1400 + int64(pick(900, "wall %s", variant)),
		Versions: map[string]string{"homeward": "0.1.0", "go": "go1.26.8", "kernel": "6.18.5"},
		Features: map[string]string{"io": "af_packet+vnet_hdr", "tunnel": "tcx", "wire": "veth"},
		Metrics: record.Metrics{UpMs: 212, DownMs: 31, MaxRSSKiB: 18944, Servers: map[string]map[string]int64{
			"lhr.1": {}, "lhr.2": {}, "cdg.1": {}, "cdg.2": {},
		}},
	}
	node := func(id, kind, site, dc, prefix string, addresses ...string) {
		r.Topology.Nodes = append(r.Topology.Nodes, record.TopologyNode{ID: id, Kind: kind, Site: site, Datacenter: dc, Prefix: prefix, Addresses: addresses})
	}
	link := func(a, b, class string) {
		r.Topology.Links = append(r.Topology.Links, record.TopologyLink{ID: a + "-" + b, A: a, B: b, Class: class})
	}
	for i, dc := range []string{"cdg", "lhr"} {
		egress := []string{"198.51.100.4/30", "198.51.100.0/30"}[i]
		node(dc+".edge", "edge", "", dc, "", egress)
		node("transit."+dc, "transit", "", dc, "")
		link("transit."+dc, dc+".edge", "edge")
		for s := 1; s <= 2; s++ {
			id := fmt.Sprintf("%s.%d", dc, s)
			node(id, "server", "", dc, "", fmt.Sprintf("slice %d: ports %d–%d", s, 2048*s, 2048*s+2047))
			link(dc+".edge", id, "server")
		}
	}
	link("cdg.edge", "lhr.edge", "backbone")
	link("transit.cdg", "transit.lhr", "transit")
	for site := 1; site <= 3; site++ {
		id, dc := fmt.Sprintf("shop.%d", site), []string{"lhr", "lhr", "cdg"}[site-1]
		node(id+".router", "branch", id, dc, "10.0.1.0/24", "10.0.1.0/24")
		node(id+".till", "host", id, dc, "", "10.0.1.5")
		link(id+".till", id+".router", "lan")
		link(id+".router", "transit."+dc, "access")
	}
	node("web", "origin", "", "lhr", "", "203.0.113.9")
	link("web", "transit.lhr", "internet")
	return r
}
