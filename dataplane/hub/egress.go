package hub

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/policy"
)

// From where a flow leaves for the Internet (SEMANTICS 6.2, 6.3, 5.4): which
// addresses it may have a port of, and which server has them.

// Distance is how far a datacenter is from the server's own.
type Distance struct {
	Datacenter ident.Datacenter `json:"datacenter"`
	// Away is the time that light in fibre takes.
	Away time.Duration `json:"away"`
}

// egressView is what a server knows of addresses to leave by, made ready.
type egressView struct {
	away map[ident.Datacenter]time.Duration
	// owners are the live servers that own ports of an IPv4 address which some
	// tenant has to itself, shared those of addresses with a country's tag in the
	// nearest datacenter that has any: both in id order.
	owners map[netip.Addr][]ident.Server
	shared map[string][]ident.Server
	// own are the IPv4 addresses of a tenant, the nearest first.
	own map[ident.Tenant][]Own
	// numbers are the positions of a tenant's egress policies, from 1.
	numbers map[ident.Tenant]map[string]uint16
	// local is this datacenter's own division of tenants' addresses.
	local *egress.Directory
}

// departure is how a flow leaves.
type departure struct {
	from egress.From
	// at is the server that has the ports; 0 is this one.
	at ident.Server
}

// Departs reports whether flows may leave from another server than their home:
// where tenants have addresses, or addresses countries. What servers hand over
// then is more than replies and packets of on-ramps (remote.go).
func (c *Config) Departs() bool {
	return slices.ContainsFunc(c.Egress, func(a egress.Address) bool { return a.Tenant != 0 || a.Country != "" })
}

// Steered reports whether replies to an egress address are steered by its owners
// alone: it does not move, and no datacenter divides it for itself.
func (c *Config) Steered(a *egress.Address) bool {
	return a.Was == [egress.Slices]ident.Server{} && !a.Closed && (a.Tenant == 0 || a.Addr.Is6() || len(c.Proxied) == 0)
}

// addDepartures prepares egressView, when servers and addresses are known.
func (v *view) addDepartures() error {
	e := &v.leaving
	*e = egressView{
		away: map[ident.Datacenter]time.Duration{}, owners: map[netip.Addr][]ident.Server{}, shared: map[string][]ident.Server{},
		own: map[ident.Tenant][]Own{}, numbers: map[ident.Tenant]map[string]uint16{},
	}
	if v.directory == nil {
		return nil // what is wrong with it was said
	}
	for _, d := range v.cfg.Distances {
		e.away[d.Datacenter] = d.Away
	}
	var errs []error
	for _, p := range v.cfg.Proxied {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("proxied: want a plain IPv4 or IPv6 prefix, got %v", p))
			continue
		}
		v.proxied.Insert(p.Masked(), struct{}{})
	}
	nearest := map[string]ident.Datacenter{}
	for i := range v.cfg.Egress {
		a := &v.cfg.Egress[i]
		if a.Tenant != 0 {
			if _, known := v.tenants[a.Tenant]; !known {
				errs = append(errs, fmt.Errorf("egress %v: tenant %d does not exist", a.Addr, a.Tenant))
			}
		}
		if a.Addr.Is4() {
			v.depart(a, nearest)
		}
		v.moving = v.moving || a.Was != [egress.Slices]ident.Server{}
		v.unsteered = v.unsteered || !v.cfg.Steered(a)
	}
	for _, own := range e.own {
		slices.SortFunc(own, func(x, y Own) int {
			return cmp.Or(cmp.Compare(x.Away, y.Away), x.Addr.Compare(y.Addr))
		})
	}
	return errors.Join(append(errs, v.addRules(), v.addLocal())...)
}

// depart notes an IPv4 address; nearest is the datacenter that serves a country.
func (v *view) depart(a *egress.Address, nearest map[string]ident.Datacenter) {
	e := &v.leaving
	var live []ident.Server
	for _, owner := range a.Opens() {
		if p := v.peers[owner]; p != nil && p.Live && !slices.Contains(live, owner) {
			live = append(live, owner)
		}
	}
	slices.Sort(live)
	switch {
	case a.Tenant != 0:
		e.owners[a.Addr] = live
		e.own[a.Tenant] = append(e.own[a.Tenant], Own{a.Addr, e.away[a.Datacenter]})
	case a.Country == "" || len(live) == 0 || a.CDN():
	default:
		best, known := nearest[a.Country]
		switch farther := cmp.Or(cmp.Compare(e.away[a.Datacenter], e.away[best]), cmp.Compare(a.Datacenter, best)); {
		case !known || farther < 0:
			nearest[a.Country], e.shared[a.Country] = a.Datacenter, live
		case farther == 0:
			all := append(slices.Clone(e.shared[a.Country]), live...)
			slices.Sort(all)
			e.shared[a.Country] = slices.Compact(all)
		}
	}
}

// addRules numbers egress policies, and refuses addresses that their tenant does
// not have (SEMANTICS 6.2).
func (v *view) addRules() error {
	var errs []error
	for _, t := range v.cfg.Tenants {
		numbers := map[string]uint16{}
		for i := range t.Policies.Egress {
			r := &t.Policies.Egress[i]
			numbers[r.ID] = uint16(i + 1)
			for _, addr := range []netip.Addr{r.IPv4, r.Fallback} {
				if r.Action != policy.Dedicated || !addr.IsValid() || addr.IsUnspecified() {
					continue
				}
				if a := v.directory.Lookup(addr); a == nil || a.Tenant != t.ID {
					errs = append(errs, fmt.Errorf("tenant %q: egress policy %q: %v is no address that the tenant has to itself", t.Name, r.ID, addr))
				}
			}
		}
		v.leaving.numbers[t.ID] = numbers
	}
	return errors.Join(errs...)
}

// addLocal divides the addresses of tenants among this datacenter's servers, for
// flows to what the network serves everywhere: no reply to them comes from
// outside, so no other datacenter divides them alike (SEMANTICS 6.3).
func (v *view) addLocal() error {
	var err error
	v.leaving.local, err = egress.NewDirectory(v.cfg.Local(v.dc))
	return err
}

// Local is how a datacenter divides addresses of tenants among its servers for
// flows to what is proxied: by the order of the servers.
func (c *Config) Local(dc ident.Datacenter) (local []egress.Address) {
	if len(c.Proxied) == 0 {
		return nil
	}
	for i := range c.Egress {
		a := &c.Egress[i]
		if a.Tenant == 0 || a.Addr.Is6() {
			continue
		}
		divided := egress.Address{Addr: a.Addr, Datacenter: dc, Tenant: a.Tenant}
		last := 0
		for i := range c.Servers {
			if s := &c.Servers[i]; s.Datacenter == dc && last < egress.Owners {
				last++
				divided.Owner[last] = s.ID
			}
		}
		local = append(local, divided)
	}
	return local
}

// Held is a flow that goes on with a port of an address that has moved away from
// its server: nobody may give out the pair (SEMANTICS 5.2).
type Held struct {
	Proto  uint8          `json:"proto"`
	Egress netip.AddrPort `json:"egress"`
	Remote netip.AddrPort `json:"remote"`
	Server ident.Server   `json:"server"`
}

// Occupies are the flows among sessions of a server that have a port of an address.
func Occupies(server ident.Server, sessions iter.Seq[Session], addr netip.Addr) (all []Held) {
	for s := range sessions {
		if s.Egress.Addr() == addr && s.EgressServer == 0 {
			all = append(all, Held{s.Tuple.Proto, s.Egress, s.Tuple.Dst, server})
		}
	}
	return all
}

// addHeld indexes them.
func (v *view) addHeld() {
	for _, x := range v.cfg.Held {
		if v.held == nil {
			v.held = make(map[flow.Key]ident.Server, len(v.cfg.Held))
		}
		v.held[flow.ReverseKey(x.Proto, x.Egress, x.Remote)] = x.Server
	}
}

// newPorts is the allocator of this server's egress ports.
func (v *view) newPorts() *egress.Allocator {
	a := egress.NewAllocator(v.cfg.Seed, v.directory, v.cfg.Self)
	a.Proxy(v.leaving.local, v.cfg.Self)
	a.Hold(v.held)
	return a
}

// steered reports whether replies of a flow come here by the owner of their port
// alone, which is what carries flows beside the hub knows.
func (h *Hub) steered(f *flow.Flow) bool {
	if !h.v.unsteered {
		return true
	}
	a := h.v.directory.Lookup(f.Egress().Addr())
	return a != nil && h.v.cfg.Steered(a)
}

// isProxied reports whether the network itself serves an address, everywhere.
func (v *view) isProxied(addr netip.Addr) bool {
	if len(v.cfg.Proxied) == 0 {
		return false
	}
	_, yes := v.proxied.Lookup(addr)
	return yes
}

// departure decides how the flow that w opens leaves for the Internet; false if
// the place that it has to leave from is down.
func (h *Hub) departure(w *work) (departure, bool) {
	own := len(h.v.leaving.own[w.ramp.Tenant]) > 0
	switch {
	case !own && (w.leaves == nil || w.leaves.Action != policy.Dedicated) && w.meta.Dst.Is4():
		return h.sharedOne(w), true
	case !Dedicable(&w.meta) || w.leaves != nil && w.leaves.Action == policy.Default:
		return h.sharedOne(w), true
	case w.meta.Dst.Is6():
		// IPv6 leaves anywhere: every server has addresses of the tenant (SEMANTICS 5.1).
		if from := (egress.From{Tenant: w.ramp.Tenant}); h.ports.Size(w.meta.Dst, from) > 0 {
			return departure{from: from}, true
		}
		return h.sharedOne(w), true
	}
	src := pkt.NumberOf(w.meta.Src)
	user := flow.Combine(h.v.cfg.Seed^uint64(w.ramp.ID), src.Hi, src.Lo)
	var d departure
	addr, ok := Leave(w.leaves, h.v.leaving.own[w.ramp.Tenant], user, func(a netip.Addr) (up bool) {
		d, up = h.dedicatedOne(w, a)
		return up
	})
	switch {
	case !ok:
		return departure{}, false
	case addr.IsUnspecified():
		return h.sharedOne(w), true
	case d.from.Addr != addr: // another was asked about last
		return h.dedicatedOne(w, addr)
	}
	return d, true
}

// Dedicable reports whether a flow may have a dedicated address: ICMP may not,
// nor what a resolver of the network's answers (SEMANTICS 6.1, EG-9).
func Dedicable(m *pkt.Meta) bool {
	const dns = 53
	return m.Kind == pkt.TCP || m.Kind == pkt.UDP && m.DstPort != dns
}

// sharedOne leaves by the shared pool: by an address with the country of who
// asks, here if there is one here, otherwise from the nearest datacenter that has
// one (SEMANTICS 6.2); and where nobody has one, by any here. IPv6 is never
// forwarded, and what the network serves everywhere is reached here (5.1, 6.3).
func (h *Hub) sharedOne(w *work) departure {
	country := w.ramp.Country
	from := egress.From{Country: country}
	if country == "" || h.ports.Size(w.meta.Dst, from) > 0 {
		return departure{from: from}
	}
	if w.meta.Dst.Is4() && !h.v.isProxied(w.meta.Dst) {
		if servers := h.v.leaving.shared[country]; len(servers) > 0 {
			return departure{from: from, at: h.oneOf(w, servers)}
		}
	}
	return departure{}
}

// dedicatedOne leaves by one address, from where it is; what the network serves
// everywhere is reached from here with it (SEMANTICS 6.3). It is false while
// nobody there is alive.
func (h *Hub) dedicatedOne(w *work, addr netip.Addr) (departure, bool) {
	if h.v.isProxied(w.meta.Dst) {
		return departure{from: egress.From{Addr: addr, Proxied: true}}, true
	}
	from := egress.From{Addr: addr}
	if h.ports.Size(w.meta.Dst, from) > 0 {
		return departure{from: from}, true
	}
	servers := h.v.leaving.owners[addr]
	if len(servers) == 0 {
		return departure{}, false
	}
	return departure{from: from, at: h.oneOf(w, servers)}, true
}

// oneOf picks a server for w's flow.
func (h *Hub) oneOf(w *work, servers []ident.Server) ident.Server {
	return servers[flow.Mix(w.hash)%uint64(len(servers))]
}

// chooses reports whether the flow that w opens may have to leave by another
// address than the last between the same ends.
func (h *Hub) chooses(w *work) bool {
	return w.leaves != nil || len(h.v.leaving.own[w.ramp.Tenant]) > 0
}

// ownerOfReply is the server that owns the port which a reply goes to: of an
// address that was released and drains, who owned it.
func (h *Hub) ownerOfReply(a *egress.Address, k *flow.Key) ident.Server {
	if a.Tenant != 0 && h.v.isProxied(k.Destination().Addr()) {
		if local := h.v.leaving.local.Lookup(a.Addr); local != nil {
			return local.OwnerOf(k.SrcPort)
		}
	}
	return cmp.Or(a.OwnerOf(k.SrcPort), a.WasOf(k.SrcPort))
}

// wasOf is who owned the port that a reply goes to, before the address moved; 0 is
// nobody.
func (h *Hub) wasOf(k *flow.Key) ident.Server {
	if !h.v.moving {
		return 0
	}
	at := k.Source()
	if a := h.v.directory.Lookup(at.Addr()); a != nil {
		return a.WasOf(at.Port())
	}
	return 0
}

// owns reports whether this server owns the port of a flow that leaves here.
func (h *Hub) owns(f *flow.Flow) bool {
	at := f.Egress()
	if a := h.v.directory.Lookup(at.Addr()); a != nil && a.WasOf(at.Port()) == h.v.cfg.Self {
		return true // it moved, and drains
	}
	if h.v.isProxied(f.Key.Destination().Addr()) && h.v.leaving.local.Owns(h.v.cfg.Self, at) {
		return true
	}
	return h.v.directory.Owns(h.v.cfg.Self, at)
}
