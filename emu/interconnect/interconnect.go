// Package interconnect is what a datacenter's edge does with the links of sites
// that need no tunnel (SEMANTICS 2.9, "CNI"; 4.1, "unconnected").
//
// Bare packets come in on the link, with or without a tag. The edge keeps no
// state about them, so each goes to a server in GUE, which says whose it is; what
// comes back in GUE is put bare on its site's link. All of an edge's
// interconnects share its sockets: only the contexts keep them apart (OX-3). The
// kernel of the edge takes nothing from these links, because nothing there is
// sent to its MAC address.
//
// It routes nothing, and chooses a server only by the port that a packet leaves
// from, which the network's ECMP hashes. Its law: a packet is sent, or counted
// as dropped; one that comes back reaches the site that its context names.
package interconnect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/loop"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Feature says what interconnects need of the kernel, for people and run.json.
const Feature = "GUE from userspace at the edge"

// Edge is all interconnects of one edge, attached. Its methods are safe for
// concurrent use.
type Edge struct {
	pump   *pump
	loop   *loop.Loop
	finish func() error
}

// Attach brings the interconnects of one edge to life in its namespace, where
// their links and their common address exist. The result holds everything it
// attached; Close, or the death of the process, ends it. seed keys the choice of
// ports.
func Attach(ns *netns.NS, all []plan.Interconnect, seed uint64) (*Edge, error) {
	if len(all) == 0 {
		return nil, errors.New("interconnects: none given")
	}
	e := &Edge{}
	err := ns.Do(func() (err error) {
		e.pump, err = newPump(all, seed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("interconnects of %s: %w", all[0].Edge, err)
	}
	l, err := loop.Start(e.pump)
	if err != nil {
		return nil, fmt.Errorf("interconnects of %s: %w", all[0].Edge, errors.Join(err, e.pump.release()))
	}
	e.loop = l
	e.finish = sync.OnceValue(func() error {
		err := l.Stop()
		e.pump.overflows()
		return errors.Join(err, e.pump.release())
	})
	return e, nil
}

// Watch has a log told when the edge came late to packets (loop.Loop.Watch).
func (e *Edge) Watch(log *late.Log, zero time.Time) { e.loop.Watch(log, zero) }

// Counters are totals by name, zeros absent; names with "drop_" are losses.
func (e *Edge) Counters() map[string]uint64 { return e.pump.totals() }

// Close ends it and returns the error that had ended it before, if one did. It
// is idempotent.
func (e *Edge) Close() error { return e.finish() }

// port is a site's link at the edge.
type port struct {
	context tunnel.GUEContext
	socket  *afpacket.Socket
	rx      *afpacket.Receiver
	tx      *afpacket.Sender
}

// newPump opens everything in the calling thread's namespace.
func newPump(all []plan.Interconnect, seed uint64) (*pump, error) {
	p := &pump{seed: seed, in: -1, ports: make(map[ident.OnRamp]*port, len(all))}
	if err := p.open(all); err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

func (p *pump) open(all []plan.Interconnect) error {
	local, remote := all[0].Local, all[0].Remote
	for _, i := range all {
		if i.Local != local || i.Remote != remote {
			return fmt.Errorf("%s goes from %v to %v and %s from %v to %v, want one pair of addresses", all[0].Name, local, remote, i.Name, i.Local, i.Remote)
		}
		o, err := openPort(i)
		if err != nil {
			return fmt.Errorf("%s: %w", i.Name, err)
		}
		p.order = append(p.order, o)
		p.ports[i.OnRamp] = o
	}
	outer := tunnel.Encap{Src: local, Dst: remote, Proto: tunnel.ViaGUE}
	p.head = outer.Overhead()
	to := netip.AddrPortFrom(remote, tunnel.GUEPort)
	for i := range p.out {
		source := netip.AddrPortFrom(local, plan.InterconnectSource(i))
		fd, err := udp.Open(source)
		if err != nil {
			return err
		}
		p.out[i] = fd
		p.opened++
		if err := udp.Connect(fd, to); err != nil {
			return err
		}
	}
	var err error
	if p.in, err = udp.Open(netip.AddrPortFrom(local, tunnel.GUEPort)); err != nil {
		return err
	}
	p.buffers = make([][]byte, afpacket.Batch)
	for i := range p.buffers {
		p.buffers[i] = make([]byte, receiveMost)
	}
	return nil
}

func openPort(i plan.Interconnect) (*port, error) {
	iface, err := net.InterfaceByName(i.Interface)
	if err != nil {
		return nil, fmt.Errorf("link %q: %w", i.Interface, err)
	}
	o := &port{context: tunnel.GUEContext{Tenant: i.Tenant, OnRamp: i.OnRamp}}
	if !o.context.Valid() {
		return nil, fmt.Errorf("tenant %d and on-ramp %d make no context", i.Tenant, i.OnRamp)
	}
	if o.socket, err = afpacket.ListenTagged(iface.Index, i.VLAN); err != nil {
		return nil, fmt.Errorf("link %q: %w", i.Interface, err)
	}
	o.rx = afpacket.NewReceiver(o.socket)
	o.tx = afpacket.NewTaggedSender(o.socket, i.MAC, i.SiteMAC, i.VLAN)
	return o, nil
}

// release closes what is open.
func (p *pump) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, o := range p.order {
		errs = append(errs, o.socket.Close())
	}
	for _, fd := range p.out[:p.opened] {
		errs = append(errs, unix.Close(fd))
	}
	if p.in >= 0 {
		errs = append(errs, unix.Close(p.in))
	}
	p.order, p.opened, p.in = nil, 0, -1
	return errors.Join(errs...)
}
