package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

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

// Branch is the pair of programs of one tunnel.
type Branch struct {
	objects branchObjects
	netlink *netlink.Handle // into the tunnel's namespace
	filters []netlink.Filter
}

// AttachBranch loads the tunnel's programs and attaches them in the calling
// thread's network namespace: one to the tunnel's peer, one to the WAN. Several
// tunnels may share a WAN; each program takes what is its own. Close, or the
// namespace's end, detaches them.
func AttachBranch(o BranchOptions) (*Branch, error) {
	b := new(Branch)
	if err := b.load(o); err != nil {
		return nil, fmt.Errorf("load branch programs: %w", err)
	}
	if err := b.attach(o); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Branch) load(o BranchOptions) error {
	spec, err := loadBranch()
	if err != nil {
		return err
	}
	if err := o.setKnobs(spec); err != nil {
		return err
	}
	return spec.LoadAndAssign(&b.objects, nil)
}

// setKnobs fills the programs' constants before the verifier sees them.
func (o *BranchOptions) setKnobs(spec *ebpf.CollectionSpec) error {
	if !o.Local.Is4() || !o.Remote.Is4() {
		return fmt.Errorf("%w: %v > %v", ErrFamily, o.Local, o.Remote)
	}
	var key [4]byte
	var hasKey uint8
	if o.Key != nil {
		hasKey = 1
		binary.BigEndian.PutUint32(key[:], *o.Key)
	}
	knobs := []struct {
		name  string
		value any
	}{
		{branchVarTunnelLocal, o.Local.As4()},
		{branchVarTunnelRemote, o.Remote.As4()},
		{branchVarTunnelKey, key},
		{branchVarTunnelHasKey, hasKey},
		{branchVarTunnelMss, tunnel.MSS(o.MTU)},
		{branchVarTunnelMss6, tunnel.MSS6(o.MTU)},
		{branchVarWanIfindex, uint32(o.WAN)},
		{branchVarGreIfindex, uint32(o.Tunnel)},
	}
	for _, k := range knobs {
		if err := spec.Variables[k.name].Set(k.value); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	for name, mac := range map[string]net.HardwareAddr{
		branchVarWanMac: o.WANMAC, branchVarGatewayMac: o.GatewayMAC,
		branchVarGreMac: o.TunnelMAC, branchVarPeerMac: o.TunnelPeerMAC,
	} {
		if len(mac) != 6 {
			return fmt.Errorf("%s is %q, want 6 bytes", name, mac)
		}
		if err := spec.Variables[name].Set([6]byte(mac)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

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
		{b.objects.FromTunnel, o.WAN},
		{b.objects.IntoTunnel, o.TunnelPeer},
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
		Fd:          program.FD(), Name: program.String(), DirectAction: true,
	}
	if err := b.netlink.FilterAdd(f); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	b.filters = append(b.filters, f)
	return nil
}

// SetMTU changes the MTU that TCP's MSS is clamped to, while the programs run.
func (b *Branch) SetMTU(mtu int) error {
	return errors.Join(b.objects.TunnelMss.Set(tunnel.MSS(mtu)), b.objects.TunnelMss6.Set(tunnel.MSS6(mtu)))
}

// Counters reads what the programs counted.
func (b *Branch) Counters() (Counters, error) { return readCounters(b.objects.Counters) }

// Close detaches and unloads the programs. It is idempotent.
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
	return errors.Join(append(errs, b.objects.Close())...)
}
