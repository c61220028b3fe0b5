package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// The smallest payloads of the lab's hosts, whose marks need them (emu/host):
// the same bytes travel in both worlds.
const (
	minRequest = 24
	minAnswer  = 56
	markLen    = 12
)

// datagrams is the client of a flow of datagrams: UDP to an echo service, or
// pings. It sends a request each interval, and waits for the answer to each.
type datagrams struct {
	s          *Stack
	flow       int
	f          *plan.Flow
	key        socket
	timer      engine.Timer
	size, want int
	start      vt.Instant
	sent       []vt.Instant
	done       []bool
	got        int
}

// Start begins a flow of this host at an instant.
func (s *Stack) Start(flow int, at vt.Instant) error {
	if s.env.Flows[flow].Query != nil {
		s.ask(flow, at)
		return nil
	}
	return s.begin(flow, at)
}

// begin sends a flow to where it is known to go.
func (s *Stack) begin(flow int, at vt.Instant) error {
	f := &s.env.Flows[flow]
	proto := uint8(pkt.ProtoUDP)
	switch {
	case f.Proto == plan.TCP:
		return s.startTCP(flow, at)
	case f.Proto == plan.ICMP && f.Dst.Addr().Is6():
		proto = pkt.ProtoICMPv6
	case f.Proto == plan.ICMP:
		proto = pkt.ProtoICMP
	}
	d := &datagrams{s: s, flow: flow, f: f, size: max(int(f.Request), minRequest), want: max(int(f.Response), minAnswer), start: at}
	d.key = socket{proto, f.Src, f.Dst}
	if f.Proto == plan.ICMP {
		d.key.remote, d.want = netip.AddrPortFrom(f.Dst.Addr(), 0), d.size
	}
	if s.asks[d.key] != nil {
		return fmt.Errorf("flow %s#%d: %v to %v is another's already", f.Traffic, f.N, f.Src, f.Dst)
	}
	s.asks[d.key], s.env.clients[flow] = d, d
	o := &s.env.outcomes[flow]
	o.Start, o.moved = at, at
	d.timer = s.env.timer(s, d)
	s.env.Engine.Arm(d.timer, at)
	return nil
}

func (d *datagrams) packets() int { return max(d.f.Packets, 1) }

// wake implements task: it sends what is due, or gives up.
func (d *datagrams) wake(now vt.Instant) {
	n := len(d.sent)
	switch {
	case d.s.env.outcomes[d.flow].done:
		return
	case n < d.packets() && now >= d.due(n) && now < d.end():
		d.send(now)
	case now >= d.limit():
		d.finish(record.Lost, fmt.Sprintf("%d of %d packets were not answered", d.packets()-d.got, d.packets()))
		return
	}
	d.s.env.Engine.Arm(d.timer, d.next())
}

// finish ends the flow, and what its host has of it.
func (d *datagrams) finish(result record.Result, reason string) {
	d.s.env.Engine.Stop(d.timer)
	d.s.env.end(d.flow, result, reason)
	d.s.env.over(d.flow)
	if d.s.asks[d.key] == d {
		delete(d.s.asks, d.key)
	}
}

// broken implements client. Datagrams are no connection: they go on.
func (d *datagrams) broken(vt.Instant, string) {}

// due is when the n-th request is.
func (d *datagrams) due(n int) vt.Instant {
	return d.start + vt.Instant(n)*vt.Instant(d.f.Interval)
}

func (d *datagrams) end() vt.Instant { return d.start.Add(d.f.Timeout) }

// limit is when the flow is given up.
func (d *datagrams) limit() vt.Instant {
	if n := len(d.sent); n == d.packets() {
		return min(d.sent[n-1].Add(d.f.Connect), d.end())
	}
	return d.end()
}

func (d *datagrams) next() vt.Instant {
	if n := len(d.sent); n < d.packets() {
		return min(d.due(n), d.end())
	}
	return d.limit()
}

func (d *datagrams) send(now vt.Instant) {
	seq := len(d.sent)
	d.sent, d.done = append(d.sent, now), append(d.done, false)
	var mark [markLen]byte
	binary.BigEndian.PutUint64(mark[:], d.f.Nonce)
	binary.BigEndian.PutUint32(mark[8:], uint32(seq))
	var b []byte
	if d.f.Proto == plan.ICMP {
		b = d.s.ping(d.f.Src.Addr(), d.f.Dst.Addr(), false, d.f.Src.Port(), uint16(seq+1), mark[:], d.size)
	} else {
		b = d.s.udp(d.f.Src, d.f.Dst, mark[:], d.size)
	}
	d.s.node.OutputWhole(b, d.s.piece(d.f.Dst.Addr()), uint32(d.flow+1))
}

// answer takes an answer to this flow.
func (d *datagrams) answer(data []byte, m *pkt.Meta) {
	o := &d.s.env.outcomes[d.flow]
	payload := data[m.Payload:m.Len]
	if o.done || len(payload) != d.want || binary.BigEndian.Uint64(payload) != d.f.Nonce {
		return
	}
	seq := int(binary.BigEndian.Uint32(payload[8:]))
	if seq >= len(d.sent) || d.done[seq] {
		return
	}
	d.done[seq] = true
	now := d.s.env.Engine.Now()
	o.move(now)
	if d.got++; o.RTT == 0 {
		o.RTT = max(now.Sub(d.sent[seq]), 1)
	}
	o.Up += int64(d.size)
	o.Down += int64(d.want)
	if d.got == d.packets() {
		d.finish(record.OK, "")
	}
}

// refused takes an ICMP error about this flow, other than one about size.
func (d *datagrams) refused(m *pkt.Meta) {
	if d.f.Proto == plan.UDP && m.PortUnreachable() {
		d.finish(record.Refused, "connection refused")
	}
}

// echo answers a request to the echo service: the mark comes back, and as many
// bytes as the flow asks for.
func (s *Stack) echo(data []byte, m *pkt.Meta, mark uint32) {
	from, to := netip.AddrPortFrom(m.Dst, m.DstPort), netip.AddrPortFrom(m.Src, m.SrcPort)
	payload, size := data[m.Payload:m.Len], m.PayloadLen
	if mark != 0 {
		f := &s.env.Flows[mark-1]
		size = max(int(f.Response), minAnswer)
		s.env.asked(int(mark-1), s.node.Name(), to)
	}
	head := append([]byte(nil), payload[:min(len(payload), markLen)]...)
	s.node.OutputWhole(s.udp(from, to, head, size), s.piece(m.Src), mark)
}

// pong answers a ping.
func (s *Stack) pong(data []byte, m *pkt.Meta, mark uint32) {
	payload := append([]byte(nil), data[m.Payload:m.Len]...)
	b := s.ping(m.Dst, m.Src, true, m.SrcPort, m.EchoSeq(data), payload, len(payload))
	s.node.OutputWhole(b, s.mtu(m.Src), mark)
}

// asked notes that a flow's request reached a host that answers.
func (v *Env) asked(flow int, name string, peer netip.AddrPort) {
	o := &v.outcomes[flow]
	if o.asked.IsValid() {
		return
	}
	o.asked = peer
	if v.Origin != nil {
		v.Origin(flow, name, peer)
	}
}
