// Package connector is the translation at the end of a connector's tunnel: the
// hosts of the private network see its flows come from the connector's own
// address, as behind cloudflared (SEMANTICS 1.5, 2.9).
//
// It is sans-IO, like the hub, which gives every flow to a private network a
// source of the network's own; this is the second translation, from that source
// to an address and port that the hosts can reach. It opens flows from the
// tunnel alone, routes nothing and lowers no TTL: the router that it is part of
// does. Its law, checked against a list in the tests: two live flows never share
// what a host sees, and what a host answers reaches the flow that asked, or is
// dropped with a reason.
package connector

import (
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Config is what a translation needs to know.
type Config struct {
	// Address is the source that the private hosts see. Packets of the other
	// family are not carried.
	Address netip.Addr
	// Seed keys the choice of ports.
	Seed uint64
	// Flows bounds the table; 0 means DefaultFlows.
	Flows int
	// Timeouts are the lifetimes by state; all zero means DefaultTimeouts.
	Timeouts flow.Timeouts
}

const (
	// DefaultFlows is the default bound.
	DefaultFlows = 1 << 16
	// firstPort and ports are the range of translated ports, echo ids among
	// them: a power of two, so that an odd step visits every one.
	firstPort = 32768
	ports     = 32768
)

// DefaultTimeouts are those of SEMANTICS 1.9.
func DefaultTimeouts() flow.Timeouts {
	return flow.NewTimeouts(30*time.Second, 8*time.Hour, 240*time.Second, 300*time.Second, 10*time.Second, 60*time.Second, 60*time.Second)
}

// NAT is one connector's translation. Use New. It is not safe for concurrent use.
type NAT struct {
	address netip.Addr
	seed    uint64
	flows   *flow.Table
	// meta and quote are scratch, kept so that nothing is allocated per packet.
	meta, quote pkt.Meta
	end         func(flow.Index, *flow.Flow)
}

// New returns a translation without flows.
func New(c Config) *NAT {
	if c.Flows == 0 {
		c.Flows = DefaultFlows
	}
	if c.Timeouts == (flow.Timeouts{}) {
		c.Timeouts = DefaultTimeouts()
	}
	n := &NAT{address: c.Address, seed: c.Seed, flows: flow.New(c.Seed, c.Flows, c.Timeouts)}
	n.end = func(i flow.Index, _ *flow.Flow) { n.flows.Remove(i) }
	return n
}

// Flows is how many flows there are, those that only hold their port included.
func (n *NAT) Flows() int { return n.flows.Len() }

// HandleTimer ends the flows whose time has come.
func (n *NAT) HandleTimer(now vt.Instant) { n.flows.Expire(now, n.end) }

// NextWake is when HandleTimer has something to do; vt.Never if nothing is due.
func (n *NAT) NextWake() vt.Instant { return n.flows.NextWake() }

// FromTunnel translates a packet for the private network in place, from its IP
// header on. Anything but drop.None means that it must not be sent on, and then
// its bytes are as they were.
func (n *NAT) FromTunnel(now vt.Instant, packet []byte, off pkt.Offload) drop.Reason {
	m := &n.meta
	m.Parse(packet)
	if reason := n.carried(m); reason != drop.None {
		return reason
	}
	if m.Kind == pkt.ICMPError {
		return n.complaint(now, packet)
	}
	key := flow.ForwardKey(0, 0, 0, m)
	i, f := n.forward(now, &key)
	switch {
	case f != nil && m.Opens() && m.Kind == pkt.TCP && f.Reusable():
		f = n.flows.Reopen(now, i)
	case f == nil:
		var reason drop.Reason
		if i, f, reason = n.open(now, m, key); reason != drop.None {
			return reason
		}
	}
	n.flows.Outbound(now, i, f, m)
	source := f.Egress()
	m.SetSrc(packet, source.Addr(), source.Port(), off)
	return drop.None
}

// carried says whether a packet of this kind can be translated at all.
func (n *NAT) carried(m *pkt.Meta) drop.Reason {
	switch {
	case m.Kind == pkt.Malformed:
		return drop.Malformed
	case m.Kind == pkt.Fragment:
		return drop.Fragment
	case m.Kind == pkt.Other || m.Src.Is4() != n.address.Is4():
		return drop.Unsupported
	}
	return drop.None
}

// forward finds a flow by its forward key, unless its time is over.
func (n *NAT) forward(now vt.Instant, key *flow.Key) (flow.Index, *flow.Flow) {
	i, f := n.flows.Forward(key, flow.Hash(n.seed, key))
	return n.alive(now, i, f)
}

// reverse finds a flow by its reverse key, unless its time is over.
func (n *NAT) reverse(now vt.Instant, key *flow.Key) (flow.Index, *flow.Flow) {
	i, f := n.flows.Reverse(key, flow.Hash(n.seed, key))
	return n.alive(now, i, f)
}

// alive removes a flow that is over and that the timers have not come to yet.
func (n *NAT) alive(now vt.Instant, i flow.Index, f *flow.Flow) (flow.Index, *flow.Flow) {
	if f != nil && f.Deadline <= now {
		n.flows.Remove(i)
		return 0, nil
	}
	return i, f
}

// open sets a flow up for a packet that may open one.
func (n *NAT) open(now vt.Instant, m *pkt.Meta, key flow.Key) (flow.Index, *flow.Flow, drop.Reason) {
	switch {
	case m.Kind == pkt.EchoReply:
		return 0, nil, drop.NoFlow
	case !m.Opens():
		return 0, nil, drop.Orphan
	}
	port, reason := n.free(&key)
	if reason != drop.None {
		// Flows that are over but not yet swept must not refuse new ones.
		n.HandleTimer(now)
		if port, reason = n.free(&key); reason != drop.None {
			return 0, nil, reason
		}
	}
	i, f := n.flows.Insert(now, key, netip.AddrPortFrom(n.address, port))
	return i, f, drop.None
}

// free finds room and a port for a new flow.
func (n *NAT) free(key *flow.Key) (uint16, drop.Reason) {
	if n.flows.Full() {
		return 0, drop.TableFull
	}
	port, ok := n.port(key)
	if !ok {
		return 0, drop.PortsExhausted
	}
	return port, drop.None
}

// port finds a free port toward the flow's destination: from a keyed hash on,
// by double hashing, until every port has been tried. One port serves several
// destinations at once; what is unique is the reverse key (SEMANTICS 5.5).
func (n *NAT) port(key *flow.Key) (uint16, bool) {
	hash := flow.Combine(n.seed, flow.Hash(n.seed, key), 1)
	at, step := uint16(hash)%ports, uint16(hash>>16)|1
	reverse := flow.ReverseKey(key.Proto, netip.AddrPortFrom(n.address, 0), key.Destination())
	for range ports {
		reverse.SrcPort = firstPort + at
		if !n.flows.Taken(&reverse) {
			return reverse.SrcPort, true
		}
		at = (at + step) % ports
	}
	return 0, false
}

// FromNetwork translates a packet of the private network's for the tunnel, as
// FromTunnel does for the other direction.
func (n *NAT) FromNetwork(now vt.Instant, packet []byte, off pkt.Offload) drop.Reason {
	m := &n.meta
	m.Parse(packet)
	if reason := n.carried(m); reason != drop.None {
		return reason
	}
	if m.Dst != n.address {
		return drop.NotForUs
	}
	if m.Kind == pkt.ICMPError {
		return n.undoQuote(now, packet)
	}
	var key flow.Key
	key.SetReply(m)
	i, f := n.reverse(now, &key)
	if f == nil {
		return drop.NoFlow
	}
	client := f.Key.Source()
	n.flows.Inbound(now, i, f, m)
	m.SetDst(packet, client.Addr(), client.Port(), off)
	return drop.None
}

// undoQuote translates an ICMP error of the private network's: the packet that
// it quotes left as the connector's and is the client's (RFC 5508 section 4.2).
func (n *NAT) undoQuote(now vt.Instant, packet []byte) drop.Reason {
	m, q := &n.meta, &n.quote
	if !m.Quoted(packet, q) {
		return drop.NoFlow
	}
	key := flow.ReverseKey(q.Proto, netip.AddrPortFrom(q.Src, q.SrcPort), netip.AddrPortFrom(q.Dst, q.DstPort))
	_, f := n.reverse(now, &key)
	if f == nil {
		return drop.NoFlow
	}
	client := f.Key.Source()
	q.SetSrc(packet[m.Payload:], client.Addr(), client.Port(), pkt.Offload{})
	m.SetDst(packet, client.Addr(), 0, pkt.Offload{})
	m.RefreshICMP(packet)
	return drop.None
}

// complaint translates an ICMP error of the client's side about an answer that
// it got, so that the host recognises its own packet: path MTU discovery toward
// the tunnel depends on it.
func (n *NAT) complaint(now vt.Instant, packet []byte) drop.Reason {
	m, q := &n.meta, &n.quote
	if !m.Quoted(packet, q) {
		return drop.NoFlow
	}
	asked := *q
	asked.Turn()
	key := flow.ForwardKey(0, 0, 0, &asked)
	_, f := n.forward(now, &key)
	if f == nil {
		return drop.NoFlow
	}
	source := f.Egress()
	q.SetDst(packet[m.Payload:], source.Addr(), source.Port(), pkt.Offload{})
	m.SetSrc(packet, source.Addr(), 0, pkt.Offload{})
	m.RefreshICMP(packet)
	return drop.None
}
