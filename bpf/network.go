package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// sliceSlots is how many places a slice's ports need.
const sliceSlots = egress.SliceSize

// Kinds of places, the C enum place_kind.
const (
	placeNone uint8 = iota
	placeKernel
	placeTunnel
	placeHandover
	placePeer
	placeEgress
)

// Flags of on-ramps, as in C.
const (
	rampKnown = 1 << iota
	rampGRE
	rampGrouped
	rampAsk
)

// network is what the maps hold of a configuration, so that another can replace it.
type network struct {
	places  map[dataplaneAddress]dataplanePlace
	tunnels map[dataplaneTunnelEntry]uint32 // on-ramps by what is else in their entries
	ramps   map[ident.OnRamp]dataplaneOnramp
	servers map[uint32]uint32
	// slots are where the flows of each egress address of this server begin, free
	// the beginnings that none has.
	slots map[netip.Addr]uint32
	free  []uint32
}

func makeNetwork(s *Spec, places int) network {
	n := network{slots: make(map[netip.Addr]uint32)}
	for at := places - s.PortSlots; at >= 0; at -= s.PortSlots {
		n.free = append(n.free, uint32(at))
	}
	return n
}

// address is the 16-byte form as it lies in memory.
func address(a netip.Addr) (d dataplaneAddress) {
	if a.IsValid() {
		b := a.As16()
		d.First, d.Second = binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])
	}
	return d
}

// netip is the reverse.
func (d dataplaneAddress) netip() netip.Addr {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:8], d.First)
	binary.NativeEndian.PutUint64(b[8:], d.Second)
	return netip.AddrFrom16(b).Unmap()
}

// wire4 is an IPv4 address as it stands in a header; 0 for any other.
func wire4(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func ownedBy(a *egress.Address, s ident.Server) bool {
	for _, owner := range a.Owner {
		if owner == s {
			return true
		}
	}
	return false
}

// Configure puts another configuration of the same server in force. Flows stay;
// those that the hub ends because of it are the caller's to Remove.
func (d *Dataplane) Configure(c hub.Config) error {
	if c.Self != d.spec.Config.Self || c.Seed != d.spec.Config.Seed || c.Trace != d.spec.Config.Trace {
		return errors.New("a fast path cannot change its server, seed or trace")
	}
	d.spec.Config = c
	return errors.Join(d.setPlaces(), d.setOnRamps(), d.setServers())
}

// setPlaces says what the addresses of the network are.
func (d *Dataplane) setPlaces() error {
	c := &d.spec.Config
	want := make(map[dataplaneAddress]dataplanePlace)
	for i := range c.Servers {
		kind := placePeer
		if c.Servers[i].ID == c.Self {
			kind = placeHandover
		}
		if kind == placeHandover && c.Departs() {
			continue // what others hand over may be more than this knows: the hub takes it
		}
		want[address(c.Servers[i].Handover)] = dataplanePlace{Kind: kind}
	}
	for _, a := range c.Tunnels {
		want[address(a)] = dataplanePlace{Kind: placeTunnel}
	}
	d.releaseSlots()
	var errs []error
	for i := range c.Egress {
		a := &c.Egress[i]
		if !c.Steered(a) {
			continue // it moves, or each datacenter divides it for itself: the hub knows
		}
		p := d.egressPlace(a)
		want[address(a.Addr)] = p
		errs = append(errs, d.nameSlots(a.Addr, &p))
	}
	for _, a := range d.spec.Own {
		want[address(a)] = dataplanePlace{Kind: placeKernel}
	}
	if maps.Equal(want, d.network.places) {
		return errors.Join(errs...)
	}
	entries := make([]dataplanePlace, 0, len(want))
	for a, p := range want {
		p.Address = a
		entries = append(entries, p)
	}
	d.network.places = want
	return errors.Join(append(errs, write(&d.places, entries, (*dataplanePlace).hash))...)
}

// nameSlots says whose the places of an egress address are.
func (d *Dataplane) nameSlots(a netip.Addr, p *dataplanePlace) error {
	if p.HasSlots == 0 {
		return nil
	}
	var errs []error
	egress := address(a)
	for at := p.Base; at < p.Base+uint32(d.spec.PortSlots); at += sliceSlots {
		errs = append(errs, put(d.objects.Egresses, at/sliceSlots, &egress))
	}
	return errors.Join(errs...)
}

// releaseSlots gives back the places of egress addresses that are not this
// server's any more, or that move. An address that drains has flows yet, whose
// source is the address that their places are named after: these stay its own
// until the last is removed.
func (d *Dataplane) releaseSlots() {
	still := make(map[netip.Addr]bool)
	for i := range d.spec.Config.Egress {
		a := &d.spec.Config.Egress[i]
		still[a.Addr] = ownedBy(a, d.spec.Config.Self) && d.spec.Config.Steered(a)
	}
	for a, base := range d.network.slots {
		if !still[a] && !d.taken(base) {
			delete(d.network.slots, a)
			d.network.free = append(d.network.free, base)
		}
	}
}

// taken says whether there are flows in the places of the egress address that
// begin at base.
func (d *Dataplane) taken(base uint32) bool {
	places := d.flows[base : base+uint32(d.spec.PortSlots)]
	for i := range places {
		if atomic.LoadUint32(&places[i].Serial) != 0 {
			return true
		}
	}
	return false
}

func (d *Dataplane) egressPlace(a *egress.Address) dataplanePlace {
	p := dataplanePlace{Kind: placeEgress}
	for k, owner := range a.Owner {
		p.Owner[k] = uint16(owner)
	}
	if !ownedBy(a, d.spec.Config.Self) {
		return p
	}
	base, ok := d.network.slots[a.Addr]
	if n := len(d.network.free); !ok && n > 0 {
		base, ok = d.network.free[n-1], true
		d.network.free, d.network.slots[a.Addr] = d.network.free[:n-1], base
	}
	if ok {
		p.HasSlots, p.Base, p.Mask = 1, base, uint16(d.spec.PortSlots-1)
	}
	return p
}

// setOnRamps says which on-ramps there are.
func (d *Dataplane) setOnRamps() error {
	c := &d.spec.Config
	ramps := make(map[ident.OnRamp]dataplaneOnramp)
	tunnels := make(map[dataplaneTunnelEntry]uint32)
	for i := range c.OnRamps {
		o := &c.OnRamps[i]
		if o.Kind != tunnel.GRE && o.Kind != tunnel.Interconnect {
			continue // the hub's alone
		}
		r := d.onRamp(o)
		ramps[o.ID] = r
		if r.Flags&rampGRE != 0 {
			tunnels[dataplaneTunnelEntry{Src: r.Remote, Dst: r.Local, Key: r.Key, HasKey: r.HasKey}] = uint32(o.ID)
		}
	}
	for _, g := range c.Groups {
		for _, id := range g.Members {
			r := ramps[id]
			r.Flags |= rampGrouped
			ramps[id] = r
		}
	}
	var errs []error
	for id, r := range ramps {
		if d.network.ramps[id] != r {
			errs = append(errs, put(d.objects.Onramps, uint32(id), &r))
		}
	}
	for id := range d.network.ramps {
		if _, ok := ramps[id]; !ok {
			errs = append(errs, put(d.objects.Onramps, uint32(id), &dataplaneOnramp{}))
		}
	}
	if !maps.Equal(tunnels, d.network.tunnels) {
		entries := make([]dataplaneTunnelEntry, 0, len(tunnels))
		for e, ramp := range tunnels {
			e.Ramp = ramp
			entries = append(entries, e)
		}
		errs = append(errs, write(&d.tunnels, entries, (*dataplaneTunnelEntry).hash))
	}
	d.network.ramps, d.network.tunnels = ramps, tunnels
	return errors.Join(errs...)
}

func (d *Dataplane) onRamp(o *hub.OnRamp) dataplaneOnramp {
	four, six := o.Routers()
	r := dataplaneOnramp{
		Address: address(four), Address6: address(six), Local: wire4(o.Local), Remote: wire4(o.Remote),
		Scope: uint32(d.spec.Config.ScopeOf(o)), Tenant: uint16(o.Tenant), Vnet: uint16(o.VNet),
		Mtu: uint16(o.StandardMTU()), Flags: rampKnown,
	}
	if o.Kind == tunnel.GRE && o.Local.Is4() {
		r.Flags |= rampGRE
	}
	if o.Key != nil {
		var key [4]byte
		binary.BigEndian.PutUint32(key[:], *o.Key)
		r.Key, r.HasKey = binary.NativeEndian.Uint32(key[:]), 1
	}
	if d.asked[o.ID] {
		r.Flags |= rampAsk
	}
	return r
}

// Ask leaves replies into an on-ramp to the hub, or does not any more: while it
// is down, the hub may send them by another member of its group (SEMANTICS 1.8).
func (d *Dataplane) Ask(id ident.OnRamp, ask bool) error {
	if d.asked[id] == ask {
		return nil
	}
	d.asked[id] = ask
	return d.setOnRamps()
}

// AskServer leaves hand-overs to a server to the hub, or does not any more: while
// the way there passes less than it should, their senders are to be told.
func (d *Dataplane) AskServer(id ident.Server, ask bool) error {
	if d.askedServers[id] == ask {
		return nil
	}
	d.askedServers[id] = ask
	return d.setServers()
}

// setServers says where the other servers are, and who is home for what.
func (d *Dataplane) setServers() error {
	c := &d.spec.Config
	var errs []error
	servers := make(map[uint32]uint32)
	for _, s := range c.Servers {
		if servers[uint32(s.ID)] = wire4(s.Handover); d.askedServers[s.ID] {
			servers[uint32(s.ID)] = 0 // unknown to the programs, which leave it
		}
	}
	for id := range d.network.servers {
		if _, ok := servers[id]; !ok {
			servers[id] = 0
		}
	}
	for id, at := range servers {
		errs = append(errs, put(d.objects.Servers, id, &at))
	}
	d.network.servers = servers
	table := c.Buckets()
	keys, values := make([]uint32, steer.Buckets), make([]dataplaneBucket, steer.Buckets)
	for b := range keys {
		hash := uint64(b) << (64 - bucketBits)
		keys[b] = uint32(b)
		values[b] = dataplaneBucket{First: uint16(table.Home(hash)), Second: uint16(table.SecondHop(hash))}
	}
	if _, err := d.objects.Buckets.BatchUpdate(keys, values, nil); err != nil {
		errs = append(errs, fmt.Errorf("buckets: %w", err))
	}
	return errors.Join(errs...)
}

// bucketBits is steer's: the bucket is the top bits of the hash.
const bucketBits = 12

func put(m *ebpf.Map, key, value any) error {
	if err := m.Put(key, value); err != nil {
		return fmt.Errorf("%v: put %v: %w", m, key, err)
	}
	return nil
}
