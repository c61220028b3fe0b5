package interconnect

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	// receiveMost is the largest datagram taken, bytes: a server's own links hold
	// no more than 1600.
	receiveMost = 2048
)

// pump is an edge's interconnects in userspace.
type pump struct {
	seed    uint64
	head    int // what the outer header takes
	order   []*port
	ports   map[ident.OnRamp]*port
	out     [plan.InterconnectPorts]int
	opened  int // of out
	in      int
	buffers [][]byte
	cutter  afpacket.Cutter
	scratch []byte
	meta    pkt.Meta

	count [counters]atomic.Uint64
	// mu keeps counters from asking sockets that are being closed.
	mu     sync.Mutex
	losses uint64 // of in, as far as they are counted
}

// What a pump counts.
const (
	sent = iota
	received
	dropNotIP
	dropOffload
	dropJunk
	dropUnknown
	dropUnsent
	dropUndelivered
	dropOverflow
	dropNotECT
	counters
)

var countNames = [counters]string{
	"sent", "received", "drop_not_ip", "drop_offload", "drop_junk", "drop_unknown", "drop_unsent", "drop_undelivered", "drop_overflow", "drop_not_ect",
}

// Descriptors implements loop.Worker.
func (p *pump) Descriptors(fds []int) []int {
	for _, o := range p.order {
		fds = append(fds, o.socket.Fd())
	}
	return append(fds, p.in)
}

// Patience implements loop.Worker: nothing is ever due.
func (p *pump) Patience() time.Duration { return -1 }

// Turn implements loop.Worker.
func (p *pump) Turn() error {
	errs := []error{p.back()}
	for _, o := range p.order {
		errs = append(errs, p.forth(o))
	}
	return errors.Join(errs...)
}

// forth takes a batch from a site's link to the servers.
func (p *pump) forth(o *port) error {
	n, err := o.rx.Receive()
	for i := range n {
		frame, h := o.rx.Frame(i)
		if !afpacket.IsIP(frame) {
			p.count[dropNotIP].Add(1)
			continue
		}
		packet := frame[afpacket.EthernetHeader:]
		off, err := h.Offload(packet)
		if err != nil || !p.cutter.Reset(packet, off) {
			p.count[dropOffload].Add(1)
			continue
		}
		out := p.out[plan.InterconnectPort(p.hash(o, packet))]
		for single := p.cutter.Next(); single != nil; single = p.cutter.Next() {
			p.wrap(o, out, single)
		}
	}
	return err
}

// hash is that of the packet's flow: all of its packets leave from one port.
func (p *pump) hash(o *port, packet []byte) uint64 {
	p.meta.Parse(packet)
	key := flow.ForwardKey(o.context.Tenant, ident.Scope(o.context.OnRamp), 0, &p.meta)
	return flow.Hash(p.seed, &key)
}

// wrap sends a packet in GUE.
func (p *pump) wrap(o *port, out int, packet []byte) {
	size := tunnel.GUEHeaderLen + len(packet)
	if cap(p.scratch) < size {
		p.scratch = make([]byte, size)
	}
	b := p.scratch[:size]
	tunnel.PutGUE(b, o.context, packet)
	copy(b[tunnel.GUEHeaderLen:], packet)
	switch _, err := udp.Send(out, b, tunnel.ECNOf(packet)); err {
	case nil:
		p.count[sent].Add(1)
		return
	case unix.EMSGSIZE:
		p.refuse(o, out, packet)
	}
	p.count[dropUnsent].Add(1)
}

// refuse tells the sender of a packet that the way to the servers does not pass
// it (RFC 1191).
func (p *pump) refuse(o *port, out int, packet []byte) {
	path, err := udp.PathMTU(out)
	p.meta.Parse(packet)
	if err != nil || !p.meta.DF || !p.meta.Blameable() {
		return
	}
	o.tx.Whole(p.meta.AppendTooBig(nil, packet, path-p.head, 0), pkt.Offload{}, 0)
	o.tx.Flush()
}

// back takes a batch of what servers sent to the sites.
func (p *pump) back() error {
	for _, b := range p.buffers {
		n, ecn, ok, err := udp.Receive(p.in, b)
		if err != nil {
			return fmt.Errorf("from the servers: %w", err)
		}
		if !ok {
			break
		}
		p.unwrap(b[:n], ecn)
	}
	undelivered := uint64(0)
	for _, o := range p.order {
		o.tx.Flush()
		undelivered += o.tx.Sent().Lost()
	}
	p.count[dropUndelivered].Store(undelivered)
	return nil
}

// unwrap puts a packet on the link of the site that its context names; ecn is what
// the datagram's header said of congestion.
func (p *pump) unwrap(datagram []byte, ecn pkt.ECN) {
	h, reason := tunnel.ParseGUE(datagram)
	if reason != drop.None || !h.Context.Return || tunnel.CheckConnected(datagram[h.Len:]) != drop.None {
		p.count[dropJunk].Add(1)
		return
	}
	o := p.ports[h.Context.OnRamp]
	if o == nil || o.context.Tenant != h.Context.Tenant {
		p.count[dropUnknown].Add(1)
		return
	}
	if !tunnel.Unwrapped(ecn, datagram[h.Len:]) {
		p.count[dropNotECT].Add(1)
		return
	}
	o.tx.Whole(datagram[h.Len:], pkt.Offload{}, 0)
	p.count[received].Add(1)
}

// overflows asks the sockets what they lost.
func (p *pump) overflows() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.order {
		if n, err := o.socket.Overflows(); err == nil {
			p.count[dropOverflow].Add(n)
		}
	}
	if p.in < 0 {
		return
	}
	if n, err := udp.Lost(p.in); err == nil {
		p.count[dropOverflow].Add(n - p.losses)
		p.losses = n
	}
}

// totals are the pump's, by name.
func (p *pump) totals() map[string]uint64 {
	p.overflows()
	all := make(map[string]uint64)
	for i := range p.count {
		if n := p.count[i].Load(); n != 0 {
			all[countNames[i]] = n
		}
	}
	return all
}
