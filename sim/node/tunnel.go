package node

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/packet"
)

// GRE is a site's end of a GRE tunnel: a port that wraps packets and sends them
// by the WAN, and what unwraps those that come back.
type GRE struct {
	pool  *packet.Pool
	node  *Node
	wan   Port
	encap tunnel.Encap
	now   func() vt.Instant
	paths pathmtu.Table
	// first is the mtu of the beginning.
	mtu, first int
	meta       pkt.Meta
}

// NewGRE makes the tunnel of a node. encap is the outer header toward the
// servers, mtu the largest packet inside; now is the time.
func NewGRE(n *Node, wan Port, encap tunnel.Encap, mtu int, now func() vt.Instant) *GRE {
	g := &GRE{pool: n.pool, node: n, wan: wan, encap: encap, first: mtu, now: now}
	g.SetMTU(0)
	return g
}

// MTU implements Port: what the tunnel is made for, if its way passes that.
func (g *GRE) MTU() int { return PathMTU(&g.paths, g.now(), &g.encap, g.wan, g.mtu) }

// PathMTU is the largest packet inside a tunnel whose outer header is e: mtu, or
// what the WAN and the path beyond it leave.
func PathMTU(t *pathmtu.Table, now vt.Instant, e *tunnel.Encap, wan Port, mtu int) int {
	most := wan.MTU()
	if t.Len() > 0 {
		t.Expire(now)
		if known := t.MTU(pkt.NumberOf(e.Dst)); known > 0 {
			most = min(most, known)
		}
	}
	return min(mtu, e.InnerMTU(most))
}

// Learn reports whether a packet, whose outer IP header is o, tells that one with
// the outer header e was too big; t knows it then.
func Learn(t *pathmtu.Table, now vt.Instant, e *tunnel.Encap, o *pkt.Outer, data []byte) bool {
	if o.Proto != pkt.ProtoICMP && o.Proto != pkt.ProtoICMPv6 {
		return false
	}
	r, ok := pathmtu.Read(data)
	if !ok || !r.Of(e) {
		return false
	}
	t.Learn(now, r.Dst, r.MTU)
	return true
}

// SetMTU changes the largest packet inside; 0 is what it was in the beginning.
func (g *GRE) SetMTU(mtu int) {
	if mtu == 0 {
		mtu = g.first
	}
	g.mtu = mtu
}

// clamp tells both ends on the first packets what TCP may send in one segment
// (SEMANTICS 2.10).
func (g *GRE) clamp(data []byte) {
	m := &g.meta
	m.Parse(data)
	if m.Kind != pkt.TCP || m.Flags&pkt.SYN == 0 {
		return
	}
	mss := tunnel.MSS(g.MTU())
	if m.Version == 6 {
		mss = tunnel.MSS6(g.MTU())
	}
	m.ClampMSS(data, mss, pkt.Offload{})
}

// Send implements Port.
func (g *GRE) Send(h packet.Handle) {
	if mayOpen(g.pool.Head(h)) {
		g.clamp(g.pool.Data(h))
	}
	Wrap(g.pool, h, &g.encap)
	g.wan.Send(h)
}

// Takes reports whether a packet that came by the WAN is of the tunnel; it has
// gone on without its outer header then, or is freed.
func (g *GRE) Takes(h packet.Handle) bool {
	data := g.pool.Data(h)
	o, ok := pkt.ParseOuter(data)
	if ok && Learn(&g.paths, g.now(), &g.encap, &o, data) {
		g.pool.Free(h)
		return true
	}
	if !ok || o.Proto != pkt.ProtoGRE || o.Fragment || o.Src != pkt.NumberOf(g.encap.Dst) || o.Dst != pkt.NumberOf(g.encap.Src) {
		return false
	}
	gre, reason := tunnel.ParseGRE(data[o.Head:o.Len], true)
	if reason != drop.None || gre.HasKey != g.encap.HasKey || gre.Key != g.encap.Key {
		return false
	}
	if !tunnel.Unwrapped(pkt.ECNOf(data), data[o.Head+gre.Len:o.Len]) {
		g.node.Discard(h, NotECT)
		return true
	}
	g.pool.Keep(h, o.Head+gre.Len, o.Len)
	g.clamp(g.pool.Data(h))
	g.node.Input(h)
	return true
}

// mayOpen says whether a packet may be a SYN, which alone is clamped: all but
// IPv4 without options whose transport header says that it is none.
func mayOpen(b []byte) bool {
	const flags = pkt.IPv4Header + 13
	return len(b) <= flags || b[0] != 0x45 || b[9] == pkt.ProtoTCP && b[flags]&pkt.SYN != 0
}

// Wrap puts an outer header before a packet.
func Wrap(pool *packet.Pool, h packet.Handle, e *tunnel.Encap) {
	outer := pool.Push(h, e.Overhead())
	n := len(outer)
	if size := pool.Len(h) - n; e.Dst.Is4() && size > 0 && pool.Head(h)[n] == blank[0] {
		// No checksum covers what is inside: its family, length and congestion will do.
		e.AppendHeader(outer[:0], blank[:size])
		if ecn := pkt.ECN(pool.Head(h)[n+1] & 3); ecn != pkt.NotECT {
			pkt.SetECN(outer, ecn)
		}
		return
	}
	b := pool.Data(h)
	e.AppendHeader(b[:0], b[n:])
}

// blank stands for an IPv4 packet of which only the length matters.
var blank = [packet.Size]byte{0x45}
