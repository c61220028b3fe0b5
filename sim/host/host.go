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
	"time"

	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/sim/tcp"
	"github.com/homeward-lab/homeward/topologies/plan"
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
	// Start is when the first packet was sent, End when the result was known.
	Start, End vt.Instant
	// Egress is the client as the origin saw it.
	Egress netip.AddrPort
	// Strays are the hosts that got a reply which was not theirs, in the order in
	// which they did.
	Strays []string
	done   bool
}

// Env is what the hosts of a run share.
type Env struct {
	Engine *engine.Engine
	Pool   *packet.Pool
	// Wake is the kind of the events that World must give to Env.Handle.
	Wake engine.Kind
	// Flows are the plan's. A packet's mark is its flow's index, plus one.
	Flows []plan.Flow
	// Origin, if not nil, is told the first time that a flow reaches a host that
	// answers.
	Origin func(flow int, node string, peer netip.AddrPort)
	// Congestion is the algorithm of every connection.
	Congestion tcp.Algorithm
	// Ended, if not nil, is told of each outcome.
	Ended func(flow int)

	outcomes []Outcome
	stacks   map[string]*Stack
	tasks    []task
	left     int
}

// task is something with a timer: a flow's client, or a connection.
type task interface {
	// wake does what is due.
	wake(now vt.Instant)
}

// NewEnv returns the environment of a plan's flows.
func NewEnv(e *engine.Engine, pool *packet.Pool, wake engine.Kind, flows []plan.Flow) *Env {
	return &Env{
		Engine: e, Pool: pool, Wake: wake, Flows: flows,
		outcomes: make([]Outcome, len(flows)), stacks: make(map[string]*Stack), left: len(flows),
	}
}

// Outcomes are those of all flows, by index. Flows that did not end are lost.
func (v *Env) Outcomes() []Outcome { return v.outcomes }

// Left is how many flows have not ended.
func (v *Env) Left() int { return v.left }

// Handle takes an event of kind Wake.
func (v *Env) Handle(ev engine.Event) { v.tasks[ev.Arg].wake(ev.At) }

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
	// asks are the flows of this host, by what an answer to them looks like.
	asks map[socket]*datagrams
	// streams are the connections of this host.
	streams map[socket]*stream
	// serves are the ports that answer.
	serves map[service]bool
	// whole puts fragments together; nil until the first comes.
	whole *fragment.Reassembler
	// pmtu are path MTUs learned, by destination.
	pmtu  map[netip.Addr]int
	ids   uint16
	arena []byte
	meta  pkt.Meta
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

// Add gives a node a stack.
func (v *Env) Add(n *node.Node, entity engine.Entity) *Stack {
	s := &Stack{
		env: v, node: n, entity: entity,
		asks: make(map[socket]*datagrams), streams: make(map[socket]*stream), serves: make(map[service]bool), pmtu: make(map[netip.Addr]int),
	}
	n.SetStack(s)
	v.stacks[n.Name()] = s
	return s
}

// Serve opens the ports of a service.
func (s *Stack) Serve(svc *plan.Service) {
	proto := uint8(pkt.ProtoTCP)
	if svc.Kind == "echo" {
		proto = pkt.ProtoUDP
	}
	for _, p := range svc.Ports {
		s.serves[service{proto, p}] = true
	}
}

// end notes a flow's outcome, once.
func (v *Env) end(flow int, result record.Result, reason string) {
	o := &v.outcomes[flow]
	if o.done {
		return
	}
	o.done, o.Result, o.Reason, o.End = true, result, reason, v.Engine.Now()
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
		if s.serves[service{pkt.ProtoUDP, m.DstPort}] {
			s.echo(data, m, mark)
			return
		}
	case pkt.TCP:
		s.takeTCP(data, m, mark)
		return
	case pkt.EchoReply:
	default:
		return
	}
	to := socket{m.Proto, netip.AddrPortFrom(m.Dst, m.DstPort), netip.AddrPortFrom(m.Src, m.SrcPort)}
	if d := s.asks[to]; d != nil && int(mark) == d.flow+1 {
		d.answer(data, m)
		return
	}
	s.stray(mark)
}

// stray notes that this host got what another one asked for.
func (s *Stack) stray(mark uint32) {
	if mark == 0 {
		return
	}
	flow, name := int(mark-1), s.node.Name()
	if f := &s.env.Flows[flow]; name == f.Client || name == f.Server {
		return
	}
	o := &s.env.outcomes[flow]
	for _, old := range o.Strays {
		if old == name {
			return
		}
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

// mtu is what a packet to an address may have.
func (s *Stack) mtu(to netip.Addr) int {
	mtu := s.node.PathMTU(to)
	if p := s.pmtu[to]; p != 0 {
		return min(p, mtu)
	}
	return mtu
}
