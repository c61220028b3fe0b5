package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

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
	links   []link.Link
}

// AttachBranch loads the tunnel's programs and attaches them in the calling
// thread's network namespace: one to the tunnel's peer, one to the WAN. Several
// tunnels may share a WAN; each program takes what is its own. Close, or the
// process's death, detaches them.
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

func (b *Branch) attach(o BranchOptions) error {
	for _, p := range []struct {
		program *ebpf.Program
		ifindex int
	}{
		{b.objects.FromTunnel, o.WAN},
		{b.objects.IntoTunnel, o.TunnelPeer},
	} {
		l, err := link.AttachTCX(link.TCXOptions{Program: p.program, Interface: p.ifindex, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return fmt.Errorf("attach to interface %d: %w", p.ifindex, err)
		}
		b.links = append(b.links, l)
	}
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
	for _, l := range b.links {
		errs = append(errs, l.Close())
	}
	b.links = nil
	return errors.Join(append(errs, b.objects.Close())...)
}
