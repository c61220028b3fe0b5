package node

import (
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/sim/packet"
)

// GRE is a site's end of a GRE tunnel: a port that wraps packets and sends them
// by the WAN, and what unwraps those that come back.
type GRE struct {
	pool  *packet.Pool
	node  *Node
	wan   Port
	encap tunnel.Encap
	// first is the mtu of the beginning.
	mtu, first int
	// mss and mss6 are what TCP may send in one segment; both ends are told on
	// the first packets (SEMANTICS 2.10).
	mss, mss6 uint16
	meta      pkt.Meta
}

// NewGRE makes the tunnel of a node. encap is the outer header toward the
// servers, mtu the largest packet inside.
func NewGRE(n *Node, wan Port, encap tunnel.Encap, mtu int) *GRE {
	g := &GRE{pool: n.pool, node: n, wan: wan, encap: encap, first: mtu}
	g.SetMTU(0)
	return g
}

// MTU implements Port.
func (g *GRE) MTU() int { return g.mtu }

// SetMTU changes the largest packet inside; 0 is what it was in the beginning.
func (g *GRE) SetMTU(mtu int) {
	if mtu == 0 {
		mtu = g.first
	}
	g.mtu, g.mss, g.mss6 = mtu, tunnel.MSS(mtu), tunnel.MSS6(mtu)
}

func (g *GRE) clamp(data []byte) {
	m := &g.meta
	m.Parse(data)
	mss := g.mss
	if m.Version == 6 {
		mss = g.mss6
	}
	m.ClampMSS(data, mss, pkt.Offload{})
}

// Send implements Port.
func (g *GRE) Send(h packet.Handle) {
	g.clamp(g.pool.Data(h))
	Wrap(g.pool, h, &g.encap)
	g.wan.Send(h)
}

// Takes reports whether a packet that came by the WAN is of the tunnel; it has
// gone on without its outer header then, or is freed.
func (g *GRE) Takes(h packet.Handle) bool {
	data := g.pool.Data(h)
	o, ok := pkt.ParseOuter(data)
	if !ok || o.Proto != pkt.ProtoGRE || o.Fragment || o.Src != pkt.NumberOf(g.encap.Dst) || o.Dst != pkt.NumberOf(g.encap.Src) {
		return false
	}
	gre, reason := tunnel.ParseGRE(data[o.Head:o.Len], true)
	if reason != drop.None || gre.HasKey != g.encap.HasKey || gre.Key != g.encap.Key {
		return false
	}
	g.pool.Keep(h, o.Head+gre.Len, o.Len)
	g.clamp(g.pool.Data(h))
	g.node.Input(h)
	return true
}

// Wrap puts an outer header before a packet.
func Wrap(pool *packet.Pool, h packet.Handle, e *tunnel.Encap) {
	n := e.Overhead()
	b := pool.Push(h, n)
	e.AppendHeader(b[:0], b[n:])
}
