package journal

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Slices are which ports of which addresses a server may send from (SU-3). An
// address that is nobody's egress is no business of that check. Safe for
// concurrent use.
type Slices struct{ now atomic.Pointer[[]owned] }

// owned is what one configuration says.
type owned struct {
	self    ident.Server
	all     map[netip.Addr]*egress.Address
	local   map[netip.Addr]egress.Address
	proxied []netip.Prefix
	until   time.Time // zero: still
}

// NewSlices are those of a server's configuration.
func NewSlices(c *hub.Config) *Slices {
	s := new(Slices)
	s.now.Store(&[]owned{ownedBy(c)})
	return s
}

func ownedBy(c *hub.Config) owned {
	o := owned{self: c.Self, all: map[netip.Addr]*egress.Address{}, local: map[netip.Addr]egress.Address{}, proxied: c.Proxied}
	for i := range c.Egress {
		o.all[c.Egress[i].Addr] = &c.Egress[i]
	}
	if i := slices.IndexFunc(c.Servers, func(s hub.Server) bool { return s.ID == c.Self }); i >= 0 {
		for _, a := range c.Local(c.Servers[i].Datacenter) {
			o.local[a.Addr] = a
		}
	}
	return o
}

// Change lets the server go over to another configuration: until Changed, what
// either says is its own.
func (s *Slices) Change(c *hub.Config) {
	all := append(slices.Clone(*s.now.Load()), ownedBy(c))
	s.now.Store(&all)
}

// Changed says that the configuration given last is in force from at on: what was
// sent before may be seen later. The zero time forgets what was before.
func (s *Slices) Changed(at time.Time) {
	all := slices.Clone(*s.now.Load())
	for i := range all[:len(all)-1] {
		if all[i].until.IsZero() {
			all[i].until = at
		}
	}
	if at.IsZero() {
		all = all[len(all)-1:]
	}
	s.now.Store(&all)
}

// Owns reports whether the server may send from a port (or echo id) of an address
// to a destination, at a time; the zero time is now.
func (s *Slices) Owns(from netip.AddrPort, to netip.Addr, at time.Time) bool {
	return slices.ContainsFunc(*s.now.Load(), func(o owned) bool {
		return (o.until.IsZero() || at.Before(o.until) && !at.IsZero()) && o.has(from, to)
	})
}

func (o *owned) has(from netip.AddrPort, to netip.Addr) bool {
	a := o.all[from.Addr()]
	if a == nil || a.OwnerOf(from.Port()) == o.self || a.WasOf(from.Port()) == o.self {
		return true
	}
	local, ok := o.local[from.Addr()]
	return ok && local.OwnerOf(from.Port()) == o.self && slices.ContainsFunc(o.proxied, func(p netip.Prefix) bool { return p.Contains(to) })
}
