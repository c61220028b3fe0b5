// Package branch makes the tunnels of a branch router out of veth pairs.
//
// The kernel routes into one end (gre1), so routing, TTL and "fragmentation
// needed" are the kernel's own; what comes out of the other end (gre1x) gets
// its GRE header and leaves by the WAN, and GRE from the edge is unwrapped and
// enters gre1 as received. Programs in clsact do that where they work, a loop in
// userspace where they do not: same packets, slower.
//
// It is not a GRE implementation for the open Internet: the far end is our own
// edge. Its law: a packet of a tunnel is sent, or counted as dropped.
package branch

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/pathmtu"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// IO is how packets cross between a tunnel and the WAN.
type IO string

const (
	IOAuto   IO = ""       // IOKernel where it works, else IOPlain
	IOKernel IO = "kernel" // programs in clsact
	IOPlain  IO = "plain"  // a loop in this process
)

// Options say how Attach works.
type Options struct {
	// Gateways are the next hops' addresses, by WAN. Required.
	Gateways map[string]net.HardwareAddr
	// IO is the engine; the zero value takes the best that works.
	IO IO
	// Programs are shared with other routers; nil means that they are this one's.
	Programs *bpf.Branches
}

// Tunnels are the attached tunnels of one branch router.
type Tunnels struct {
	feature string
	closers []func() error
	count   []func() (map[string]uint64, error)
	close   func() error
}

// Attach brings the tunnels of b to life in the namespace ns, where their veth
// pairs and the WAN exist and are up. The result holds everything it attached;
// Close, or the death of the process, ends it.
func Attach(ns *netns.NS, b plan.Branch, o Options) (*Tunnels, error) {
	t := new(Tunnels)
	t.close = sync.OnceValue(t.closeAll)
	err := ns.Do(func() error { return t.attach(b, o) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("branch %s: %w", b.Node, err), t.Close())
	}
	return t, nil
}

func (t *Tunnels) attach(b plan.Branch, o Options) error {
	links, err := findLinks(b, o)
	if err != nil {
		return err
	}
	if o.Programs == nil {
		o.Programs = new(bpf.Branches)
	}
	if err := t.choose(links, &o); err != nil {
		return err
	}
	p, err := watch(links)
	if err != nil {
		return err
	}
	t.closers = append(t.closers, p.Close)
	return nil
}

// choose carries the tunnels as o says, or as best as works here.
func (t *Tunnels) choose(links []*way, o *Options) error {
	if o.IO == IOPlain {
		return t.plain(links, "")
	}
	err := t.kernel(links, o.Programs)
	if err == nil || o.IO == IOKernel {
		return err
	}
	if e := t.closeAll(); e != nil {
		return errors.Join(err, e)
	}
	t.closers, t.count = nil, nil
	return t.plain(links, "; not in the kernel: "+err.Error())
}

func (t *Tunnels) kernel(links []*way, programs *bpf.Branches) error {
	t.feature = "GRE in clsact on a veth pair"
	for _, l := range links {
		p, err := programs.Attach(l.BranchOptions)
		if err != nil {
			return err
		}
		l.clamp = p.SetMTU
		t.closers = append(t.closers, p.Close)
		t.count = append(t.count, func() (map[string]uint64, error) {
			c, err := p.Counters()
			return c.Map(), err
		})
	}
	return nil
}

func (t *Tunnels) plain(links []*way, why string) error {
	t.feature = "GRE in userspace on a veth pair" + why
	for _, l := range links {
		p, err := startPump(l.BranchOptions, l.encap)
		if err != nil {
			return err
		}
		l.clamp = p.setMTU
		t.closers = append(t.closers, p.Close)
		t.count = append(t.count, p.counters)
	}
	return nil
}

// Feature says which kernel features are in use, for people and run.json.
func (t *Tunnels) Feature() string { return t.feature }

// Counters are totals over all tunnels by name, zeros absent; names with
// "drop_" are losses.
func (t *Tunnels) Counters() (map[string]uint64, error) {
	total := make(map[string]uint64)
	for _, count := range t.count {
		c, err := count()
		if err != nil {
			return nil, err
		}
		for name, n := range c {
			total[name] += n
		}
	}
	return total, nil
}

// Close detaches the tunnels. It is idempotent.
func (t *Tunnels) Close() error { return t.close() }

func (t *Tunnels) closeAll() error {
	var errs []error
	for _, c := range t.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// findLinks looks up, in the calling thread's namespace, what the plan names.
func findLinks(b plan.Branch, o Options) ([]*way, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	find := func(what, name string) (*net.Interface, error) {
		i := slices.IndexFunc(links, func(l net.Interface) bool { return l.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s: no interface %q", what, name)
		}
		return &links[i], nil
	}
	var all []*way
	for _, p := range b.Tunnels {
		name := cmp.Or(p.WAN, b.WAN)
		wan, noWAN := find("WAN", name)
		gre, noTunnel := find("tunnel", p.Interface)
		peer, noPeer := find("tunnel's peer", p.Interface+wire.PeerSuffix)
		if err := errors.Join(noWAN, noTunnel, noPeer); err != nil {
			return nil, err
		}
		w := &way{BranchOptions: bpf.BranchOptions{
			Local: p.Local, Remote: p.Remote, Key: p.Key, MTU: p.MTU,
			WAN: wan.Index, WANMAC: wan.HardwareAddr, GatewayMAC: o.Gateways[name],
			Tunnel: gre.Index, TunnelMAC: gre.HardwareAddr,
			TunnelPeer: peer.Index, TunnelPeerMAC: peer.HardwareAddr,
		}, name: p.Interface, force: p.MTU}
		w.encap = tunnel.Encap{Src: p.Local, Dst: p.Remote, TTL: tunnel.DefaultTTL}
		if p.Key != nil {
			w.encap.Key, w.encap.HasKey = *p.Key, true
		}
		if p.Inner6.IsValid() {
			w.least = pathmtu.Least6 // with less, an interface has no IPv6 at all
		}
		all = append(all, w)
	}
	return all, nil
}
