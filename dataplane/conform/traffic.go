package conform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
)

// packetCase is a packet to give to servers.
type packetCase struct {
	// names say what it is, and what was done to it.
	names   []string
	packet  []byte
	offload pkt.Offload
	talk    *talk
	up      bool
}

// talk is a conversation of a client with a remote end, as they would have it.
type talk struct {
	ramp           ident.OnRamp
	proto          uint8
	client, remote netip.AddrPort
	// egress is what the remote end sees; not valid before anything reached it.
	egress netip.AddrPort
	// kept talks come by way of a server that has no port for them, so that their
	// home is here whatever their hash.
	kept bool
	// opened and answered are how far a TCP handshake is, closed that one end sent
	// FIN or RST.
	opened, answered, closed bool
	// clientSeq and originSeq are the next numbers of both ends.
	clientSeq, originSeq uint32
	// clientFar and originFar are where a segment ended that was as far ahead as
	// any may be, which the other end is about to acknowledge; 0 is none.
	clientFar, originFar uint32
}

// traffic draws packets.
type traffic struct {
	Chance
	w     *World
	talks []*talk
	// sweep are the edge addresses that come first.
	sweep []netip.Addr
}

func newTraffic(w *World, c Chance) *traffic {
	g := &traffic{Chance: c, w: w}
	for range sweeps {
		for _, a := range append(slices.Clone(edges4), edges6...) {
			g.sweep = append(g.sweep, netip.MustParseAddr(a))
		}
	}
	return g
}

// sweeps is how often each edge address comes before chance has it: often enough
// for its home to be another server for sure.
const sweeps = 8

// swept is a packet to the next edge address, from a port of its own.
func (g *traffic) swept() packetCase {
	to := g.sweep[0]
	g.sweep = g.sweep[1:]
	t := &talk{ramp: rampFirst, proto: pkt.ProtoUDP, client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, 9}), uint16(2000+len(g.sweep)))}
	if to.Is6() {
		t.client = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 7: 1, 15: 9}), t.client.Port())
	}
	c := packetCase{talk: t, up: true}
	p := builder{src: t.client, dst: netip.AddrPortFrom(to, 9), ttl: 64}
	r := onRamp(t.ramp)
	c.packet = gre(r.Remote, r.Local, r.Key, c.is("edge address up", p.udp()))
	return c
}

// talksMost is how many conversations go on at once.
const talksMost = 48

// one draws one of several.
func one[T any](c Chance, of ...T) T { return of[c.IntN(len(of))] }

// once is true once in n times.
func (g *traffic) once(n int) bool { return g.IntN(n) == 0 }

// Ports at the edges of slices and of what echo ids may be.
var edgePorts = []uint16{0, 1, 53, 443, 1023, 2047, 2048, 2049, 4095, 4096, 4097, 6143, 6144, 32767, 32768, 63487, 63488, 65534, 65535}

func (g *traffic) port() uint16 {
	if g.once(3) {
		return one(g.Chance, edgePorts...)
	}
	return uint16(g.Uint32())
}

// sequence is a TCP sequence number, at times one that is about to wrap.
func (g *traffic) sequence() uint32 {
	return one(g.Chance, g.Uint32(), 0, 0xffffffff-uint32(g.IntN(2000)), 1<<31-uint32(g.IntN(2000)))
}

// Remote ends: few, so that egress ports get several.
var (
	remotes4 = []string{"203.0.113.9", "203.0.113.10", "8.8.8.8", "192.0.3.255"}
	remotes6 = []string{"2001:db8:9::9", "2001:db8:9::a", "2a00::ffff:0:1"}
)

func (g *traffic) open() *talk {
	t := &talk{
		ramp: rampFirst + ident.OnRamp(g.IntN(int(ramps-rampFirst))), proto: one[uint8](g.Chance, pkt.ProtoTCP, pkt.ProtoTCP, pkt.ProtoTCP, pkt.ProtoTCP, pkt.ProtoUDP, pkt.ProtoICMP),
		kept: g.once(2), clientSeq: g.sequence(), originSeq: g.sequence(),
	}
	client, remote := netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + g.IntN(3))}), netip.MustParseAddr(one(g.Chance, remotes4...))
	if g.once(2) {
		client, remote = netip.AddrFrom16([16]byte{0xfd, 7: 1, 15: byte(1 + g.IntN(3))}), netip.MustParseAddr(one(g.Chance, remotes6...))
	}
	t.client, t.remote = netip.AddrPortFrom(client, g.port()), netip.AddrPortFrom(remote, one[uint16](g.Chance, 443, 80, 53, 9))
	if t.proto == pkt.ProtoICMP {
		if client.Is6() {
			t.proto = pkt.ProtoICMPv6
		}
		t.remote = netip.AddrPortFrom(remote, 0)
	}
	t.opened = g.once(8) // else before its bucket was reassigned
	// The same tuple by another on-ramp is the point of it all.
	if n := len(g.talks); n > 0 && g.once(4) {
		o := g.talks[g.IntN(n)]
		t.proto, t.client, t.remote = o.proto, o.client, o.remote
	}
	return t
}

// next draws a packet.
func (g *traffic) next() packetCase {
	if len(g.sweep) > 0 {
		return g.swept()
	}
	t := g.pick()
	c := packetCase{talk: t, up: !t.egress.IsValid() || g.once(2)}
	var inner []byte
	if c.up {
		inner = g.fromClient(&c, t)
	} else {
		inner = g.fromRemote(&c, t)
	}
	ecn := g.ecn()
	setECN(inner, ecn)
	switch {
	case g.w.Offloads && g.once(2) && g.undone(&c, inner):
	case g.once(6):
		inner = g.spoilInner(&c, inner)
	}
	if c.up {
		c.packet = g.byOnRamp(&c, t, inner)
	} else {
		c.packet = g.byInternet(&c, inner)
	}
	single := c.offload == (pkt.Offload{})
	if len(c.packet) > len(inner) { // in a tunnel, on which it may have been marked
		if g.once(4) && single {
			ecn = c.isMarked(ecn, g.ecn())
		}
		setECN(c.packet, ecn)
	}
	if g.once(12) && single {
		g.spoilOuter(&c)
	}
	return c
}

// ecn is what an IP header may say of congestion, ECT(0) the most often.
func (g *traffic) ecn() byte { return one[byte](g.Chance, 0, 0, 1, 2, 2, 2, 3) }

// isMarked names a packet whose outer header says something else than the inner.
func (c *packetCase) isMarked(inner, outer byte) byte {
	if inner != outer {
		c.names = append(c.names, fmt.Sprintf("ECN %d in %d", inner, outer))
	}
	return outer
}

// undone leaves the transport checksum of a packet to somebody else, and says so.
// Of TCP with payload it makes a superpacket, where the kernel would: it is false
// for what has neither.
func (g *traffic) undone(c *packetCase, inner []byte) bool {
	proto, at := protoOf(inner), l4(inner)
	switch proto {
	case pkt.ProtoTCP:
		c.offload.Partial = true
		head := at + int(inner[at+12]>>4)*4
		if payload := len(inner) - head; payload > 1 && inner[at+13]&(pkt.SYN|pkt.RST) == 0 {
			c.offload.Segment = uint16(max(payload/(2+g.IntN(40)), payload-payload*3/4, 1))
			c.is("superpacket", nil)
		}
		putPseudo(inner, at, 16)
	case pkt.ProtoUDP:
		c.offload.Partial = true
		putPseudo(inner, at, 6)
	default:
		return false
	}
	c.is("partial checksum", nil)
	return true
}

// pick chooses a conversation: new ones come as old ones go.
func (g *traffic) pick() *talk {
	if len(g.talks) < talksMost && g.once(3) {
		g.talks = append(g.talks, g.open())
	}
	for {
		i := g.IntN(len(g.talks) + 1)
		switch {
		case i == len(g.talks):
			g.talks = append(g.talks, g.open())
		case g.talks[i].closed && g.once(4) || g.once(300):
			g.talks = append(g.talks[:i], g.talks[i+1:]...)
			continue
		}
		return g.talks[i]
	}
}

// fromClient is what the client says next.
func (g *traffic) fromClient(c *packetCase, t *talk) []byte {
	p := builder{src: t.client, dst: t.remote, ttl: g.ttl(), payload: g.payload(t.ramp)}
	if g.once(15) {
		p.dst = netip.AddrPortFrom(g.edgeAddress(t.client.Addr().Is6()), t.remote.Port())
		if t.proto == pkt.ProtoUDP {
			return c.is("edge address up", p.udp())
		}
		return c.is("edge address up", p.tcp(g.Chance, g.flags(), 1, 1))
	}
	switch t.proto {
	case pkt.ProtoUDP:
		return c.is("udp up", p.udp())
	case pkt.ProtoICMP, pkt.ProtoICMPv6:
		if r := onRamp(t.ramp); g.once(20) {
			four, six := r.Routers()
			if p.dst = netip.AddrPortFrom(four, 0); t.client.Addr().Is6() {
				p.dst = netip.AddrPortFrom(six, 0)
			}
		}
		if !p.dst.Addr().IsValid() {
			p.dst = t.remote
		}
		return c.is("echo up", p.echo(true))
	}
	switch {
	case !t.opened || g.once(60):
		t.opened = true
		p.payload = nil
		return c.is("syn up", p.tcp(g.Chance, pkt.SYN, t.clientSeq, 0))
	case (t.answered || !t.egress.IsValid()) && !g.once(25):
		return c.is("tcp up", g.segment(&p, &t.clientSeq, t.originSeq, &t.clientFar, &t.originFar))
	}
	return c.is("odd tcp up", g.oddSegment(&p, t, t.clientSeq, t.originSeq))
}

// Addresses at the edges of what is private, and the network's own.
var (
	edges4 = []string{
		"10.9.9.9", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0",
		"192.167.255.255", "192.168.0.1", "192.169.0.0", "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0",
		"192.0.2.1", "198.18.255.1", "198.51.101.1", "198.51.102.1",
	}
	edges6 = []string{
		"fd00::1", "fbff::1", "fc00::1", "fe00::1", "2606:4700:cf1::1", "2606:4700:cf2::1", "2606:4700:cf0:ffff::1", "2001:db8:2::1", "::ffff:0:1",
	}
)

func (g *traffic) edgeAddress(six bool) netip.Addr {
	if six {
		return netip.MustParseAddr(one(g.Chance, edges6...))
	}
	return netip.MustParseAddr(one(g.Chance, edges4...))
}

// fromRemote is what the remote end says next.
func (g *traffic) fromRemote(c *packetCase, t *talk) []byte {
	p := builder{src: t.remote, dst: t.egress, ttl: g.ttl(), payload: g.payload(t.ramp)}
	if g.once(50) { // of another flow, if of any
		if t.proto == pkt.ProtoUDP {
			return c.is("other transport down", p.tcp(g.Chance, pkt.ACK, 1, 1))
		}
		return c.is("other transport down", p.udp())
	}
	if g.once(50) { // nor is what another host sends
		remotes := remotes4
		if t.remote.Addr().Is6() {
			remotes = remotes6
		}
		p.src = netip.AddrPortFrom(netip.MustParseAddr(one(g.Chance, remotes...)), t.remote.Port())
		switch t.proto {
		case pkt.ProtoUDP:
			return c.is("other remote down", p.udp())
		case pkt.ProtoTCP:
			return c.is("other remote down", p.tcp(g.Chance, pkt.ACK, t.originSeq, t.clientSeq))
		}
	}
	if g.once(30) {
		to := t.egress.Addr()
		if to.Is4() { // or one of the other datacenter, which moves
			to = one(g.Chance, to, netip.AddrFrom4([4]byte{198, 51, 102, 1}))
		}
		p.dst = netip.AddrPortFrom(to, one(g.Chance, edgePorts...))
		return c.is("edge port down", p.udp())
	}
	switch t.proto {
	case pkt.ProtoUDP:
		return c.is("udp down", p.udp())
	case pkt.ProtoICMP, pkt.ProtoICMPv6:
		return c.is("echo down", p.echo(false))
	}
	switch {
	case !t.answered:
		t.answered = true
		t.clientSeq++
		p.payload = nil
		b := p.tcp(g.Chance, pkt.SYN|pkt.ACK, t.originSeq, t.clientSeq)
		t.originSeq++
		return c.is("syn-ack down", b)
	case !g.once(25):
		return c.is("tcp down", g.segment(&p, &t.originSeq, t.clientSeq, &t.originFar, &t.clientFar))
	}
	return c.is("odd tcp down", g.oddSegment(&p, t, t.originSeq, t.clientSeq))
}

// segment is a plain segment: new payload mostly, or some again, or an
// acknowledgement that is late.
func (g *traffic) segment(p *builder, seq *uint32, ack uint32, far, theirs *uint32) []byte {
	flags := uint8(pkt.ACK)
	if g.once(3) {
		flags |= pkt.PSH
	}
	from := *seq
	switch {
	case g.once(60):
		*far = from + 1<<30 + one[uint32](g.Chance, 0, 0, 1)
		from = *far - uint32(len(p.payload))
	case g.once(8):
		from = g.near(from)
	default:
		*seq += uint32(len(p.payload))
	}
	switch {
	case *theirs != 0:
		ack, *theirs = *theirs, 0
	case g.once(8):
		ack = g.near(ack)
	}
	return p.tcp(g.Chance, flags, from, ack)
}

// oddSegment has flags and numbers as they come.
func (g *traffic) oddSegment(p *builder, t *talk, seq, ack uint32) []byte {
	flags := g.flags()
	t.closed = t.closed || flags&(pkt.FIN|pkt.RST) != 0
	return p.tcp(g.Chance, flags, g.near(seq), g.near(ack))
}

// is names a packet.
func (c *packetCase) is(name string, packet []byte) []byte {
	c.names = append(c.names, name)
	return packet
}

// near is a sequence number close to another, or at the edges of what TCP can
// have in flight.
func (g *traffic) near(seq uint32) uint32 {
	return seq + one(g.Chance, 0, 1, 0xffffffff, uint32(g.IntN(3000)), -uint32(g.IntN(3000)), 1<<30, 1<<30-uint32(g.IntN(1500)), 1<<30+1, 1<<31, 1<<31-1)
}

func (g *traffic) flags() uint8 {
	return one[uint8](g.Chance, pkt.FIN|pkt.ACK, pkt.RST, pkt.RST|pkt.ACK, pkt.SYN, pkt.SYN|pkt.ACK, 0, pkt.PSH, pkt.ACK|pkt.URG, pkt.ACK, pkt.FIN, 0xff)
}

func (g *traffic) ttl() uint8 {
	if g.once(6) {
		return one[uint8](g.Chance, 0, 1, 2, 3, 255)
	}
	return 64
}

// payload is of a size that matters: none, odd, around what the tunnel holds.
func (g *traffic) payload(ramp ident.OnRamp) []byte {
	r := onRamp(ramp)
	n := one(g.Chance, 0, 1, 2, 3, g.IntN(100), r.StandardMTU()-one(g.Chance, 20, 28, 40, 48, 60)+one(g.Chance, -1, 0, 1))
	if g.w.Offloads && g.once(4) {
		n = g.IntN(16000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// byOnRamp is the client's packet as it reaches this server: out of the tunnel,
// or handed over.
func (g *traffic) byOnRamp(c *packetCase, t *talk, inner []byte) []byte {
	ramp := t.ramp
	switch {
	case ramp == rampGroup && g.once(4):
		ramp = rampBackup
	case ramp == rampTuple && g.once(4):
		ramp = rampTuple2
	case g.once(30):
		ramp = rampFirst + ident.OnRamp(g.IntN(int(ramps-rampFirst)))
	}
	r := onRamp(ramp)
	if !t.kept && r.Local.Is4() && ramp != rampPlain && !g.once(5) {
		return gre(r.Remote, r.Local, r.Key, inner)
	}
	if ramp == ramp6 && !t.kept {
		return gre(r.Remote, r.Local, r.Key, inner)
	}
	return g.handedOver(steer.Context{OnRamp: ramp, Hops: uint8(1 + g.IntN(steer.MaxHops)), SecondHop: t.kept != g.once(20)}, inner)
}

// byInternet is the remote end's packet as it reaches this server.
func (g *traffic) byInternet(c *packetCase, inner []byte) []byte {
	if g.once(3) {
		return g.handedOver(steer.Context{Hops: uint8(1 + g.IntN(steer.MaxHops)), SecondHop: g.once(20)}, inner)
	}
	return inner
}

func (g *traffic) handedOver(context steer.Context, inner []byte) []byte {
	from := 1 + g.IntN(len(g.w.Config.Servers)-1)
	key := context.Key()
	return gre(g.w.Config.Servers[from].Handover, g.w.Config.Servers[0].Handover, &key, inner)
}

// learn follows what the law did with a packet.
func (g *traffic) learn(c *packetCase, r *Result) {
	for i := range r.Events {
		e := &r.Events[i]
		if e.Kind == hub.FlowStart && c.up && e.Session.Tuple.Src == c.talk.client && e.Session.Tuple.Dst == c.talk.remote && c.talk.proto == e.Session.Tuple.Proto {
			c.talk.egress = e.Session.Egress
			c.talk.answered = false
		}
	}
}

// put16 and get16 are big endian.
func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }
func get16(b []byte) uint16    { return binary.BigEndian.Uint16(b) }
