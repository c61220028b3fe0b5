package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/packet"
	"github.com/homeward-lab/homeward/sim/tcp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// stream is one end of a flow's connection, with what the lab's hosts do on it:
// the client asks, the server answers what it was asked for, one of them closes
// first.
type stream struct {
	s     *Stack
	conn  *tcp.Conn // nil before a client's start
	key   socket
	flow  int // -1: of no flow
	f     *plan.Flow
	timer engine.Timer
	// client asks, from start on.
	client bool
	start  vt.Instant
	acked  int64 // of the request, as the client knows
	// told: the server has written its answer, or the client has all of it.
	told     bool
	toldAt   vt.Instant
	finished bool // the client has closed its end
	closed   bool
	// learned is how much of what its stack learned of paths it knows.
	learned int
}

// startTCP begins a flow of this host at an instant.
func (s *Stack) startTCP(flow int, at vt.Instant) error {
	f := &s.env.Flows[flow]
	x := &stream{s: s, key: socket{pkt.ProtoTCP, f.Src, f.Dst}, flow: flow, f: f, client: true, start: at}
	if old := s.streams[x.key]; old != nil {
		return fmt.Errorf("flow %s#%d: %v to %v is another's already", f.Traffic, f.N, f.Src, f.Dst)
	}
	s.streams[x.key], s.env.clients[flow] = x, x
	o := &s.env.outcomes[flow]
	o.Start, o.moved = at, vt.Never
	x.timer = s.env.timer(s, x)
	s.env.Engine.Arm(x.timer, at)
	return nil
}

// config is the stack's for a connection to an address that begins at a sequence number.
func (s *Stack) config(to netip.Addr, initial uint32) tcp.Config {
	return tcp.Config{MSS: s.mtu(to) - headers(to), ISS: initial, Congestion: s.env.Congestion, Buffer: plan.ReceiveBuffer, Window: s.env.Window, ECN: s.ECN}
}

// headers are those of IP and TCP without options.
func headers(a netip.Addr) int {
	if a.Is6() {
		return pkt.IPv6Header + pkt.TCPHeader
	}
	return pkt.IPv4Header + pkt.TCPHeader
}

// wake implements task.
func (x *stream) wake(now vt.Instant) {
	if x.closed {
		return
	}
	if x.conn == nil {
		x.conn = tcp.Open(now, x.s.config(x.f.Dst.Addr(), x.f.InitialSequence()))
		x.conn.Write(int64(x.f.Request))
	}
	if x.conn.NextWake() <= now {
		x.conn.Timer(now)
	}
	x.work(now)
}

// work does what the programs at this end do now, and sends what TCP lets.
func (x *stream) work(now vt.Instant) {
	if x.client {
		x.ask(now)
	} else {
		x.reply(now)
	}
	if x.learned != x.s.learned {
		x.learned = x.s.learned
		x.conn.Limit(x.s.mtu(x.key.remote.Addr()) - headers(x.key.remote.Addr()))
	}
	for !x.closed {
		seg, ok := x.conn.Next(now)
		if !ok {
			break
		}
		x.send(&seg)
	}
	if x.closed || x.conn.State() == tcp.Closed {
		x.forget()
		return
	}
	x.s.env.Engine.Arm(x.timer, min(x.conn.NextWake(), x.deadline()))
}

// deadline is when a client gives up, or has held its connection long enough.
func (x *stream) deadline() vt.Instant {
	switch {
	case !x.client || x.finished:
		return vt.Never
	case x.told && x.f.Close == "client":
		return x.toldAt.Add(x.f.Hold)
	case x.conn.State() == tcp.SynSent:
		return min(x.start.Add(x.f.Connect), x.start.Add(x.f.Timeout))
	}
	return x.start.Add(x.f.Timeout)
}

// ask is the client's program.
func (x *stream) ask(now vt.Instant) {
	o := &x.s.env.outcomes[x.flow]
	if o.over {
		return
	}
	if o.RTT == 0 && x.conn.State() != tcp.SynSent && !x.conn.WasReset() {
		o.RTT, o.moved = max(now.Sub(x.start), 1), now
	}
	if x.conn.Acked() > x.acked || x.conn.Received() > o.Down {
		x.acked = x.conn.Acked()
		o.move(now)
	}
	o.Up, o.Down = max(o.Up, x.acked), x.conn.Received()
	switch {
	case x.told:
	case o.forbidden && x.conn.Received() >= forbiddenSize:
		x.fail(record.Refused, "the origin answered 403 Forbidden")
	case x.conn.Received() >= int64(x.f.Response):
		x.told, x.toldAt = true, now
		x.s.env.end(x.flow, record.OK, "")
	case x.conn.WasReset() && o.RTT == 0:
		x.fail(record.Refused, "connection refused")
	case x.conn.WasReset():
		x.fail(record.Reset, "connection reset while waiting for the answer")
	case x.conn.PeerFinished():
		x.fail(record.Failed, "the origin closed before the answer")
	case now >= x.deadline() && x.conn.State() == tcp.SynSent:
		x.fail(record.Lost, "timed out waiting for the connection")
	case now >= x.deadline():
		x.fail(record.Lost, "timed out waiting for the answer")
	}
	if x.told && !x.finished && (now >= x.deadline() || x.conn.WasReset() || x.f.Close != "client" && x.conn.PeerFinished()) {
		x.conn.Finish()
		x.finished = true
		x.s.env.over(x.flow)
	}
}

// fail ends the flow, and its connection with a reset.
func (x *stream) fail(result record.Result, reason string) {
	x.s.env.end(x.flow, result, reason)
	x.s.env.over(x.flow)
	x.conn.Abort()
}

// broken implements client.
func (x *stream) broken(now vt.Instant, reason string) {
	if x.conn == nil {
		return
	}
	o := &x.s.env.outcomes[x.flow]
	if o.done { // it was being held: it ends in good order, and yet too early
		o.Result, o.Reason, o.End = record.Reset, reason, now
		x.conn.Finish()
		x.finished = true
		x.s.env.over(x.flow)
	} else {
		x.fail(record.Reset, reason)
	}
	x.work(now)
}

// forbiddenSize is what an origin says to a client that it does not answer.
const forbiddenSize = 64

// reply is the server's program.
func (x *stream) reply(now vt.Instant) {
	if x.f == nil {
		return
	}
	if !x.told && x.conn.Received() >= int64(x.f.Request) && x.conn.State() != tcp.SynReceived {
		x.told = true
		x.s.env.asked(x.flow, x.s.node.Name(), x.key.remote)
		size := int64(x.f.Response)
		if !x.s.serves[service{pkt.ProtoTCP, x.key.local.Port()}].Answers(x.key.remote.Addr()) {
			x.s.env.outcomes[x.flow].forbidden, size = true, forbiddenSize
		}
		x.conn.Write(size)
	}
	if x.told && (x.f.Close == "server" || x.conn.PeerFinished()) {
		x.conn.Finish()
	}
	if x.flow >= 0 {
		x.s.env.outcomes[x.flow].Up = max(x.s.env.outcomes[x.flow].Up, x.conn.Received())
	}
}

func (x *stream) forget() {
	x.closed = true
	x.s.env.Engine.Stop(x.timer)
	if x.s.streams[x.key] == x {
		delete(x.s.streams, x.key)
	}
}

// takeTCP gives a segment to its connection.
func (s *Stack) takeTCP(data []byte, m *pkt.Meta, mark uint32) {
	now := s.env.Engine.Now()
	key := socket{pkt.ProtoTCP, netip.AddrPortFrom(m.Dst, m.DstPort), netip.AddrPortFrom(m.Src, m.SrcPort)}
	seg := parseSegment(data, m)
	x := s.streams[key]
	opens := m.Opens()
	if m.Flags&(pkt.SYN|pkt.ACK) == pkt.SYN|pkt.ACK {
		s.sees(mark)
	}
	if x != nil && !x.client && opens && x.conn.State() == tcp.TimeWait {
		x.forget()
		x = nil
	}
	switch {
	case x != nil && x.conn != nil:
		x.conn.Receive(now, &seg)
	case opens && s.serves[service{pkt.ProtoTCP, m.DstPort}] != nil:
		x = s.accept(now, key, &seg, mark)
	default:
		if m.Flags&pkt.RST == 0 {
			s.node.OutputWhole(m.AppendReset(nil), packet.Size, mark)
		}
		return
	}
	x.work(now)
}

// accept is a new connection to a service.
func (s *Stack) accept(now vt.Instant, key socket, syn *tcp.Segment, mark uint32) *stream {
	x := &stream{s: s, key: key, flow: int(mark) - 1}
	if mark != 0 {
		x.f = &s.env.Flows[x.flow]
	}
	x.conn = tcp.Accept(now, s.config(key.remote.Addr(), uint32(uint64(mark)*0x9e3779b97f4a7c15>>16)), syn)
	x.timer = s.env.timer(s, x)
	s.streams[key] = x
	return x
}

// send makes a packet of a segment.
func (x *stream) send(seg *tcp.Segment) {
	from, to := x.key.local, x.key.remote
	head := headers(from.Addr()) + seg.OptionLen()
	h, b := x.s.env.Pool.NewZero(head+seg.Len, head)
	size := head - headers(from.Addr()) + pkt.TCPHeader + seg.Len
	ip := header(b[:0], from.Addr(), to.Addr(), pkt.ProtoTCP, size, true, 0)
	if seg.ECN != pkt.NotECT {
		pkt.SetECN(ip, seg.ECN)
	}
	l4 := b[len(ip):]
	clear(l4)
	binary.BigEndian.PutUint16(l4, from.Port())
	binary.BigEndian.PutUint16(l4[2:], to.Port())
	binary.BigEndian.PutUint32(l4[4:], seg.Seq)
	binary.BigEndian.PutUint32(l4[8:], seg.Ack)
	l4[12], l4[13] = uint8((pkt.TCPHeader+seg.OptionLen())/4)<<4, seg.Flags
	binary.BigEndian.PutUint16(l4[14:], seg.Window)
	putOptions(l4[pkt.TCPHeader:pkt.TCPHeader+seg.OptionLen()], seg)
	binary.BigEndian.PutUint16(l4[16:], ^checksum.Checksum(l4, pseudo(from.Addr(), to.Addr(), pkt.ProtoTCP, size)))
	x.s.env.Pool.Mark(h, uint32(x.flow+1))
	x.s.node.Output(h)
}

// Kinds of TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018).
const (
	optionEnd, optionNop, optionMSS, optionScale, optionPermitted, optionSACK, optionTime = 0, 1, 2, 3, 4, 5, 8
)

// putOptions writes a segment's options; what is left over is NOPs.
func putOptions(b []byte, s *tcp.Segment) {
	for i := range b {
		b[i] = optionNop
	}
	n := 0
	put := func(o ...byte) { n += copy(b[n:], o) }
	if s.Flags&pkt.SYN != 0 {
		if s.MSS != 0 {
			put(optionMSS, 4, byte(s.MSS>>8), byte(s.MSS))
		}
		if s.Scale >= 0 {
			put(optionScale, 3, byte(s.Scale))
		}
		if s.SACKPermitted {
			put(optionPermitted, 2)
		}
	}
	if s.HasTime {
		put(optionTime, 10)
		binary.BigEndian.PutUint32(b[n:], s.Time)
		binary.BigEndian.PutUint32(b[n+4:], s.Echo)
		n += 8
	}
	blocks := 0
	for blocks < len(s.SACK) && s.SACK[blocks] != (tcp.Block{}) {
		blocks++
	}
	if blocks == 0 {
		return
	}
	put(optionSACK, byte(2+8*blocks))
	for _, k := range s.SACK[:blocks] {
		binary.BigEndian.PutUint32(b[n:], k.From)
		binary.BigEndian.PutUint32(b[n+4:], k.To)
		n += 8
	}
}

// parseSegment reads a segment, options included.
func parseSegment(data []byte, m *pkt.Meta) tcp.Segment {
	l4 := data[m.L4:m.Payload]
	s := tcp.Segment{Seq: m.Seq, Ack: m.Ack, Flags: m.Flags, Len: m.PayloadLen, Window: binary.BigEndian.Uint16(l4[14:]), Scale: -1, ECN: pkt.ECNOf(data)}
	for o := l4[pkt.TCPHeader:]; len(o) > 0 && o[0] != optionEnd; {
		if o[0] == optionNop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			break
		}
		v := o[2:o[1]]
		switch {
		case o[0] == optionMSS && len(v) == 2:
			s.MSS = binary.BigEndian.Uint16(v)
		case o[0] == optionScale && len(v) == 1:
			s.Scale = int8(min(v[0], 14))
		case o[0] == optionPermitted:
			s.SACKPermitted = true
		case o[0] == optionTime && len(v) == 8:
			s.HasTime, s.Time, s.Echo = true, binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
		case o[0] == optionSACK:
			for i := 0; i < len(s.SACK) && len(v) >= 8*(i+1); i++ {
				s.SACK[i] = tcp.Block{From: binary.BigEndian.Uint32(v[8*i:]), To: binary.BigEndian.Uint32(v[8*i+4:])}
			}
		}
		o = o[o[1]:]
	}
	return s
}
