package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// BranchOptions describe one GRE tunnel of a branch router. Indexes are of the
// calling thread's namespace. All fields but Key are required.
type BranchOptions struct {
	// Local is the branch's WAN address, Remote the anycast tunnel address; IPv4.
	Local, Remote netip.Addr
	// Key is the GRE key; nil means none, and then a packet with one is not ours.
	Key *uint32
	// MTU of the tunnel, bytes: TCP's MSS is clamped to what it leaves.
	MTU int
	// WAN is the interface outer packets leave by, with its MAC and the next hop's.
	WAN                int
	WANMAC, GatewayMAC net.HardwareAddr
	// Tunnel is the device the kernel routes into (gre1), TunnelPeer the other
	// end of its veth pair (gre1x).
	Tunnel, TunnelPeer       int
	TunnelMAC, TunnelPeerMAC net.HardwareAddr
}

// branchTunnels is how many share programs.
const branchTunnels = 64

// Branches attaches the tunnels of many branch routers. They share programs, which
// the kernel checks once for 64 of them. Programs are loaded when there is no room
// for a tunnel, and unloaded with the last of theirs. The zero value is ready; it is
// safe for concurrent use.
type Branches struct {
	mu     sync.Mutex
	latest *branchSet // nil if there is none
}

// branchSet is a pair of programs: how many tunnels it was given, and how many use it.
type branchSet struct {
	objects     branchObjects
	given, used uint32
}

// Branch is one tunnel.
type Branch struct {
	all     *Branches
	set     *branchSet
	number  uint32 // in set
	left    bool   // closed; the lock of all guards it
	tunnel  branchTunnel
	netlink *netlink.Handle // into the tunnel's namespace
	filters []netlink.Filter
}

// Attach attaches programs for a tunnel in the calling thread's network namespace:
// one to the tunnel's peer, one to the WAN. Several tunnels may share a WAN; each
// takes what is its own. Close, or the namespace's end, detaches them.
func (s *Branches) Attach(o BranchOptions) (*Branch, error) {
	b, err := s.load(o)
	if err != nil {
		return nil, fmt.Errorf("load branch programs: %w", err)
	}
	if err := b.attach(o); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// load makes a tunnel ready, and loads programs for it if it must.
func (s *Branches) load(o BranchOptions) (*Branch, error) {
	b := &Branch{all: s}
	var err error
	if b.tunnel, err = o.tunnel(); err != nil {
		return nil, err
	}
	if err := s.take(b); err != nil {
		return nil, err
	}
	if err := b.write(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// take gives a tunnel a number. None is given twice: packets of a tunnel that was
// just detached may still be in the programs.
func (s *Branches) take(b *Branch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || s.latest.given == branchTunnels {
		set := new(branchSet)
		if err := set.load(); err != nil {
			return err
		}
		s.latest = set
	}
	b.set, b.number = s.latest, s.latest.given
	b.set.given++
	b.set.used++
	return nil
}

func (s *branchSet) load() error {
	spec, err := loadBranch()
	if err != nil {
		return err
	}
	spec.Maps[branchMapTunnels].MaxEntries = branchTunnels
	spec.Maps[branchMapCounters].MaxEntries = branchTunnels * uint32(counterCount)
	return spec.LoadAndAssign(&s.objects, nil)
}

// leave unloads the programs of the last tunnel that used them.
func (s *Branches) leave(b *Branch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.left {
		return nil
	}
	b.left = true
	if b.set.used--; b.set.used > 0 {
		return nil
	}
	if s.latest == b.set {
		s.latest = nil
	}
	return b.set.objects.Close()
}

// tunnel is what the programs know of it.
func (o *BranchOptions) tunnel() (t branchTunnel, err error) {
	if !o.Local.Is4() || !o.Remote.Is4() {
		return t, fmt.Errorf("%w: %v > %v", ErrFamily, o.Local, o.Remote)
	}
	t = branchTunnel{
		Local: wire4(o.Local), Remote: wire4(o.Remote), WanIfindex: uint32(o.WAN), GreIfindex: uint32(o.Tunnel),
		Mss: tunnel.MSS(o.MTU), Mss6: tunnel.MSS6(o.MTU),
	}
	if o.Key != nil {
		t.HasKey = 1
		var key [4]byte
		binary.BigEndian.PutUint32(key[:], *o.Key)
		t.Key = binary.NativeEndian.Uint32(key[:])
	}
	for _, m := range []struct {
		name string
		from net.HardwareAddr
		to   *[6]uint8
	}{
		{"WANMAC", o.WANMAC, &t.WanMac}, {"GatewayMAC", o.GatewayMAC, &t.GatewayMac},
		{"TunnelMAC", o.TunnelMAC, &t.GreMac}, {"TunnelPeerMAC", o.TunnelPeerMAC, &t.PeerMac},
	} {
		if len(m.from) != 6 {
			return t, fmt.Errorf("%s is %q, want 6 bytes", m.name, m.from)
		}
		*m.to = [6]uint8(m.from)
	}
	return t, nil
}

// write tells the programs.
func (b *Branch) write() error { return put(b.set.objects.Tunnels, b.number, &b.tunnel) }

// attach hangs the programs into clsact: one filter each, so that tunnels share a WAN.
//
// tcx would take them away with the process, but each time that it attaches or
// detaches a program the kernel waits for all processors, with the lock of all
// networks held: 10 ms and more, four times a tunnel, during which no link of any
// lab comes up. A filter waits for nobody, and goes with its namespace.
func (b *Branch) attach(o BranchOptions) (err error) {
	if b.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	for _, p := range []struct {
		program *ebpf.Program
		ifindex int
	}{
		{b.set.objects.FromTunnel, o.WAN},
		{b.set.objects.IntoTunnel, o.TunnelPeer},
	} {
		if err := b.filter(p.program, p.ifindex, uint32(o.TunnelPeer)); err != nil {
			return fmt.Errorf("attach to interface %d: %w", p.ifindex, err)
		}
	}
	return nil
}

// filter has a program see what arrives at an interface; id tells it from others there.
func (b *Branch) filter(program *ebpf.Program, ifindex int, id uint32) error {
	err := b.netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}})
	if err != nil && !errors.Is(err, unix.EEXIST) { // of another tunnel's
		return fmt.Errorf("clsact: %w", err)
	}
	f := &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: ifindex, Parent: netlink.HANDLE_MIN_INGRESS, Handle: id, Protocol: unix.ETH_P_ALL, Priority: 1},
		Fd:          program.FD(), Name: program.String(), DirectAction: true, ClassId: b.number,
	}
	if err := b.netlink.FilterAdd(f); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	b.filters = append(b.filters, f)
	return nil
}

// SetMTU changes the MTU that TCP's MSS is clamped to, while the programs run. It is
// for one goroutine at a time.
func (b *Branch) SetMTU(mtu int) error {
	b.tunnel.Mss, b.tunnel.Mss6 = tunnel.MSS(mtu), tunnel.MSS6(mtu)
	return b.write()
}

// Counters reads what the programs counted for the tunnel.
func (b *Branch) Counters() (Counters, error) {
	return readCounters(b.set.objects.Counters, b.number*uint32(counterCount))
}

// Close detaches the tunnel's programs. It is idempotent.
func (b *Branch) Close() error {
	var errs []error
	for _, f := range b.filters {
		if err := b.netlink.FilterDel(f); !errors.Is(err, unix.ENODEV) { // gone, with the filter
			errs = append(errs, err)
		}
	}
	b.filters = nil
	if b.netlink != nil {
		b.netlink.Close()
		b.netlink = nil
	}
	errs = append(errs, b.all.leave(b))
	return errors.Join(errs...)
}
