package hub

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// The smallest MTU an on-ramp may have (SEMANTICS 2.9) and the largest.
const (
	minMTU = 576
	maxMTU = 65535
)

func (v *view) addOnRamps() []error {
	var errs []error
	for _, o := range v.cfg.OnRamps {
		if err := v.addOnRamp(o); err != nil {
			errs = append(errs, fmt.Errorf("on-ramp %q: %w", o.Name, err))
		}
	}
	return errs
}

func (v *view) addOnRamp(o OnRamp) error {
	if err := v.checkOnRamp(&o); err != nil {
		return err
	}
	tenant := v.tenants[o.Tenant]
	r := &onRamp{
		OnRamp: o, tenant: tenant, policies: v.policies[o.Tenant], scope: v.cfg.ScopeOf(&o), mtu: o.StandardMTU(),
		local: pkt.NumberOf(o.Local), client: pkt.NumberOf(o.Client), client6: pkt.NumberOf(o.Client6),
	}
	if o.Remote.IsValid() {
		r.remote = pkt.NumberOf(o.Remote)
	}
	r.address, r.address6 = o.Routers()
	r.mss, r.mss6 = tunnel.MSS(r.mtu), tunnel.MSS6(r.mtu)
	v.ramps[o.ID] = r
	if o.BGP {
		if err := v.claim("customer's router", o.Peer, place{kind: customerRouter, ramp: r}); err != nil {
			return err
		}
	}
	return v.connectOnRamp(r)
}

// connectOnRamp says how packets come from and leave by an on-ramp.
func (v *view) connectOnRamp(r *onRamp) error {
	encap := tunnel.Encap{Src: r.Local, Dst: r.Remote, TTL: tunnel.DefaultTTL}
	switch r.Kind {
	case tunnel.Device, tunnel.Connector:
		if v.registered[r.Registration] != nil {
			return fmt.Errorf("another on-ramp has the registration %x", r.Registration)
		}
		v.registered[r.Registration] = r
		return nil
	case tunnel.Interconnect:
		encap.Proto, encap.SrcPort, encap.DstPort = tunnel.ViaGUE, tunnel.GUEPort, tunnel.GUEPort
		encap.Context = tunnel.GUEContext{OnRamp: r.ID, Tenant: r.Tenant, Return: true}
		r.exit.encap = encap
		return nil
	}
	if r.Key != nil {
		encap.Key, encap.HasKey = *r.Key, true
	}
	r.exit.encap = encap
	if v.tunnel(r.remote, r.local, encap.Key, encap.HasKey) != nil {
		return errors.New("another on-ramp has the same outer addresses and key")
	}
	r.next = v.tunnels.at(r.remote, r.local)
	v.tunnels.set(r.remote, r.local, r)
	return nil
}

// checkOnRamp refuses what is none.
func (v *view) checkOnRamp(o *OnRamp) error {
	_, known := v.tenants[o.Tenant]
	switch {
	case o.ID == 0 || o.ID > ident.MaxOnRamp || v.ramps[o.ID] != nil:
		return fmt.Errorf("want an id of its own from 1 to %d, got %d", ident.MaxOnRamp, o.ID)
	case !known:
		return fmt.Errorf("tenant %d does not exist", o.Tenant)
	case v.tenants[o.Tenant].Legacy && o.ARR:
		return ErrLegacyARR
	case o.VNet == 0 || o.Scope == 0:
		return fmt.Errorf("want a vnet and a scope, got %d and %d", o.VNet, o.Scope)
	case o.Address.IsValid() && !o.Address.Is4(), o.Address6.IsValid() && (!o.Address6.Is6() || o.Address6.Is4In6()):
		return fmt.Errorf("want an IPv4 and an IPv6 address inside the tunnel, got %v and %v", o.Address, o.Address6)
	case o.MTU != 0 && (o.MTU < minMTU || o.MTU > maxMTU):
		return fmt.Errorf("want an MTU from %d to %d, got %d", minMTU, maxMTU, o.MTU)
	case !o.Local.IsValid():
		return errors.New("want a local outer address")
	}
	if err := errors.Join(o.checkProbing(), o.checkSpeaking()); err != nil {
		return err
	}
	at := v.local.at(pkt.NumberOf(o.Local)).kind
	switch o.Kind {
	case tunnel.GRE, tunnel.Interconnect:
		want, what := tunnelAddress, "tunnel address"
		if o.Kind == tunnel.Interconnect {
			want, what = unconnectedAddress, "unconnected address"
		}
		switch {
		case o.Local.Is4() != o.Remote.Is4() || !o.Remote.IsValid() || o.Remote.Is4In6():
			return fmt.Errorf("want outer addresses of one family, got %v and %v", o.Local, o.Remote)
		case at != want:
			return fmt.Errorf("%v is no %s", o.Local, what)
		}
	case tunnel.Device, tunnel.Connector:
		switch {
		case at != tunnelAddress:
			return fmt.Errorf("%v is no tunnel address", o.Local)
		case o.Remote.IsValid():
			return fmt.Errorf("a %s connects from anywhere, got the outer address %v", o.Kind, o.Remote)
		case o.Registration == Registration{}:
			return errors.New("want a registration")
		case o.Kind == tunnel.Device && !o.Client.IsValid() && !o.Client6.IsValid():
			return errors.New("want the device's own address")
		}
	default:
		return fmt.Errorf("want kind %q, %q, %q or %q, got %q", tunnel.GRE, tunnel.Interconnect, tunnel.Device, tunnel.Connector, o.Kind)
	}
	return nil
}

// ScopeOf is the scope of forward keys of what comes by o: that of the group's
// primary where o takes part in one (G2), and none with FlowKeyTuple.
func (c *Config) ScopeOf(o *OnRamp) ident.Scope {
	for i := range c.Tenants {
		if c.Tenants[i].ID == o.Tenant && c.Tenants[i].FlowKey == FlowKeyTuple {
			return 0
		}
	}
	for i := range c.Groups {
		if members := c.Groups[i].Members; o.ARR && slices.Contains(members, o.ID) {
			if first := slices.IndexFunc(c.OnRamps, func(r OnRamp) bool { return r.ID == members[0] }); first >= 0 {
				return c.OnRamps[first].Scope
			}
		}
	}
	return o.Scope
}

// Routers are the hub's own addresses inside the tunnel; not valid where it has
// none of the family.
func (o *OnRamp) Routers() (four, six netip.Addr) {
	four, six = o.Address, o.Address6
	switch {
	case o.Local.Is4() && !four.IsValid():
		four = o.Local
	case o.Local.Is6() && !six.IsValid():
		six = o.Local
	}
	return four, six
}

// StandardMTU is the given one, or what a path of 1500 bytes leaves.
func (o *OnRamp) StandardMTU() int {
	four := o.Local.Is4()
	switch {
	case o.MTU != 0:
		return o.MTU
	case o.Kind == tunnel.Interconnect:
		return defaultMTU
	case o.Kind == tunnel.GRE && four:
		return tunnel.GREMTU
	case o.Kind == tunnel.GRE:
		return tunnel.GREMTU6
	case four:
		return tunnel.UDPMTU
	}
	return tunnel.UDPMTU6
}

// tunnel finds the on-ramp of a GRE packet.
func (v *view) tunnel(src, dst pkt.Number, key uint32, hasKey bool) *onRamp {
	for r := v.tunnels.at(src, dst); r != nil; r = r.next {
		if r.exit.encap.HasKey == hasKey && r.exit.encap.Key == key {
			return r
		}
	}
	return nil
}
