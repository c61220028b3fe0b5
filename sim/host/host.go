// Package host is the hosts of a simulated network: what asks and what answers,
// with real headers and payloads that are lengths.
//
// A Stack is one machine's: it speaks ICMP echo, UDP and TCP, puts fragments
// together and learns path MTUs. Flows are a plan's; each ends with an Outcome.
// The package does not know how packets travel (sim/node and sim/link do), nor
// what is checked. Its law: a flow has exactly one outcome, and it is ok only if
// every byte was answered to the host that asked.
package host

import (
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/dns"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/sim/tcp"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Outcome is how a flow went, as its client knows it.
type Outcome struct {
	Result record.Result
	// Reason is a phrase for people; empty when ok.
	Reason string
	// Up and Down are L4 payload bytes delivered.
	Up, Down int64
	// RTT is connection set-up, or the first answered echo; 0 if neither was.
	RTT time.Duration
	// Stall is the longest time in which no payload was delivered: from the start
	// of payload, of datagrams their own, to its end, or until the client gave up.
	Stall time.Duration
	// Start is when the first packet was sent, End when the result was known.
	Start, End vt.Instant
	// Egress is the client as the origin saw it, of a flow that is ok; an echo of
	// ICMP says nothing of it.
	Egress netip.AddrPort
	// Own says that the client's wire saw an answer, Strays which wires of other
	// hosts saw one, in order; at StrayAt the first of them did.
	Own     bool
	Strays  []string
	StrayAt vt.Instant

	asked netip.AddrPort
	// moved is when payload was delivered last; vt.Never before its start.
	moved vt.Instant
	// forbidden: the origin refuses to answer it.
	forbidden bool
	done      bool
	over      bool
}

// move ends one interval without delivered payload and begins the next.
func (o *Outcome) move(now vt.Instant) {
	if o.moved < now {
		o.Stall = max(o.Stall, now.Sub(o.moved))
	}
	o.moved = now
}

// Ended reports whether the flow has an outcome.
func (o *Outcome) Ended() bool { return o.done }

// Env is what the hosts of a run share.
type Env struct {
	Engine *engine.Engine
	Pool   *packet.Pool
	// Wake is the kind of the events that World must give to Env.Handle.
	Wake engine.Kind
	// Flows are the plan's, of names those that they turned out to be. A packet's
	// mark is its flow's index, plus one.
	Flows []plan.Flow
	// Origin, if not nil, is told when a host has all of a flow's request, of UDP
	// and ICMP the first.
	Origin func(flow int, node string, peer netip.AddrPort)
	// Congestion is the algorithm of every connection.
	Congestion tcp.Algorithm
	// Window is tcp.Config's, of every connection.
	Window int
	// Ended, if not nil, is told when a flow's client has nothing more to do: after
	// the outcome, and after the connection was held.
	Ended func(flow int)

	outcomes []Outcome
	clients  []client // by flow; nil before Start
	stacks   map[string]*Stack
	tasks    []task
	left     int
}

// client is what asks for a flow.
type client interface {
	// broken ends it, unless it ends by itself.
	broken(now vt.Instant, reason string)
}

// task is something with a timer: a flow's client, or a connection.
type task interface {
	// wake does what is due.
	wake(now vt.Instant)
}

// NewEnv returns the environment of a plan's flows.
func NewEnv(e *engine.Engine, pool *packet.Pool, wake engine.Kind, flows []plan.Flow) *Env {
	if slices.ContainsFunc(flows, func(f plan.Flow) bool { return f.Query != nil }) {
		flows = slices.Clone(flows) // the plan stays as it is
	}
	return &Env{
		Engine: e, Pool: pool, Wake: wake, Flows: flows,
		outcomes: make([]Outcome, len(flows)), clients: make([]client, len(flows)), stacks: make(map[string]*Stack), left: len(flows),
	}
}

// Outcomes are those of all flows, by index. Flows that did not end are lost.
func (v *Env) Outcomes() []Outcome { return v.outcomes }

// Left is how many flows' clients have something to do.
func (v *Env) Left() int { return v.left }

// Break ends the connections that a host has open as a client, because its own
// way to the network began anew (SEMANTICS 3.2).
func (v *Env) Break(node, reason string) {
	now := v.Engine.Now()
	for i := range v.Flows {
		o := &v.outcomes[i]
		if v.Flows[i].Client == node && v.clients[i] != nil && o.Start <= now && !o.over {
			v.clients[i].broken(now, reason)
		}
	}
}

// Handle takes an event of kind Wake.
func (v *Env) Handle(ev engine.Event) { v.tasks[ev.Arg()].wake(ev.At) }

// timer gives a task a timer of the stack's.
func (v *Env) timer(s *Stack, t task) engine.Timer {
	v.tasks = append(v.tasks, t)
	return v.Engine.NewTimer(classHost, s.entity, v.Wake, uint32(len(v.tasks)-1))
}

// classHost puts hosts behind wires and servers at one instant.
const classHost engine.Class = 3

// Stack is one host. Env.Add makes it.
type Stack struct {
	env    *Env
	node   *node.Node
	entity engine.Entity
	// seen: answers on this host's wire are looked at.
	seen bool
	// ECN is what its TCP does about congestion notification.
	ECN tcp.ECN
	// asks are the flows of this host, by what an answer to them looks like.
	asks map[socket]*datagrams
	// streams are the connections of this host.
	streams map[socket]*stream
	// serves are the ports that answer.
	serves map[service]*plan.Service
	// lookups are questions of this host for a name's address, names who answers
	// such; nil where there are none.
	lookups map[socket]*lookup
	names   *dns.Server
	// whole puts fragments together; nil until the first comes.
	whole *fragment.Reassembler
	// pmtu are path MTUs learned, by destination; learned is how often they changed.
	pmtu    map[netip.Addr]int
	learned int
	ids     uint16
	arena   []byte
	meta    pkt.Meta
}

// socket is the two ends of a flow as an answer names them. The port of an echo
// is its id, at the remote end 0.
type socket struct {
	proto         uint8
	local, remote netip.AddrPort
}

type service struct {
	proto uint8
	port  uint16
}

// Add gives a node a stack. seen says whether answers that come to it are noted
// in outcomes, as on the wire of a host that asks.
func (v *Env) Add(n *node.Node, entity engine.Entity, seen bool) *Stack {
	s := &Stack{
		env: v, node: n, entity: entity, seen: seen,
		asks: make(map[socket]*datagrams), streams: make(map[socket]*stream), serves: make(map[service]*plan.Service), pmtu: make(map[netip.Addr]int),
	}
	n.SetStack(s)
	v.stacks[n.Name()] = s
	return s
}

// Serve opens the ports of a service.
func (s *Stack) Serve(svc *plan.Service) {
	proto := uint8(pkt.ProtoTCP)
	switch svc.Kind {
	case spec.DNS:
		s.names = dns.NewServer(svc.DNS)
		return
	case "echo":
		proto = pkt.ProtoUDP
	}
	for _, p := range svc.Ports {
		s.serves[service{proto, p}] = svc
	}
}

// end notes a flow's outcome, once.
func (v *Env) end(flow int, result record.Result, reason string) {
	o := &v.outcomes[flow]
	if o.done {
		return
	}
	o.done, o.Result, o.Reason, o.End = true, result, reason, v.Engine.Now()
	if result != record.OK && o.moved != vt.Never {
		o.move(o.End) // what was waited for at the end did not come
	}
	if result == record.OK && v.Flows[flow].Proto != plan.ICMP {
		o.Egress = o.asked
	}
}

// over notes that a flow's client has nothing more to do, once.
func (v *Env) over(flow int) {
	o := &v.outcomes[flow]
	if o.over {
		return
	}
	o.over = true
	v.left--
	if v.Ended != nil {
		v.Ended(flow)
	}
}

// Receive implements node.Stack.
func (s *Stack) Receive(h packet.Handle, m *pkt.Meta) {
	data, mark := s.env.Pool.Data(h), s.env.Pool.Flow(h)
	if m.Kind == pkt.Fragment {
		s.join(data, mark)
	} else {
		s.take(data, m, mark)
	}
	s.env.Pool.Free(h)
}

// join puts fragments together.
func (s *Stack) join(data []byte, mark uint32) {
	if s.whole == nil {
		s.whole = fragment.New(fragment.Limits{})
	}
	now := s.env.Engine.Now()
	s.whole.Expire(now)
	key, ok := fragment.KeyOf(0, 0, 0, data)
	if !ok {
		return
	}
	whole, result := s.whole.Add(now, key, data)
	if result != fragment.Complete {
		return
	}
	b := append([]byte(nil), whole...)
	var m pkt.Meta
	m.Parse(b)
	s.take(b, &m, mark)
}

// take gives a packet to who it is for.
func (s *Stack) take(data []byte, m *pkt.Meta, mark uint32) {
	switch m.Kind {
	case pkt.ICMPError:
		s.complaint(data, m)
		return
	case pkt.EchoRequest:
		s.pong(data, m, mark)
		return
	case pkt.UDP:
		if (s.names != nil || s.lookups != nil) && s.takeName(data, m) {
			return
		}
		if svc := s.serves[service{pkt.ProtoUDP, m.DstPort}]; svc != nil {
			if svc.Answers(m.Src) {
				s.echo(data, m, mark)
			}
			return
		}
	case pkt.TCP:
		s.takeTCP(data, m, mark)
		return
	case pkt.EchoReply:
	default:
		return
	}
	if mark != 0 && (m.Kind == pkt.EchoReply || m.SrcPort == s.env.Flows[mark-1].Dst.Port()) {
		s.sees(mark)
	}
	to := socket{m.Proto, netip.AddrPortFrom(m.Dst, m.DstPort), netip.AddrPortFrom(m.Src, m.SrcPort)}
	d := s.asks[to]
	switch {
	case d != nil && int(mark) == d.flow+1:
		d.answer(data, m)
	case d == nil && m.Kind == pkt.UDP && m.Blameable(): // as every host's kernel does (RFC 1122 section 4.1.3.1)
		s.node.OutputWhole(m.AppendPortUnreachable(nil, data), packet.Size, mark)
	}
}

// sees notes that an answer to a flow, of TCP the SYN's, came to this host's wire:
// to the one that asked, or to another.
func (s *Stack) sees(mark uint32) {
	if mark == 0 || !s.seen {
		return
	}
	flow, name := int(mark-1), s.node.Name()
	o := &s.env.outcomes[flow]
	if name == s.env.Flows[flow].Client {
		o.Own = true
		return
	}
	for _, old := range o.Strays {
		if old == name {
			return
		}
	}
	if o.Strays == nil {
		o.StrayAt = s.env.Engine.Now()
	}
	o.Strays = append(o.Strays, name)
}

// complaint learns a path MTU (RFC 1191, RFC 8201), and tells the flow that the
// error is about.
func (s *Stack) complaint(data []byte, m *pkt.Meta) {
	var q pkt.Meta
	if !m.Quoted(data, &q) {
		return
	}
	if mtu, ok := m.TooBig(data); ok {
		if old := s.pmtu[q.Dst]; old == 0 || mtu < old {
			s.pmtu[q.Dst] = mtu
			s.learned++
		}
		if x := s.streams[socket{q.Proto, netip.AddrPortFrom(q.Src, q.SrcPort), netip.AddrPortFrom(q.Dst, q.DstPort)}]; x != nil && x.conn != nil {
			x.conn.Shrink(s.env.Engine.Now(), mtu-headers(q.Dst))
			x.work(s.env.Engine.Now())
		}
		return
	}
	to := socket{q.Proto, netip.AddrPortFrom(q.Src, q.SrcPort), netip.AddrPortFrom(q.Dst, q.DstPort)}
	if d := s.asks[to]; d != nil {
		d.refused(m)
	}
}

// Narrowed says that an interface of the host takes less than it did: connections through
// it send smaller segments from now on, and do not know that what is under way is lost.
func (s *Stack) Narrowed() { s.learned++ }

// piece is what a datagram of a program may have in one packet. In IPv6, which
// nobody cuts on the way, that is what every link passes (RFC 9715), as in the
// lab's hosts.
func (s *Stack) piece(to netip.Addr) int {
	if to.Is6() {
		return min(s.mtu(to), minMTU6)
	}
	return s.mtu(to)
}

// minMTU6 is what every link of IPv6 passes (RFC 8200 section 5).
const minMTU6 = 1280

// mtu is what a packet to an address may have.
func (s *Stack) mtu(to netip.Addr) int {
	mtu := s.node.PathMTU(to)
	if p := s.pmtu[to]; p != 0 {
		return min(p, mtu)
	}
	return mtu
}
