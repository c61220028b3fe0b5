package hub

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// view is a Config made ready for packets. It does not change; Reconfigure
// replaces it whole.
type view struct {
	cfg      Config
	dc       ident.Datacenter
	local    places
	ramps    map[ident.OnRamp]*onRamp
	tunnels  tunnels
	peers    map[ident.Server]*peer
	tenants  map[ident.Tenant]Tenant
	policies map[ident.Tenant]*policies // of tenants that have any
	// registered are the devices and connectors.
	registered map[Registration]*onRamp
	// sources are the servers whose the network's own sources are, ownSources the
	// same as a directory.
	sources    map[pkt.Number]ident.Server
	ownSources *egress.Directory
	routes     *route.Table
	buckets    *steer.Table
	directory  *egress.Directory
	timeouts   flow.Timeouts
	fragments  fragment.Limits
	// live are the servers of each datacenter that take part, in id order.
	live map[ident.Datacenter][]ident.Server
	// divisions are those of the other datacenters' buckets, where some device or
	// connector may be attached there.
	divisions map[ident.Datacenter]*steer.Division
	// spare are the live servers of this datacenter that have ports of IPv4 and
	// of IPv6, in id order.
	spare     [2][]ident.Server
	countries bart.Table[string]
	proxied   bart.Table[struct{}]
	leaving   egressView
	// moving: some address drains where it was.
	moving bool
	// unsteered: there is an address that Config.Steered says no to.
	unsteered bool
	// held are the reverse keys of flows that go on elsewhere, and where.
	held  map[flow.Key]ident.Server
	mtu   int
	bound int
}

// place is what an address of the network is.
type place struct {
	kind   placeKind
	egress *egress.Address
	server ident.Server // of a hand-over address
	ramp   *onRamp      // of a customer's router
}

type placeKind uint8

const (
	elsewhere placeKind = iota
	tunnelAddress
	unconnectedAddress
	ourHandover
	peerHandover
	egressAddress
	customerRouter // inside its tunnel
)

// onRamp is an OnRamp made ready.
type onRamp struct {
	OnRamp
	// exit is how packets leave by it, if it is not a connected tunnel.
	exit   exit
	tenant Tenant
	// policies of the tenant; nil if it has none.
	policies *policies
	// scope is the one of forward keys: 0 with FlowKeyTuple.
	scope ident.Scope
	mtu   int
	// mss and mss6 are what TCP over IPv4 and IPv6 may send in one segment.
	mss, mss6 uint16
	next      *onRamp
	// group is the on-ramp's, if it takes part in one.
	group *group
	// address and address6 are where the hub's own errors come from; not valid
	// if it has none.
	address, address6 netip.Addr
	// local and remote are the outer addresses, client and client6 a device's own.
	local, remote, client, client6 pkt.Number
}

// connected reports whether the on-ramp is a connected tunnel, which is attached
// to one server.
func (o *OnRamp) connected() bool { return o.Kind == tunnel.Device || o.Kind == tunnel.Connector }

// clamp is the MSS for a packet of this version.
func (r *onRamp) clamp(version uint8) uint16 {
	if version == 6 {
		return r.mss6
	}
	return r.mss
}

// router is the hub's own address for a packet of this version; not valid if it
// has none.
func (r *onRamp) router(version uint8) netip.Addr {
	if version == 6 {
		return r.address6
	}
	return r.address
}

// peer is another server.
type peer struct {
	Server
	encap tunnel.Encap // without the key
}

// Defaults of SEMANTICS 1.9 and 5.5.
const (
	defaultTCPConnect     = 30 * time.Second
	defaultTCPEstablished = 8 * time.Hour
	defaultTCPTransitory  = 240 * time.Second
	defaultUDP            = 300 * time.Second
	defaultDNS            = 10 * time.Second
	defaultICMP           = 60 * time.Second
	defaultPortHold       = 60 * time.Second
	defaultFlows          = 1 << 20
	defaultMTU            = 1500
)

// newView checks c and makes it ready. All mistakes are in one error.
func newView(c Config) (*view, error) {
	v := &view{
		cfg:        c,
		local:      makePlaces(),
		ramps:      make(map[ident.OnRamp]*onRamp),
		tunnels:    makeTunnels(),
		peers:      make(map[ident.Server]*peer),
		tenants:    make(map[ident.Tenant]Tenant),
		policies:   make(map[ident.Tenant]*policies),
		live:       make(map[ident.Datacenter][]ident.Server),
		registered: make(map[Registration]*onRamp),
		sources:    make(map[pkt.Number]ident.Server),
		bound:      cmp.Or(c.Bounds.Flows, defaultFlows),
		mtu:        cmp.Or(c.MTU, defaultMTU),
		fragments:  fragment.Limits{Datagrams: c.Bounds.Fragmented, Bytes: c.Bounds.FragmentBytes, Timeout: c.Timers.Reassembly, Seed: c.Seed},
	}
	v.addHeld()
	errs := []error{v.addServers(), v.addTunnels(), v.addTenants()}
	errs = append(errs, v.addOnRamps()...)
	v.divide()
	errs = append(errs, v.addGroups(), v.addRoutes(), v.addEgress(), v.addDepartures(), v.addSources(), v.addCountries(), v.addTimers())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return v, nil
}

// claim gives an address its place; each has one.
func (v *view) claim(what string, addr netip.Addr, p place) error {
	if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
		return fmt.Errorf("%s: want a plain IPv4 or IPv6 address, got %v", what, addr)
	}
	n := pkt.NumberOf(addr)
	if v.local.at(n).kind != elsewhere {
		return fmt.Errorf("%s: address %v has another use already", what, addr)
	}
	v.local.set(n, p)
	return nil
}

func (v *view) addServers() error {
	var errs []error
	var self *Server
	for i := range v.cfg.Servers {
		s := &v.cfg.Servers[i]
		if s.ID == 0 || v.peers[s.ID] != nil {
			errs = append(errs, fmt.Errorf("server %q: want an id of its own, got %d", s.Name, s.ID))
			continue
		}
		kind := peerHandover
		if s.ID == v.cfg.Self {
			self, kind = s, ourHandover
		}
		errs = append(errs, v.claim("server "+s.Name, s.Handover, place{kind: kind, server: s.ID}))
		if s.Handover.Is4() != v.cfg.Servers[0].Handover.Is4() {
			errs = append(errs, fmt.Errorf("server %s: hand-over address %v is of another family than %v", s.Name, s.Handover, v.cfg.Servers[0].Handover))
		}
		v.peers[s.ID] = &peer{Server: *s}
	}
	if self == nil {
		return errors.Join(append(errs, fmt.Errorf("self is server %d, which is not among the %d servers", v.cfg.Self, len(v.cfg.Servers)))...)
	}
	v.dc = self.Datacenter
	for i := range v.cfg.Servers {
		s := &v.cfg.Servers[i]
		if v.live[s.Datacenter] == nil {
			for _, x := range v.cfg.sharing(s.Datacenter) {
				if x.Live {
					v.live[s.Datacenter] = append(v.live[s.Datacenter], x.ID)
				}
			}
		}
		if p := v.peers[s.ID]; p != nil {
			p.encap = tunnel.Encap{Src: self.Handover, Dst: s.Handover, HasKey: true, TTL: tunnel.DefaultTTL}
		}
	}
	v.buckets = v.cfg.Buckets()
	return errors.Join(errs...)
}

// divide works out whose the buckets of other datacenters are.
func (v *view) divide() {
	if len(v.registered) == 0 {
		return
	}
	all := map[ident.Datacenter][]ident.Server{}
	for _, s := range v.cfg.Servers {
		if s.Datacenter != v.dc {
			all[s.Datacenter] = append(all[s.Datacenter], s.ID)
		}
	}
	v.divisions = make(map[ident.Datacenter]*steer.Division, len(all))
	for dc, ids := range all {
		slices.Sort(ids)
		v.divisions[dc] = steer.Divide(v.cfg.Seed, ids)
	}
}

func (v *view) addTunnels() error {
	var errs []error
	for _, addr := range v.cfg.Tunnels {
		errs = append(errs, v.claim("tunnel address", addr, place{kind: tunnelAddress}))
	}
	for _, addr := range v.cfg.Unconnected {
		errs = append(errs, v.claim("unconnected address", addr, place{kind: unconnectedAddress}))
	}
	return errors.Join(errs...)
}

func (v *view) addTenants() error {
	var errs []error
	for _, t := range v.cfg.Tenants {
		if _, twice := v.tenants[t.ID]; twice || t.ID == 0 {
			errs = append(errs, fmt.Errorf("tenant %q: want an id of its own, got %d", t.Name, t.ID))
		}
		v.tenants[t.ID] = t
		p, err := newPolicies(t.Policies)
		v.policies[t.ID] = p
		for _, err := range []error{
			known("flow_key", t.FlowKey, FlowKeyOnRamp, FlowKeyTuple),
			known("orphan", t.Orphan, OrphanDrop, OrphanReset),
			known("collision", t.Collision, CollisionReject, CollisionSNAT),
			known("on_exhaustion", t.OnExhaustion, ExhaustionRefuse, ExhaustionAnotherAddress, ExhaustionAnotherServer),
			err,
		} {
			if err != nil {
				errs = append(errs, fmt.Errorf("tenant %q: %w", t.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// known refuses a word that is not among all that there are; an empty one stands
// for the default.
func known[T ~string](what string, got T, all ...T) error {
	if got == "" || slices.Contains(all, got) {
		return nil
	}
	return fmt.Errorf("%s: want one of %q, got %q", what, all, got)
}

func (v *view) addRoutes() error {
	var errs []error
	for _, r := range v.cfg.Routes {
		if hop := v.ramps[r.NextHop]; r.NextHop != 0 && (hop == nil || hop.Tenant != r.Tenant) {
			errs = append(errs, fmt.Errorf("route %q: next hop %d is no on-ramp of tenant %d", r.ID, r.NextHop, r.Tenant))
		} else if hop != nil && hop.connected() && !flow.PrivatePrefix(r.Prefix) {
			errs = append(errs, fmt.Errorf("route %q: %v is not private, and a %s has a private network", r.ID, r.Prefix, hop.Kind))
		}
	}
	table, err := route.New(v.cfg.Seed, v.cfg.Routes, v.cfg.DefaultVNets()...)
	v.routes = table
	return errors.Join(append(errs, err)...)
}

func (v *view) addEgress() error {
	directory, err := egress.NewDirectory(v.cfg.Egress)
	if err != nil {
		return err
	}
	v.directory = directory
	var errs []error
	for i := range v.cfg.Egress {
		a := &v.cfg.Egress[i]
		errs = append(errs, v.claim("egress", a.Addr, place{kind: egressAddress, egress: a}))
		for k, owner := range a.Owner {
			p := v.peers[owner]
			if owner != 0 && (p == nil || p.Datacenter != a.Datacenter) {
				errs = append(errs, fmt.Errorf("egress %v: slice %d is owned by server %d, which is not in datacenter %d", a.Addr, k, owner, a.Datacenter))
			}
		}
	}
	v.addSpare()
	return errors.Join(errs...)
}

// addSources indexes the network's own sources: each is wholly its server's.
func (v *view) addSources() error {
	var errs []error
	all := make([]egress.Address, len(v.cfg.Sources))
	for i, s := range v.cfg.Sources {
		if !route.Reserves(s.Addr) || v.peers[s.Server] == nil {
			errs = append(errs, fmt.Errorf("source %v of server %d: want an address that the network keeps for itself, and a server", s.Addr, s.Server))
		}
		all[i].Addr = s.Addr
		for k := 1; k < egress.Slices; k++ {
			all[i].Owner[k] = s.Server
		}
		v.sources[pkt.NumberOf(s.Addr)] = s.Server
	}
	var err error
	v.ownSources, err = egress.NewDirectory(all)
	return errors.Join(append(errs, err)...)
}

func (v *view) addTimers() error {
	t := v.cfg.Timers
	for _, d := range []time.Duration{t.TCPConnect, t.TCPEstablished, t.TCPTransitory, t.UDP, t.DNS, t.ICMP, t.PortHold, t.Reassembly} {
		if d < 0 {
			return fmt.Errorf("want timers of 0 (the default) or more, got %v", d)
		}
	}
	if b := v.cfg.Bounds; b.Fragmented < 0 || b.FragmentBytes < 0 {
		return fmt.Errorf("want bounds of fragments of 0 (the default) or more, got %d datagrams and %d bytes", b.Fragmented, b.FragmentBytes)
	}
	if u := v.cfg.Uplink; u != 0 {
		if u < minMTU || u > maxMTU {
			return fmt.Errorf("want an uplink of 0 (no bound) or from %d to %d bytes, got %d", minMTU, maxMTU, u)
		}
		v.mtu = min(v.mtu, u)
	}
	if v.mtu < minMTU || v.mtu > maxMTU {
		return fmt.Errorf("want an MTU from %d to %d, got %d", minMTU, maxMTU, v.mtu)
	}
	if v.bound < 0 {
		return fmt.Errorf("want a bound of flows of 0 (the default) or more, got %d", v.bound)
	}
	v.timeouts = t.Timeouts()
	return nil
}

// Timeouts are the lifetimes by state, defaults filled in.
func (t Timers) Timeouts() flow.Timeouts {
	return flow.NewTimeouts(
		cmp.Or(t.TCPConnect, defaultTCPConnect),
		cmp.Or(t.TCPEstablished, defaultTCPEstablished),
		cmp.Or(t.TCPTransitory, defaultTCPTransitory),
		cmp.Or(t.UDP, defaultUDP),
		cmp.Or(t.DNS, defaultDNS),
		cmp.Or(t.ICMP, defaultICMP),
		cmp.Or(t.PortHold, defaultPortHold))
}
