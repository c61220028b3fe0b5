// Package node is a machine of a simulated network as its kernel is: it routes
// by a plan's table, decrements TTLs, reports what it cannot send, cuts what is
// too big, and gives what is for itself to its Stack.
//
// It knows no tunnel and no server: a Port is where packets leave, and who makes
// a tunnel or a server puts a Port of its own there. Its law: a packet that is
// handed in leaves by one port, goes to the stack, or is freed and counted.
package node

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/sim/packet"
)

// Port is where packets leave a node: a wire, or a tunnel.
type Port interface {
	// Send takes the packet over.
	Send(h packet.Handle)
	// MTU is the largest packet that Send takes.
	MTU() int
}

// Stack gets what is for the node itself, and may send by the node's Output. What
// it does not care for it gives to the node's Answer.
type Stack interface {
	// Receive takes the packet over. m describes it.
	Receive(h packet.Handle, m *pkt.Meta)
}

// Drop is why a node freed a packet.
type Drop uint8

const (
	NoRoute    Drop = iota // no route, of which the sender was told, or a black hole
	Expired                // the TTL ran out; the sender was told
	TooBig                 // DF was set; the sender was told
	Junk                   // not IP, or damaged
	NotForUs               // nobody here listens
	Forwarding             // the node forwards nothing
	NotECT                 // marked in its tunnel, and its ends understand no marks (RFC 6040)
	Drops
)

var dropNames = [Drops]string{"no_route", "ttl_expired", "too_big", "malformed", "not_for_us", "not_forwarding", "not_ect"}

// String names the reason in records.
func (d Drop) String() string { return dropNames[d] }

// Node is a machine. Use New; add its addresses and routes before it works.
type Node struct {
	name    string
	pool    *packet.Pool
	seed    uint32
	forward bool
	stack   Stack
	own     map[netip.Addr]bool
	table   bart.Table[*route]
	recent  [recent]recently
	lately  netip.Addr // of own, that a packet was for last
	// Address is where the node's own errors come from, by family.
	address, address6 netip.Addr
	count             [Drops]uint64
	ids               uint32   // of IPv6 packets cut
	meta              pkt.Meta // scratch
	arena             []byte   // scratch
}

// route is a destination's ports; none is a black hole.
type route struct{ ports []Port }

// recent is how many destinations a node remembers the way to, a power of two.
const recent = 16

// recently is the one port toward an IPv4 address that is not the node's own.
type recently struct {
	to   uint32 // as its bytes lie
	port Port   // nil: nothing is remembered
}

// New returns a node without addresses. seed chooses among equal routes.
func New(name string, pool *packet.Pool, seed uint32, forward bool) *Node {
	return &Node{name: name, pool: pool, seed: seed, forward: forward, own: make(map[netip.Addr]bool)}
}

// Name is the node's id in the plan.
func (n *Node) Name() string { return n.name }

// SetStack gives the node a stack. Without one it answers pings and nothing else.
func (n *Node) SetStack(s Stack) { n.stack = s }

// Stack is what SetStack gave; nil without one.
func (n *Node) Stack() Stack { return n.stack }

// AddAddress makes an address the node's own. The first of each family is where
// its errors come from.
func (n *Node) AddAddress(a netip.Addr) {
	n.own[a] = true
	n.forget()
	switch {
	case a.Is4() && !n.address.IsValid():
		n.address = a
	case a.Is6() && !n.address6.IsValid():
		n.address6 = a
	}
}

// AddRoute sends a prefix to one of the ports, by hash of addresses and ports;
// to none is a black hole. A route that is there already is replaced.
func (n *Node) AddRoute(to netip.Prefix, ports ...Port) {
	n.table.Insert(to.Masked(), &route{ports})
	n.forget()
}

// DeleteRoute removes the route of exactly that prefix.
func (n *Node) DeleteRoute(to netip.Prefix) {
	n.table.Delete(to.Masked())
	n.forget()
}

// forget drops what is remembered of routes and addresses, because they changed.
func (n *Node) forget() { n.recent, n.lately = [recent]recently{}, netip.Addr{} }

// Count is how many packets were freed for a reason.
func (n *Node) Count(d Drop) uint64 { return n.count[d] }

// Discard frees a packet for a reason that something at the node found.
func (n *Node) Discard(h packet.Handle, d Drop) { n.drop(h, d) }

func (n *Node) drop(h packet.Handle, d Drop) {
	n.count[d]++
	n.pool.Free(h)
}

// Input takes a packet that came in.
func (n *Node) Input(h packet.Handle) {
	head, size := n.pool.Header4(h)
	if head == nil {
		head, size = n.pool.BodyHeader4(h)
	}
	if p := n.quick(head, size); p != nil {
		pkt.DecTTL4(head)
		p.Send(h)
		return
	}
	n.look(h)
}

// look is Input of a packet that has to be looked at.
func (n *Node) look(h packet.Handle) {
	m := &n.meta
	data := n.read(h, m)
	if m.Version == 0 { // beyond the IP header a router looks at ports alone
		n.drop(h, Junk)
		return
	}
	n.pool.Keep(h, 0, m.Len)
	if n.ours(m.Dst) {
		if m.Kind == pkt.Malformed {
			n.drop(h, Junk)
			return
		}
		n.local(h, m)
		return
	}
	if !n.forward {
		n.drop(h, Forwarding)
		return
	}
	if m.TTL <= 1 {
		n.complain(h, m, Expired, 0)
		return
	}
	p := n.route(m)
	switch {
	case p == nil && n.hole(m.Dst):
		n.drop(h, NoRoute)
		return
	case p == nil:
		n.complain(h, m, NoRoute, 0)
		return
	case m.Len > p.MTU() && m.DF:
		n.complain(h, m, TooBig, p.MTU())
		return
	}
	m.DecTTL(data)
	n.remember(m, p)
	n.leave(h, m, p)
}

// read reads a packet into m, and returns its first bytes. A payload of zeros that
// is a number stays one: nothing of it is read.
func (n *Node) read(h packet.Handle, m *pkt.Meta) []byte {
	head := n.pool.Head(h)
	if b, size := n.pool.BodyHeader4(h); len(head) < size && plain(b, head, size) {
		m.ParseFirst(head)
		return head
	}
	data := n.pool.Data(h)
	m.Parse(data)
	return data
}

// plain reports whether b begins a whole packet of size bytes, of TCP or UDP over
// IPv4 without options, of which head has the headers.
func plain(b *[pkt.IPv4Header]byte, head []byte, size int) bool {
	if b == nil || b[0] != 0x45 || (b[6]&0x3f)|b[7] != 0 || int(binary.BigEndian.Uint16(b[2:])) != size || !pkt.Sound4(b) {
		return false
	}
	switch b[9] {
	case pkt.ProtoUDP:
		const length = pkt.IPv4Header + 4
		return len(head) >= pkt.IPv4Header+pkt.UDPHeader && int(binary.BigEndian.Uint16(head[length:])) == size-pkt.IPv4Header
	case pkt.ProtoTCP:
		const offset = pkt.IPv4Header + 12
		return len(head) >= pkt.IPv4Header+pkt.TCPHeader && len(head) >= pkt.IPv4Header+int(head[offset]>>4)*4
	}
	return false
}

// ours reports whether an address is the node's own. Most packets for it are for
// the one that the last was for.
func (n *Node) ours(a netip.Addr) bool {
	if a == n.lately {
		return true
	}
	if !n.own[a] {
		return false
	}
	n.lately = a
	return true
}

// quick is the port of a packet that is nothing but sent on: a sound IPv4
// header without options, time to live, a destination that is remembered, and a
// size that fits. It is nil for any other, which Input looks at closely. Both
// come to the same.
func (n *Node) quick(b *[pkt.IPv4Header]byte, size int) Port {
	if b == nil || b[0] != 0x45 || b[8] <= 1 || int(binary.BigEndian.Uint16(b[2:])) != size {
		return nil
	}
	to := binary.LittleEndian.Uint32(b[16:])
	r := &n.recent[slot(to)]
	if r.to != to || r.port == nil || !pkt.Sound4(b) || size > r.port.MTU() {
		return nil
	}
	return r.port
}

// remember keeps the way to a destination, if there is one way alone.
func (n *Node) remember(m *pkt.Meta, p Port) {
	if r, _ := n.table.Lookup(m.Dst); m.Version != 4 || len(r.ports) != 1 {
		return
	}
	a := m.Dst.As4()
	to := binary.LittleEndian.Uint32(a[:])
	n.recent[slot(to)] = recently{to, p}
}

// slot is where an address is remembered.
func slot(to uint32) uint32 { return to * 0x9e3779b1 >> 28 & (recent - 1) }

// Output sends a packet of the node's own.
func (n *Node) Output(h packet.Handle) {
	head, size := n.pool.Header4(h)
	if head == nil {
		head, size = n.pool.BodyHeader4(h)
	}
	if p := n.quick(head, size); p != nil {
		p.Send(h)
		return
	}
	m := &n.meta
	m.Parse(n.pool.Data(h))
	if n.ours(m.Dst) {
		n.local(h, m)
		return
	}
	p := n.route(m)
	switch {
	case p == nil:
		n.drop(h, NoRoute)
	case m.Len > p.MTU() && m.DF && m.Version == 4:
		n.complain(h, m, TooBig, p.MTU())
	default:
		n.remember(m, p)
		n.leave(h, m, p) // who sends IPv6 may cut it (RFC 8200 section 4.5)
	}
}

// Yield has packets for an address routed like any others, instead of taken for
// the node's own: who translates wants them. The node goes on speaking as it.
func (n *Node) Yield(a netip.Addr) {
	delete(n.own, a)
	n.forget()
}

// Cut sends b by p, in fragments if it must be. mark is what packet.Pool.Flow
// says of them. b is copied.
func (n *Node) Cut(b []byte, p Port, mark uint32) {
	if len(b) <= p.MTU() {
		h := n.pool.Make(b)
		n.pool.Mark(h, mark)
		p.Send(h)
		return
	}
	n.meta.Parse(b)
	n.cut(&n.meta, b, p, p.MTU(), mark)
}

// OutputWhole sends a packet of the node's own, in fragments if it is larger than
// mtu. mark is what packet.Pool.Flow says of them. b is copied.
func (n *Node) OutputWhole(b []byte, mtu int, mark uint32) {
	if len(b) <= min(mtu, packet.Size) {
		h := n.pool.Make(b)
		n.pool.Mark(h, mark)
		n.Output(h)
		return
	}
	m := &n.meta
	m.Parse(b)
	p := n.route(m)
	if p == nil {
		n.count[NoRoute]++
		return
	}
	n.cut(m, b, p, min(mtu, p.MTU()), mark)
}

// cut sends b by p in fragments of at most mtu bytes.
func (n *Node) cut(m *pkt.Meta, b []byte, p Port, mtu int, mark uint32) {
	if m.Version == 6 && m.Kind != pkt.Fragment {
		n.ids++
		m.FragID = n.ids
	}
	from := 0
	for more := true; more; more = from != 0 {
		n.arena, from = m.AppendFragment(n.arena[:0], b, mtu, from)
		f := n.pool.Make(n.arena)
		n.pool.Mark(f, mark)
		p.Send(f)
	}
}

// leave sends a packet by p, in fragments if it must be.
func (n *Node) leave(h packet.Handle, m *pkt.Meta, p Port) {
	if m.Len <= p.MTU() {
		p.Send(h)
		return
	}
	n.cut(m, n.pool.Data(h), p, p.MTU(), n.pool.Flow(h))
	n.pool.Free(h)
}

// route chooses the port toward a packet's destination; nil if there is none.
func (n *Node) route(m *pkt.Meta) Port {
	r, ok := n.table.Lookup(m.Dst)
	switch {
	case !ok || len(r.ports) == 0:
		return nil
	case len(r.ports) == 1:
		return r.ports[0]
	}
	return r.ports[multipath(n.seed, m, len(r.ports))]
}

// hole reports whether an address is in a black hole, of which nobody is told.
func (n *Node) hole(to netip.Addr) bool {
	_, ok := n.table.Lookup(to)
	return ok
}

// PathMTU is the MTU of the port toward an address; 0 without a route.
func (n *Node) PathMTU(to netip.Addr) int {
	if r, ok := n.table.Lookup(to); ok && len(r.ports) > 0 {
		return r.ports[0].MTU()
	}
	return 0
}

// local takes a packet to the node itself.
func (n *Node) local(h packet.Handle, m *pkt.Meta) {
	switch {
	case n.stack != nil:
		n.stack.Receive(h, m)
	default:
		n.Answer(h, m)
	}
}

// Answer is what a node without a stack does with a packet for itself: it
// answers pings, and says that it serves nothing (RFC 1122 section 4.1.3.1, RFC
// 9293 section 3.10.7.1).
func (n *Node) Answer(h packet.Handle, m *pkt.Meta) {
	switch {
	case m.Kind == pkt.EchoRequest:
		n.arena = m.AppendEchoReply(n.arena[:0], n.pool.Data(h))
		n.pool.Free(h)
		n.Output(n.pool.Make(n.arena))
	case m.Kind == pkt.UDP && m.Blameable():
		n.arena = m.AppendPortUnreachable(n.arena[:0], n.pool.Data(h))
		n.answer(h)
	case m.Kind == pkt.TCP && m.Flags&pkt.RST == 0:
		n.arena = m.AppendReset(n.arena[:0])
		n.answer(h)
	default:
		n.drop(h, NotForUs)
	}
}

// answer counts a packet that nobody takes and sends what is in the arena.
func (n *Node) answer(h packet.Handle) {
	mark := n.pool.Flow(h)
	n.drop(h, NotForUs)
	e := n.pool.Make(n.arena)
	n.pool.Mark(e, mark)
	n.Output(e)
}

// complain frees a packet and tells its sender why, unless nobody may be told
// (RFC 1122 section 3.2.2).
func (n *Node) complain(h packet.Handle, m *pkt.Meta, d Drop, mtu int) {
	from := n.address
	if m.Version == 6 {
		from = n.address6
	}
	if !m.Blameable() || !from.IsValid() {
		n.drop(h, d)
		return
	}
	data := n.pool.Data(h)
	switch d {
	case TooBig:
		n.arena = m.AppendTooBig(n.arena[:0], data, mtu, 0)
	case NoRoute:
		n.arena = m.AppendNetUnreachable(n.arena[:0], data, from)
	default:
		n.arena = m.AppendTimeExceeded(n.arena[:0], data, from, 0)
	}
	mark := n.pool.Flow(h)
	n.drop(h, d)
	e := n.pool.Make(n.arena)
	n.pool.Mark(e, mark)
	n.Output(e)
}

// String is for people.
func (n *Node) String() string { return fmt.Sprintf("node %s", n.name) }
