package route

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

var (
	// ErrNameTaken is wrapped where two virtual networks of an account would
	// have one name.
	ErrNameTaken = errors.New("name is taken")
	// ErrNoVNet is wrapped where a virtual network does not exist, or no more.
	ErrNoVNet = errors.New("no such virtual network")
	// ErrRoutesLeft is wrapped where a virtual network with routes would be
	// deleted.
	ErrRoutesLeft = errors.New("routes are left in it")
	// ErrIsDefault is wrapped where the default virtual network would be
	// deleted: an account has exactly one.
	ErrIsDefault = errors.New("it is the default")
	// ErrDefaultOnly is wrapped where a route to a WAN connection would be in
	// another network than the default.
	ErrDefaultOnly = errors.New("WAN connections are in the default virtual network alone (SEMANTICS 3.1)")
)

// VNet is a virtual network.
type VNet struct {
	ID      ident.VNet
	Name    string
	Default bool
}

// VNets are the virtual networks of one account with their routes, as its
// administrator sees them (SEMANTICS 3.1): what Table is made from. NewVNets
// makes one.
type VNets struct {
	tenant ident.Tenant
	nets   []VNet // in the order of their creation
	last   ident.VNet
	routes []Route
}

// NewVNets is a new account's: one network, called default, which is the
// default.
func NewVNets(tenant ident.Tenant) *VNets {
	return &VNets{tenant: tenant, nets: []VNet{{ID: DefaultVNet, Name: "default", Default: true}}, last: DefaultVNet}
}

// Create makes a virtual network. With standard it becomes the default, and
// the old default is one no more. The id is never used again. The error wraps
// ErrNameTaken.
func (v *VNets) Create(name string, standard bool) (ident.VNet, error) {
	if slices.ContainsFunc(v.nets, func(n VNet) bool { return n.Name == name }) {
		return 0, fmt.Errorf("virtual network %q: %w", name, ErrNameTaken)
	}
	v.last++
	v.nets = append(v.nets, VNet{ID: v.last, Name: name})
	if standard {
		v.demoteAllBut(v.last)
	}
	return v.last, nil
}

// Promote makes a network the default; the old one is demoted. The error wraps
// ErrNoVNet.
func (v *VNets) Promote(id ident.VNet) error {
	if _, err := v.index(id); err != nil {
		return err
	}
	v.demoteAllBut(id)
	return nil
}

func (v *VNets) demoteAllBut(id ident.VNet) {
	for i := range v.nets {
		v.nets[i].Default = v.nets[i].ID == id
	}
}

// Delete removes a network that has no routes and is not the default. The
// error wraps ErrNoVNet, ErrIsDefault or ErrRoutesLeft.
func (v *VNets) Delete(id ident.VNet) error {
	i, err := v.index(id)
	if err != nil {
		return err
	}
	left := 0
	for _, r := range v.routes {
		if r.VNet == id {
			left++
		}
	}
	switch n := v.nets[i]; {
	case n.Default:
		return fmt.Errorf("virtual network %q: %w", n.Name, ErrIsDefault)
	case left > 0:
		return fmt.Errorf("virtual network %q: %w: %d", n.Name, ErrRoutesLeft, left)
	}
	v.nets = slices.Delete(v.nets, i, i+1)
	return nil
}

// AddRoute adds a route; its tenant is the account and an unset network means
// the default one, now and for good. The error wraps ErrNoVNet, ErrDefaultOnly or
// ErrDuplicate (1014), or is a TooManyError.
func (v *VNets) AddRoute(r Route) error {
	r.Tenant, r.VNet = v.tenant, cmp.Or(r.VNet, v.Default())
	if _, err := v.index(r.VNet); err != nil {
		return fmt.Errorf("route %q: %w", r.ID, err)
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("route %q: %w", r.ID, err)
	}
	if r.Plane != ZT && r.NextHop != 0 && r.VNet != v.Default() {
		return fmt.Errorf("route %q: %w", r.ID, ErrDefaultOnly)
	}
	s := newSet()
	for _, old := range v.routes {
		_ = s.add(old) // they stand together already
	}
	if err := s.add(r); err != nil {
		return err
	}
	v.routes = append(v.routes, r)
	return nil
}

// DeleteRoute removes the routes of an id and says how many there were.
func (v *VNets) DeleteRoute(id string) int {
	before := len(v.routes)
	v.routes = slices.DeleteFunc(v.routes, func(r Route) bool { return r.ID == id })
	return before - len(v.routes)
}

// Default is the default network.
func (v *VNets) Default() ident.VNet {
	i := slices.IndexFunc(v.nets, func(n VNet) bool { return n.Default })
	return v.nets[i].ID
}

// All are the networks, in the order of their creation.
func (v *VNets) All() []VNet { return slices.Clone(v.nets) }

// Table is the routing table of what there is now.
func (v *VNets) Table(seed uint64) (*Table, error) {
	return New(seed, v.routes, Default{Tenant: v.tenant, VNet: v.Default()})
}

// Connect is the network that a client is in from now on: the one that it
// chose, or the default for a client that chose none (0). The tunnel's context
// carries the answer until the client connects again. The error wraps
// ErrNoVNet.
func (v *VNets) Connect(chosen ident.VNet) (ident.VNet, error) {
	chosen = cmp.Or(chosen, v.Default())
	if _, err := v.index(chosen); err != nil {
		return 0, err
	}
	return chosen, nil
}

func (v *VNets) index(id ident.VNet) (int, error) {
	i := slices.IndexFunc(v.nets, func(n VNet) bool { return n.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("virtual network %d of tenant %d: %w", id, v.tenant, ErrNoVNet)
	}
	return i, nil
}

// Switch is a client's change from one virtual network to another (SEMANTICS
// 3.2): announced at At, known in each datacenter Propagation later. At any
// moment all of the client's flows in one datacenter are in one network.
type Switch struct {
	From, To ident.VNet
	At       vt.Instant
	// Propagation is how long the choice takes to reach a datacenter; nil means
	// no time at all.
	Propagation func(ident.Datacenter) time.Duration
}

// known is when a datacenter has learned of the change.
func (s *Switch) known(dc ident.Datacenter) vt.Instant {
	if s.Propagation == nil {
		return s.At
	}
	return s.At.Add(s.Propagation(dc))
}

// VNet is the network of what the client opens at a datacenter at a time.
func (s *Switch) VNet(dc ident.Datacenter, now vt.Instant) ident.VNet {
	if now < s.known(dc) {
		return s.From
	}
	return s.To
}

// Ends is when a flow that began at a time at a datacenter ends because of the
// change: with the old tunnel at once, and what came in between with the
// datacenter's learning of it; vt.Never for a flow in the new network.
func (s *Switch) Ends(dc ident.Datacenter, began vt.Instant) vt.Instant {
	switch known := s.known(dc); {
	case began < s.At:
		return s.At
	case began < known:
		return known
	}
	return vt.Never
}
