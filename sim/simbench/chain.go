package simbench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/sim/link"
	"github.com/homeward-lab/homeward/sim/node"
	"github.com/homeward-lab/homeward/sim/packet"
)

// Of the chain, here and in ns3/ns3.cc: links of 10 Gbit/s and 1 ms, one packet
// each microsecond. ns-3 counts the two bytes of PPP framing, this simulator IP
// alone: its datagrams are as much longer, so that links are as busy.
const (
	chainHops    = 8
	chainPackets = 50_000
	manyPackets  = 10_000 // of many flows, with which ns-3 takes its time
	chainRate    = 10_000_000_000
	chainDelay   = time.Millisecond
	chainQueue   = 10_000 * chainSize
	chainSize    = pkt.IPv4Header + pkt.UDPHeader + 1000 + 2
	chainPort    = 5000
	chainMTU     = 1500
)

// Kinds of the chain's events.
const (
	kindSend engine.Kind = iota
	kindWire
)

// arrivals are what came to the end of a chain.
type arrivals struct {
	n, sum uint64 // sum of their times, ns
	last   vt.Instant
}

// chain is a host, routers, and a host at the end that counts: the simulator's
// own nodes and wires.
type chain struct {
	engine  *engine.Engine
	pool    packet.Pool
	nodes   []*node.Node
	wires   []*link.Wire
	flows   []chainFlow
	packets int
	got     arrivals
}

type chainFlow struct {
	sent     int
	template []byte // headers; payload is a length
}

// newChain makes a chain of so many links, with flows that send their packets in
// turn.
func newChain(q engine.Queue, hops, flows, packets int) (*chain, error) {
	c := &chain{engine: engine.New(engine.Options{Queue: q}), flows: make([]chainFlow, flows), packets: packets}
	to := netip.AddrFrom4([4]byte{10, 0, 0, byte(4*(hops-1) + 2)})
	for i := range hops + 1 {
		c.nodes = append(c.nodes, node.New(fmt.Sprint("n", i), &c.pool, 1, true))
	}
	for i := range hops {
		net := netip.AddrFrom4([4]byte{10, 0, 0, byte(4 * i)})
		timer := c.engine.NewTimer(1, engine.Entity(i), kindWire, uint32(i))
		w, err := link.New(c.engine, &c.pool, timer, impair.Config{Rate: chainRate, Delay: chainDelay, Queue: chainQueue}, impair.NewStream(1, fmt.Sprint(i), impair.AB))
		if err != nil {
			return nil, err
		}
		w.SetMTU(chainMTU)
		c.wires = append(c.wires, w)
		c.nodes[i].AddAddress(net.Next())
		c.nodes[i+1].AddAddress(net.Next().Next())
		for j := i; j < hops; j++ { // a route to each net ahead, as ns-3's global routing has
			c.nodes[i].AddRoute(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(4 * j)}), 30), w)
		}
	}
	c.nodes[hops].SetStack(c)
	for f := range flows {
		c.flows[f].template = datagram(netip.AddrFrom4([4]byte{10, 0, 0, 1}), to, uint16(49152+f), uint16(chainPort+f))
		c.engine.At(vt.Instant(f)*vt.Instant(time.Microsecond), 2, engine.Entity(hops+f), kindSend, uint32(f))
	}
	return c, nil
}

// datagram is the headers of a UDP packet of the chain's.
func datagram(from, to netip.Addr, src, dst uint16) []byte {
	b := make([]byte, pkt.IPv4Header+pkt.UDPHeader)
	b[0], b[8], b[9] = 0x45, 64, pkt.ProtoUDP
	binary.BigEndian.PutUint16(b[2:], chainSize)
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b[:pkt.IPv4Header], 0))
	binary.BigEndian.PutUint16(b[20:], src)
	binary.BigEndian.PutUint16(b[22:], dst)
	binary.BigEndian.PutUint16(b[24:], chainSize-pkt.IPv4Header)
	return b
}

// Handle implements engine.World.
func (c *chain) Handle(ev engine.Event) {
	switch ev.Kind() {
	case kindWire:
		w, to := c.wires[ev.Arg()], c.nodes[ev.Arg()+1]
		h, more := w.Receive()
		for to.Input(h); more; to.Input(h) {
			h, more = w.Receive()
		}
	case kindSend:
		f := &c.flows[ev.Arg()]
		h, b := c.pool.NewZero(chainSize, len(f.template))
		copy(b, f.template)
		c.nodes[0].Output(h)
		if f.sent++; f.sent < c.packets {
			c.engine.At(ev.At+vt.Instant(len(c.flows))*vt.Instant(time.Microsecond), ev.Class(), ev.Entity(), kindSend, ev.Arg())
		}
	}
}

// Receive implements node.Stack.
func (c *chain) Receive(h packet.Handle, _ *pkt.Meta) {
	now := c.engine.Now()
	c.got.n++
	c.got.sum += uint64(now)
	c.got.last = now
	c.pool.Free(h)
}

func (c *chain) run() (arrivals, error) {
	err := c.engine.Run(c, engine.Horizon)
	return c.got, err
}

// chains are packets on the chain beside ns-3's, of few flows and of many. A
// row's value is for each packet and link.
func (b *Bench) chains(ctx context.Context, judge *Judge) ([]figure.Row, error) {
	few, err := b.chain(ctx, judge, "sim.chain_vs_ns3", 50, b.work(chainPackets))
	if err != nil {
		return nil, err
	}
	many, err := b.chain(ctx, judge, "sim.chain5000_vs_ns3", b.work(5000), b.work(manyPackets))
	if err != nil {
		return []figure.Row{few}, err
	}
	return []figure.Row{few, many}, nil
}

func (b *Bench) chain(ctx context.Context, judge *Judge, id string, flows, all int) (figure.Row, error) {
	packets := max(all/flows, 1)
	crossings := float64(flows * packets * chainHops)
	var own, other []float64
	equal := true
	for range b.Rounds {
		if err := context.Cause(ctx); err != nil {
			return figure.Row{}, err
		}
		c, err := newChain(nil, chainHops, flows, packets)
		if err != nil {
			return figure.Row{}, err
		}
		var got arrivals
		took, err := timed(func() (err error) { got, err = c.run(); return err })
		if err != nil {
			return figure.Row{}, err
		}
		own = append(own, float64(took)/crossings)
		if judge.Absent != "" {
			continue
		}
		want, took2, err := judge.chain(ctx, chainHops, flows, packets)
		if err != nil {
			return figure.Row{}, err
		}
		other = append(other, took2/crossings)
		equal = equal && got == want
	}
	return beside(figure.Cost(id, median(own), "ns"), judge, other, goalChain, equal), nil
}

// chain is the same by ns-3, and the time that it took, ns.
func (n *Judge) chain(ctx context.Context, hops, flows, packets int) (arrivals, float64, error) {
	got, err := n.Run(ctx, "chain", hops, flows, packets)
	return arrivals{n: got["arrivals"], sum: got["sum"], last: vt.Instant(got["last"])}, float64(got["cpu_ns"]), err
}
