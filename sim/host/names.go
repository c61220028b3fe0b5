package host

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/dns"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// lookup is a flow's client before it connects: it asks where the target is, once,
// and begins the flow when it is told.
type lookup struct {
	s     *Stack
	flow  int
	key   socket
	timer engine.Timer
	start vt.Instant
	sent  bool
}

// ask begins a flow of this host with its question.
func (s *Stack) ask(flow int, at vt.Instant) {
	q := s.env.Flows[flow].Query
	x := &lookup{s: s, flow: flow, key: socket{pkt.ProtoUDP, q.Src, q.Resolver}, start: at}
	if s.lookups == nil {
		s.lookups = make(map[socket]*lookup)
	}
	s.lookups[x.key], s.env.clients[flow] = x, x
	o := &s.env.outcomes[flow]
	o.Start, o.moved = at, vt.Never
	x.timer = s.env.timer(s, x)
	s.env.Engine.Arm(x.timer, at)
}

// wake implements task: it asks, or gives up.
func (x *lookup) wake(now vt.Instant) {
	f := &x.s.env.Flows[x.flow]
	if x.sent {
		x.fail(record.Lost, "timed out waiting for the resolver")
		return
	}
	x.sent = true
	x.s.say(dns.Datagram{From: x.key.local, To: x.key.remote, Payload: dns.Ask(uint16(f.Nonce), f.Query.Name, f.Src.Addr()).Append(nil)})
	x.s.env.Engine.Arm(x.timer, now.Add(f.Connect))
}

// broken implements client. A question is no connection: it goes on.
func (x *lookup) broken(vt.Instant, string) {}

// answer takes what the resolver said.
func (x *lookup) answer(payload []byte) {
	f := &x.s.env.Flows[x.flow]
	a, ok := dns.ParseAnswer(payload)
	if !ok || a.ID != uint16(f.Nonce) || a.Name != f.Query.Name {
		return
	}
	if !a.Address.IsValid() {
		x.fail(record.Failed, plan.NoAddress(f.Query.Name))
		return
	}
	g, err := f.Resolved(a.Address)
	if err != nil {
		x.fail(record.Failed, err.Error())
		return
	}
	*f = g
	x.forget()
	now := x.s.env.Engine.Now()
	if err := x.s.begin(x.flow, now); err != nil {
		x.fail(record.Failed, err.Error())
		return
	}
	x.s.env.outcomes[x.flow].Start = x.start
}

func (x *lookup) fail(result record.Result, reason string) {
	x.forget()
	x.s.env.end(x.flow, result, reason)
	x.s.env.over(x.flow)
}

func (x *lookup) forget() {
	x.s.env.Engine.Stop(x.timer)
	if x.s.lookups[x.key] == x {
		delete(x.s.lookups, x.key)
	}
}

// takeName gives a datagram to the name server or resolver that it is for, or to
// who asked; false if it is neither's.
func (s *Stack) takeName(data []byte, m *pkt.Meta) bool {
	from, to := netip.AddrPortFrom(m.Src, m.SrcPort), netip.AddrPortFrom(m.Dst, m.DstPort)
	payload := data[m.Payload:m.Len]
	if x := s.lookups[socket{pkt.ProtoUDP, to, from}]; x != nil {
		x.answer(payload)
		return true
	}
	if s.names == nil || to.Port() != dns.Port {
		return false
	}
	if d, ok := s.names.Handle(payload, from, to); ok {
		s.say(d)
	}
	return true
}

// say sends a datagram of names. It is of no flow: what is looked for on wires
// are answers to the flow's own packets.
func (s *Stack) say(d dns.Datagram) {
	s.node.OutputWhole(s.udp(d.From, d.To, d.Payload, len(d.Payload)), s.piece(d.To.Addr()), 0)
}
