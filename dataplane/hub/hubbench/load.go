// Package hubbench measures the hub beside a plain look-up, in one run
// (interleaved, medians). It reads no clock of its own: the
// caller passes one.
package hubbench

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Batch is how many packets one call handles.
const Batch = hub.BatchMax

// destinations spread the flows over remote ends, so that ports suffice.
const destinations = 4096

// greHeader is where the inner packet starts.
const greHeader = 24

// Load is a hub with flows, and batches of packets for it. Fill a batch, then
// hand it to the hub: only the second is the hub's work.
type Load struct {
	Hub *hub.Hub
	Out hub.Out
	// Now is the time of all packets.
	Now vt.Instant

	six       bool // flows are of IPv6
	templates templates
	flows     []netip.AddrPort // egress by flow number
	state     uint64           // of the sequence of random flows
	fresh     int              // the next flow number that is not live
	data      [Batch][]byte
	in        []hub.Packet
	table     bart.Table[uint32] // of the baseline
	// bytes is the heap that each of the first flows took, held how many there
	// were.
	bytes float64
	held  uint64
	meta  pkt.Meta
}

// NewLoad makes a hub with that many established TCP flows, of IPv6 if six, and
// a plain routing table of that many prefixes.
func NewLoad(flows int, six bool) (*Load, error) {
	o := hubtest.Options{Datacenters: 1, Servers: 1, Addresses: 4, Sites: 2, ARR: hubtest.All, Edit: func(c *hub.Config) {
		c.Trace = false
		c.Bounds.Flows = 4*flows + 1<<20
	}}
	c := o.Config()
	l := &Load{six: six, templates: newTemplates(c, six), flows: make([]netip.AddrPort, flows), in: make([]hub.Packet, Batch), fresh: flows}
	h, err := hub.New(c)
	if err != nil {
		return nil, err
	}
	l.Hub = h
	for i := range l.data {
		l.data[i] = make([]byte, 128)
	}
	before := heap()
	for i := range flows {
		if err := l.establish(i); err != nil {
			return nil, err
		}
	}
	l.bytes, l.held = float64(heap()-before)/float64(flows), l.Hub.Counters().Flows
	for i := range flows {
		client := l.ends(i).Src.Addr()
		l.table.Insert(netip.PrefixFrom(client, client.BitLen()), uint32(i))
	}
	return l, nil
}

// ends are the client and origin of flow i. Client addresses are all different.
func (l *Load) ends(i int) hubtest.IP {
	h := flow.Mix(uint64(i) + 1)
	client, origin := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}, [4]byte{100, 128, byte(h >> 24 % (destinations / 256)), byte(h >> 32)}
	src, dst := netip.AddrFrom4(client), netip.AddrFrom4(origin)
	if l.six {
		src, dst = within("fd00::", client), within("2001:db8:1::", origin)
	}
	return hubtest.IP{Src: netip.AddrPortFrom(src, 1024|uint16(h)), Dst: netip.AddrPortFrom(dst, 443)}
}

// within is the IPv6 address of a /96 with these last bytes.
func within(prefix string, last [4]byte) netip.Addr {
	b := netip.MustParseAddr(prefix).As16()
	copy(b[12:], last[:])
	return netip.AddrFrom16(b)
}

// establish takes flow i through its handshake.
func (l *Load) establish(i int) error {
	l.outbound(0, i, syn)
	l.Run(1)
	if len(l.Out.Send) != 1 {
		return fmt.Errorf("hubbench: flow %d of %d was refused", i+1, len(l.flows))
	}
	var m pkt.Meta
	m.Parse(l.Out.Send[0].Data)
	l.flows[i] = netip.AddrPortFrom(m.Src, m.SrcPort)
	l.inbound(0, i, synAck)
	l.Run(1)
	l.outbound(0, i, ack)
	l.Run(1)
	return nil
}

// kind is a sort of packet; the values index templates.
type kind uint8

const (
	syn kind = iota
	synAck
	ack
	kinds
)

var flagsOf = [kinds]hubtest.Flags{syn: {SYN: true}, synAck: {SYN: true, ACK: true}, ack: {ACK: true}}

// templates are packets without addresses, bare and in GRE.
type templates struct{ bare, tunnelled [kinds][]byte }

func newTemplates(c hub.Config, six bool) (t templates) {
	zero := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if six {
		zero = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	for k, f := range flagsOf {
		p := hubtest.IP{Src: zero, Dst: zero}
		if kind(k) == ack {
			p.Payload = make([]byte, 20)
		}
		t.bare[k] = p.TCP(f, 1, 2, 0)
		t.tunnelled[k] = hubtest.GRE(c.OnRamps[0].Remote, hubtest.Tunnel, nil, t.bare[k])
	}
	return t
}

// put writes a packet from template into a place of the batch; the packet
// itself starts at inner.
func (l *Load) put(place int, template []byte, inner int, src, dst netip.AddrPort) {
	b := l.data[place][:len(template)]
	copy(b, template)
	var m pkt.Meta
	m.Parse(b[inner:])
	m.SetSrc(b[inner:], src.Addr(), src.Port(), pkt.Offload{})
	m.SetDst(b[inner:], dst.Addr(), dst.Port(), pkt.Offload{})
	l.in[place] = hub.Packet{Data: b}
}

func (l *Load) outbound(place, i int, k kind) {
	p := l.ends(i)
	l.put(place, l.templates.tunnelled[k], greHeader, p.Src, p.Dst)
}

func (l *Load) inbound(place, i int, k kind) {
	l.put(place, l.templates.bare[k], 0, l.ends(i).Dst, l.flows[i])
}

// random is the next of a fixed sequence of flows.
func (l *Load) random() int {
	l.state++
	return int(flow.Mix(l.state) >> 1 % uint64(len(l.flows)))
}

// Hits fills the batch with data packets of live flows from the on-ramp.
func (l *Load) Hits() {
	for i := range Batch {
		l.outbound(i, l.random(), ack)
	}
}

// Returns fills the batch with replies to live flows.
func (l *Load) Returns() {
	for i := range Batch {
		l.inbound(i, l.random(), ack)
	}
}

// Misses fills the batch with the first packets of flows not seen before.
func (l *Load) Misses() {
	for i := range Batch {
		l.outbound(i, l.fresh, syn)
		l.fresh++
	}
}

// Drops fills the batch with replies that nobody asked for.
func (l *Load) Drops() {
	for i := range Batch {
		f := l.random()
		l.put(i, l.templates.bare[ack], 0, netip.AddrPortFrom(l.ends(f).Dst.Addr(), 80), l.flows[f])
	}
}

// Run hands the first n packets of the batch to the hub.
func (l *Load) Run(n int) {
	l.Out.Reset()
	l.Hub.HandleBatch(l.Now, l.in[:n], &l.Out)
}

// Lookups does what plain forwarding cannot do without: for each packet of the
// batch, read the header and look up its source in a table of as many prefixes
// as there are flows. It returns how many were found.
func (l *Load) Lookups() (found int) {
	for i := range l.in {
		l.meta.Parse(l.in[i].Data[greHeader:])
		if _, ok := l.table.Lookup(l.meta.Src); ok {
			found++
		}
	}
	return found
}
