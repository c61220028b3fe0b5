package host

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	kindArrive engine.Kind = iota
	kindWake
	kindBreak
)

// latency of the cable between the hosts.
const latency = 5 * time.Millisecond

// cable joins a client, a server and a bystander. pass decides what becomes of a
// packet; nil lets all pass.
type cable struct {
	engine *engine.Engine
	pool   packet.Pool
	env    *Env
	nodes  map[string]*node.Node
	mtu    int
	// pass names the node that the packet goes to: to, another, or "" for none.
	pass   func(n int, to string, data []byte, m *pkt.Meta) string
	flying []flight
	sent   int
	// seen are the packets in the order in which they were sent.
	seen []pkt.Meta
}

type flight struct {
	h  packet.Handle
	to string
}

// end of the cable, as a port toward a node.
type end struct {
	c  *cable
	to string
}

func (e end) MTU() int { return e.c.mtu }

func (e end) Send(h packet.Handle) {
	c := e.c
	var m pkt.Meta
	data := c.pool.Data(h)
	m.Parse(data)
	c.seen = append(c.seen, m)
	to := e.to
	if c.pass != nil {
		to = c.pass(c.sent, e.to, data, &m)
	}
	c.sent++
	if to == "" {
		c.pool.Free(h)
		return
	}
	c.flying = append(c.flying, flight{h, to})
	c.engine.At(c.engine.Now().Add(latency), 1, 1, kindArrive, uint32(len(c.flying)-1))
}

func (c *cable) Handle(ev engine.Event) {
	switch ev.Kind() {
	case kindArrive:
		f := c.flying[ev.Arg()]
		c.nodes[f.to].Input(f.h)
	case kindBreak:
		c.env.Break("client", "broken by a test")
	default:
		c.env.Handle(ev)
	}
}

var (
	client4 = netip.MustParseAddrPort("10.0.1.5:40000")
	server4 = netip.MustParseAddrPort("203.0.113.9:443")
	client6 = netip.MustParseAddrPort("[fd00::5]:40000")
	server6 = netip.MustParseAddrPort("[2001:db8::9]:443")
)

// join makes the hosts and starts the flows of the client.
func join(t *testing.T, flows []plan.Flow) *cable {
	t.Helper()
	c := &cable{engine: engine.New(engine.Options{}), nodes: map[string]*node.Node{}, mtu: 1500}
	for i := range flows {
		f := &flows[i]
		f.Client, f.Server, f.Traffic, f.N, f.Nonce = "client", "server", "t", i+1, uint64(i+1)<<32
	}
	c.env = NewEnv(c.engine, &c.pool, kindWake, flows)
	stacks := map[string]*Stack{}
	for i, x := range []struct {
		name, peer string
		addrs      []netip.AddrPort
	}{
		{"client", "server", []netip.AddrPort{client4, client6}},
		{"server", "client", []netip.AddrPort{server4, server6}},
		{"bystander", "server", []netip.AddrPort{client4, client6}}, // overlaps with the client
	} {
		n := node.New(x.name, &c.pool, 1, false)
		for _, a := range x.addrs {
			n.AddAddress(a.Addr())
		}
		n.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), end{c, x.peer})
		n.AddRoute(netip.MustParsePrefix("::/0"), end{c, x.peer})
		c.nodes[x.name] = n
		stacks[x.name] = c.env.Add(n, engine.Entity(10+i), x.name != "server")
	}
	stacks["server"].Serve(&plan.Service{Kind: "http", Ports: []uint16{443}})
	stacks["server"].Serve(&plan.Service{Kind: "echo", Ports: []uint16{443}})
	for i := range flows {
		if err := stacks["client"].Start(i, vt.Instant(flows[i].Start)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// run handles everything, and wants every packet accounted for.
func (c *cable) run(t *testing.T) []Outcome {
	t.Helper()
	if err := c.engine.Run(c, vt.Instant(10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n := c.pool.Live(); n != 0 {
		t.Errorf("%d packets are lost track of", n)
	}
	if n := c.env.Left(); n != 0 {
		t.Errorf("%d flows have not ended", n)
	}
	return c.env.Outcomes()
}

// flow is one of the kind, between these addresses.
func flow(proto plan.Proto, src, dst netip.AddrPort) plan.Flow {
	return plan.Flow{
		Proto: proto, Src: src, Dst: dst, Start: time.Second, Request: 100, Response: 5000,
		Packets: 3, Interval: 100 * time.Millisecond, Connect: 2 * time.Second, Timeout: 10 * time.Second, Close: "client",
	}
}

// short is a flow of datagrams that are answered with as many bytes.
func short(src netip.AddrPort) plan.Flow {
	f := flow(plan.UDP, src, server4)
	f.Response = f.Request
	return f
}

// Every protocol over both families: every byte is answered, and counted once.
func TestFlows(t *testing.T) {
	for _, c := range []struct {
		proto    plan.Proto
		src, dst netip.AddrPort
		up, down int64
		egress   bool
	}{
		{plan.TCP, client4, server4, 100, 5000, true},
		{plan.TCP, client6, server6, 100, 5000, true},
		{plan.UDP, client4, server4, 300, 15000, true},
		{plan.UDP, client6, server6, 300, 15000, true},
		{plan.ICMP, client4, server4, 300, 300, false},
		{plan.ICMP, client6, server6, 300, 300, false},
	} {
		t.Run(fmt.Sprintf("%s to %v", c.proto, c.dst.Addr()), func(t *testing.T) {
			f := flow(c.proto, c.src, c.dst)
			if c.proto == plan.ICMP {
				f.Response = f.Request
			}
			net := join(t, []plan.Flow{f})
			asked := 0
			net.env.Origin = func(flow int, node string, peer netip.AddrPort) {
				if asked++; flow != 0 || node != "server" || peer != c.src {
					t.Errorf("flow %d asked %s as %v, want flow 0, server, %v", flow, node, peer, c.src)
				}
			}
			o := net.run(t)[0]
			if !o.Ended() || o.Result != record.OK || o.Up != c.up || o.Down != c.down || o.RTT != 2*latency || !o.Own || o.Strays != nil {
				t.Errorf("got %+v, want ok, %d up, %d down, a round trip of %v", o, c.up, c.down, 2*latency)
			}
			if c.egress != (o.Egress == c.src) || c.egress != (asked == 1) {
				t.Errorf("seen as %v, told %d times", o.Egress, asked)
			}
			if o.Start != vt.Instant(time.Second) || o.End <= o.Start {
				t.Errorf("from %v to %v", o.Start, o.End)
			}
			for _, m := range net.seen {
				if m.Len > net.mtu || m.Version == 6 && m.Proto != pkt.ProtoTCP && m.Len > minMTU6 {
					t.Errorf("a packet of %d bytes", m.Len)
				}
			}
		})
	}
}

// astray has the bystander get what is sent to the client.
func astray(_ int, to string, _ []byte, _ *pkt.Meta) string {
	if to == "client" {
		return "bystander"
	}
	return to
}

func byDatagrams(f *plan.Flow) { f.Proto, f.Response = plan.UDP, 100 }

// failure is something that goes wrong with a flow, and what its client makes of it.
type failure struct {
	name   string
	flow   func(f *plan.Flow)
	pass   func(n int, to string, data []byte, m *pkt.Meta) string
	result record.Result
	reason string
	took   time.Duration
	own    bool
	strays []string
}

// What goes wrong has a name, and a time.
func TestFailures(t *testing.T) {
	for _, c := range []failure{
		{
			name: "nobody answers", pass: func(int, string, []byte, *pkt.Meta) string { return "" },
			result: record.Lost, reason: "timed out waiting for the connection", took: 2 * time.Second,
		},
		{
			name: "nobody listens", flow: func(f *plan.Flow) { f.Dst = netip.AddrPortFrom(f.Dst.Addr(), 81) },
			result: record.Refused, reason: "connection refused", took: 2 * latency,
		},
		{
			name: "no service of datagrams", flow: func(f *plan.Flow) { f.Proto, f.Dst = plan.UDP, netip.AddrPortFrom(f.Dst.Addr(), 81) },
			result: record.Refused, reason: "connection refused", took: 2 * latency,
		},
		{
			name: "the answer does not come", pass: func(_ int, to string, _ []byte, m *pkt.Meta) string {
				if to == "client" && m.PayloadLen > 0 {
					return ""
				}
				return to
			},
			result: record.Lost, reason: "timed out waiting for the answer", took: 10 * time.Second, own: true,
		},
		{
			name: "another gets the answer", pass: astray,
			result: record.Lost, reason: "timed out waiting for the connection", took: 2 * time.Second, strays: []string{"bystander"},
		},
		{
			name: "one datagram is not answered", flow: byDatagrams,
			pass: func(n int, to string, _ []byte, _ *pkt.Meta) string {
				if n == 2 {
					return ""
				}
				return to
			},
			result: record.Lost, reason: "1 of 3 packets were not answered", took: 2200 * time.Millisecond, own: true,
		},
		{
			name: "another gets the answers to datagrams", flow: byDatagrams,
			pass:   astray,
			result: record.Lost, reason: "3 of 3 packets were not answered", took: 2200 * time.Millisecond, strays: []string{"bystander"},
		},
		{
			name: "pings", flow: func(f *plan.Flow) { f.Proto = plan.ICMP },
			pass:   astray,
			result: record.Lost, reason: "3 of 3 packets were not answered", took: 2200 * time.Millisecond, strays: []string{"bystander"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := flow(plan.TCP, client4, server4)
			if c.flow != nil {
				c.flow(&f)
			}
			net := join(t, []plan.Flow{f})
			net.pass = c.pass
			o := net.run(t)[0]
			if o.Result != c.result || o.Reason != c.reason || o.End.Sub(o.Start) != c.took || o.Own != c.own || !reflect.DeepEqual(o.Strays, c.strays) {
				t.Errorf("%s (%s) after %v, own %v, strays %v; want %s (%s) after %v, own %v, strays %v",
					o.Result, o.Reason, o.End.Sub(o.Start), o.Own, o.Strays, c.result, c.reason, c.took, c.own, c.strays)
			}
		})
	}
}

// A request that reaches a host without the service is no stray answer.
func TestRequestsAreNoStrays(t *testing.T) {
	net := join(t, []plan.Flow{flow(plan.TCP, client4, server4), flow(plan.UDP, client4, server4)})
	net.nodes["bystander"].AddAddress(server4.Addr())
	net.pass = func(_ int, to string, _ []byte, _ *pkt.Meta) string {
		if to == "server" {
			return "bystander"
		}
		return to
	}
	for i, o := range net.run(t) {
		if o.Strays != nil || o.Result == record.OK {
			t.Errorf("flow %d: %s, strays %v; want none", i, o.Result, o.Strays)
		}
	}
}

// A host is asked one thing at a time by one pair of ports.
func TestSamePortsTwice(t *testing.T) {
	for _, proto := range []plan.Proto{plan.TCP, plan.UDP} {
		net := join(t, []plan.Flow{flow(proto, client4, server4)})
		net.env.Flows = append(net.env.Flows, net.env.Flows[0])
		net.env.outcomes = append(net.env.outcomes, Outcome{})
		net.env.clients = append(net.env.clients, nil)
		err := net.env.stacks["client"].Start(1, 0)
		if err == nil || !strings.Contains(err.Error(), "is another's already") {
			t.Errorf("%s: error %v, want a refusal", proto, err)
		}
	}
}

// Duplicates and copies count once.
func TestDuplicates(t *testing.T) {
	net := join(t, []plan.Flow{short(client4)})
	net.pass = func(_ int, to string, data []byte, _ *pkt.Meta) string {
		net.flying = append(net.flying, flight{net.pool.Make(data), to})
		h := net.flying[len(net.flying)-1].h
		net.pool.Mark(h, 1)
		net.engine.At(net.engine.Now().Add(latency), 1, 2, kindArrive, uint32(len(net.flying)-1))
		return to
	}
	if o := net.run(t)[0]; o.Result != record.OK || o.Up != 300 || o.Down != 300 {
		t.Errorf("%s, %d up, %d down; want ok, 300 and 300", o.Result, o.Up, o.Down)
	}
}

// An answer that is another flow's is not taken, even if its addresses fit.
func TestForeignAnswers(t *testing.T) {
	net := join(t, []plan.Flow{short(client4), short(netip.MustParseAddrPort("10.0.1.5:50000"))})
	net.pass = func(_ int, to string, data []byte, m *pkt.Meta) string {
		if to == "client" && m.DstPort == 50000 {
			m.SetDst(data, client4.Addr(), client4.Port(), pkt.Offload{})
		}
		return to
	}
	o := net.run(t)
	if o[0].Result != record.OK || o[1].Result != record.Lost {
		t.Errorf("%s and %s, want the first ok and the second lost", o[0].Result, o[1].Result)
	}
}

// A connection that is held keeps its client busy, and ends in order; one that is
// broken meanwhile is reset, whatever it had got.
func TestHold(t *testing.T) {
	for _, broken := range []bool{false, true} {
		f := flow(plan.TCP, client4, server4)
		f.Hold = 3 * time.Second
		net := join(t, []plan.Flow{f})
		var over vt.Instant
		net.env.Ended = func(int) { over = net.engine.Now() }
		want, result := vt.Instant(4*time.Second), record.OK
		if broken {
			net.engine.At(vt.Instant(2*time.Second), 0, 9, kindBreak, 0)
			want, result = vt.Instant(2*time.Second), record.Reset
		}
		o := net.run(t)[0]
		if o.Result != result || over < want || over > want.Add(100*time.Millisecond) {
			t.Errorf("broken %v: %s, over at %v; want %s, %v", broken, o.Result, over, result, want)
		}
	}
}

// A client that breaks off in the middle says so to the other end.
func TestBreakResets(t *testing.T) {
	f := flow(plan.TCP, client4, server4)
	f.Response = 1 << 20
	net := join(t, []plan.Flow{f})
	net.engine.At(vt.Instant(time.Second+3*latency), 0, 9, kindBreak, 0)
	o := net.run(t)[0]
	resets := 0
	for _, m := range net.seen {
		if m.Flags&pkt.RST != 0 && m.Dst == server4.Addr() {
			resets++
		}
	}
	if o.Result != record.Reset || o.Reason != "broken by a test" || o.End != vt.Instant(time.Second+3*latency) || resets == 0 {
		t.Errorf("%+v, %d resets", o, resets)
	}
	if net.env.stacks["server"].streams[socket{pkt.ProtoTCP, server4, client4}] != nil {
		t.Error("the server still holds the connection")
	}
}

// Path MTU discovery: what a router says shortens segments, and nothing is lost
// for good (RFC 1191).
func TestPathMTU(t *testing.T) {
	f := flow(plan.TCP, client4, server4)
	f.Response = 100_000
	net := join(t, []plan.Flow{f})
	const mtu = 1000
	told := 0
	net.pass = func(_ int, to string, data []byte, m *pkt.Meta) string {
		if m.Len <= mtu {
			return to
		}
		if to == "client" {
			told++
			b := m.AppendTooBig(nil, data, mtu, 0)
			net.flying = append(net.flying, flight{net.pool.Make(b), "server"})
			net.engine.At(net.engine.Now().Add(latency), 1, 2, kindArrive, uint32(len(net.flying)-1))
		}
		return ""
	}
	o := net.run(t)[0]
	if o.Result != record.OK || o.Down != 100_000 || told == 0 || told > 20 {
		t.Errorf("%s, %d bytes, told %d times; want ok, all bytes, and a lesson learned", o.Result, o.Down, told)
	}
}

// What one connection is told of a path all of its host's to that address know, and
// nothing of theirs is sent again for it (RFC 1191 section 6.2).
func TestPathMTUOfOthers(t *testing.T) {
	f, g := flow(plan.TCP, client4, server4), flow(plan.TCP, netip.AddrPortFrom(client4.Addr(), client4.Port()+1), server4)
	g.N = 2
	f.Response, g.Response = 100_000, 1_000_000
	net := join(t, []plan.Flow{f, g})
	const mtu = 1000
	told := vt.Never
	large, larger := 0, 0
	net.pass = func(_ int, to string, data []byte, m *pkt.Meta) string {
		switch {
		case m.Len <= mtu || to != "client":
		case m.DstPort == f.Src.Port():
			told = min(told, net.engine.Now().Add(latency))
			b := m.AppendTooBig(nil, data, mtu, 0)
			net.flying = append(net.flying, flight{net.pool.Make(b), "server"})
			net.engine.At(net.engine.Now().Add(latency), 1, 2, kindArrive, uint32(len(net.flying)-1))
			return ""
		case net.engine.Now() > told.Add(2*latency):
			larger++
		default:
			large++
		}
		return to
	}
	out := net.run(t)
	if out[0].Result != record.OK || out[1].Result != record.OK || large == 0 || larger != 0 {
		t.Errorf("%s and %s; the other sent %d large segments before and %d after", out[0].Result, out[1].Result, large, larger)
	}
}

// The longest time without payload is the one in which the cable was cut, and the
// rest of a flow's time where its client gave up.
func TestStall(t *testing.T) {
	for _, proto := range []plan.Proto{plan.TCP, plan.UDP} {
		for _, healed := range []bool{true, false} {
			f := flow(proto, client4, server4)
			f.Response, f.Timeout = 1<<20, 9*time.Second
			if proto == plan.UDP {
				f.Response, f.Packets, f.Interval, f.Connect = 100, 400, latency, time.Second
			}
			net := join(t, []plan.Flow{f})
			from, end := vt.Instant(time.Second+5*latency), vt.Instant(2500*time.Millisecond)
			net.pass = func(_ int, to string, _ []byte, _ *pkt.Meta) string {
				if now := net.engine.Now(); now > from && (now < end || !healed) {
					return ""
				}
				return to
			}
			o := net.run(t)[0]
			want := end.Sub(from)
			if !healed {
				want = o.End.Sub(from)
			}
			most := want + 2*latency
			if proto == plan.TCP && healed {
				most += want + 500*time.Millisecond // a timeout doubles: it may miss the end by its own length
			}
			if o.Stall < want-2*latency || o.Stall > most {
				t.Errorf("%s, healed %v: %v without payload, want %v; %s (%s)", proto, healed, o.Stall, want, o.Result, o.Reason)
			}
		}
	}
}
