// Package connected is the outer end of connected tunnels: those of client
// devices and of connectors (SEMANTICS 4.1).
//
// As for GRE the kernel routes into one end of a veth pair (dev1), so routing,
// TTL and "fragmentation needed" are the kernel's own. What comes out of the
// other end (dev1x) goes to the nearest server as UDP datagrams from a connected
// socket, each exactly one bare packet; the first datagram is the context, and
// nothing else goes before the server has accepted it. What the server sends is
// put on the tunnel interface. A connector that translates sources does that
// here too, with dataplane/connector.
//
// It chooses no virtual network and no time: the plan does. Its law: a packet
// of a tunnel is sent, or waits for the server's answer in a bounded queue, or
// is counted as dropped.
package connected

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/connected"
	"github.com/homeward-lab/homeward/dataplane/connector"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/loop"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Feature says what the tunnels need of the kernel, for people and run.json.
const Feature = "UDP from userspace on a veth pair"

// Options say how Attach works. The zero value is good.
type Options struct {
	// Seed keys the ports that a connector translates to, Timeouts are its flows'
	// lifetimes; all zero means connector.DefaultTimeouts.
	Seed     uint64
	Timeouts flow.Timeouts
}

// Tunnel is an attached tunnel. Its methods are safe for concurrent use.
type Tunnel struct {
	plan   plan.BranchTunnel
	pump   *pump
	loop   *loop.Loop
	finish func() error
}

// Attach brings the tunnel b to life in the namespace ns, where its veth pair
// and its way to the servers exist and are up. It begins to ask the server and
// does not wait: see Ready. The result holds everything it attached; Close, or
// the death of the process, ends it.
func Attach(ns *netns.NS, b plan.BranchTunnel, o Options) (*Tunnel, error) {
	if b.Connect == nil {
		return nil, fmt.Errorf("tunnel %s: of kind %s, want a connected one (device or connector)", b.Name, b.Kind)
	}
	t := &Tunnel{plan: b}
	err := ns.Do(func() (err error) {
		t.pump, err = newPump(&t.plan, o)
		return err
	})
	if err == nil {
		if t.loop, err = loop.Start(t.pump); err != nil {
			err = errors.Join(err, t.pump.release())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("tunnel %s: %w", b.Name, err)
	}
	t.finish = sync.OnceValue(func() error {
		err := t.loop.Stop()
		t.pump.overflows()
		return errors.Join(err, t.pump.release())
	})
	return t, nil
}

// Watch has a log told when the tunnel came late to packets (loop.Loop.Watch).
func (t *Tunnel) Watch(log *late.Log, zero time.Time) { t.loop.Watch(log, zero) }

// ErrRefused is a server's final answer to a context.
var ErrRefused = errors.New("the server refused its context")

// Ready waits until a server has accepted the tunnel, so that no first packet
// has to wait. The error is ErrRefused, or says that nobody answered before ctx
// was over.
func (t *Tunnel) Ready(ctx context.Context) error {
	var err error
	select {
	case <-t.pump.answered:
	case <-t.loop.Done():
		err = errors.Join(errors.New("it is closed"), t.loop.Err())
	case <-ctx.Done():
		err = fmt.Errorf("no server answered at %v port %d: %w", t.plan.Remote, t.plan.Connect.Port, context.Cause(ctx))
	}
	switch connected.State(t.pump.said.Load()) {
	case connected.Accepted:
		return nil
	case connected.Refused:
		err = ErrRefused
	}
	return fmt.Errorf("tunnel %s from %v: %w", t.plan.Name, t.plan.Local, err)
}

// Begin says when traffic starts: the plan's switches of the virtual network
// are counted from there. It is not called after Close.
func (t *Tunnel) Begin(start time.Time) {
	t.pump.begins.Store(int64(start.Sub(t.pump.birth)))
	t.loop.Ring()
}

// Counters are totals by name, zeros absent; names with "drop_" are losses.
func (t *Tunnel) Counters() map[string]uint64 { return t.pump.totals() }

// Close ends the tunnel and returns the error that had ended it before, if one
// did. It is idempotent.
func (t *Tunnel) Close() error { return t.finish() }

func newClient(c *plan.Connect) (*connected.Client, error) {
	var later []connected.Switch
	for i := range c.Switch {
		later = append(later, connected.Switch{At: c.Switch[i].At, Context: &c.Switch[i].Context})
	}
	return connected.New(&c.Context, later...)
}

// newPump opens everything in the calling thread's namespace.
func newPump(b *plan.BranchTunnel, o Options) (*pump, error) {
	c, err := newClient(b.Connect)
	if err != nil {
		return nil, err
	}
	outer := tunnel.Encap{Src: b.Local, Dst: b.Remote, Proto: tunnel.ViaUDP}
	p := &pump{
		client: c, name: b.Interface, mtu: b.MTU, fit: b.MTU, head: outer.Overhead(), look: vt.Never, birth: time.Now(),
		waiting: queue{size: b.MTU}, answered: make(chan struct{}),
	}
	if b.Inner6.IsValid() {
		p.least = pathmtu.Least6 // with less, an interface has no IPv6 at all
	}
	p.begins.Store(int64(vt.Never))
	if b.Connect.NAT.IsValid() {
		p.nat = connector.New(connector.Config{Address: b.Connect.NAT, Seed: o.Seed, Timeouts: o.Timeouts})
	}
	if err := p.open(b); err != nil {
		return nil, errors.Join(err, p.release())
	}
	return p, nil
}

func (p *pump) open(b *plan.BranchTunnel) error {
	outside, err := net.InterfaceByName(b.Interface)
	if err != nil {
		return fmt.Errorf("interface %q: %w", b.Interface, err)
	}
	peer, err := net.InterfaceByName(b.Interface + wire.PeerSuffix)
	if err != nil {
		return fmt.Errorf("interface's peer %q: %w", b.Interface+wire.PeerSuffix, err)
	}
	if p.nat != nil {
		if err := takeOver(b.Connect.NAT, b.PeerOf(b.Connect.NAT), outside); err != nil {
			return err
		}
	}
	for i := range p.client.Beginnings() {
		fd, err := udp.Open(netip.AddrPortFrom(b.Local, b.Connect.SourcePort(i)))
		if err != nil {
			return err
		}
		p.sockets, p.losses = append(p.sockets, fd), append(p.losses, 0)
		if err := udp.Connect(fd, netip.AddrPortFrom(b.Remote, b.Connect.Port)); err != nil {
			return err
		}
	}
	if p.inside, err = afpacket.Listen(peer.Index); err != nil {
		return err
	}
	p.rx = afpacket.NewReceiver(p.inside)
	p.tx = afpacket.NewSender(p.inside, peer.HardwareAddr, outside.HardwareAddr)
	p.buffers = make([][]byte, afpacket.Batch)
	for i := range p.buffers {
		p.buffers[i] = make([]byte, max(b.MTU, tunnel.MaxContext)+1) // one more shows what is too long
	}
	return nil
}

// release closes what is open.
func (p *pump) release() error {
	var errs []error
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inside != nil {
		errs = append(errs, p.inside.Close())
		p.inside = nil
	}
	for _, fd := range p.sockets {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	p.sockets = nil
	return errors.Join(errs...)
}
