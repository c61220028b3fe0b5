package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// ErrDuplicate is wrapped by a DuplicateError: a route for that exact subnet
// exists, API code 1014 (SEMANTICS 3.1).
var ErrDuplicate = errors.New("route exists already (error 1014)")

// DuplicateError names two routes of one tenant and virtual network that have
// the same prefix and cannot both be: of the ZT plane, which holds each prefix
// once (SEMANTICS 2.3), or with the same next hop and source. Equal prefixes
// of the WAN with different next hops are not duplicates but ECMP.
type DuplicateError struct{ First, Second Route }

// Error implements error.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("route %q: %v with next hop %d in tenant %d, vnet %d is already route %q (error 1014)",
		e.Second.ID, e.Second.Prefix.Masked(), e.Second.NextHop, e.Second.Tenant, e.Second.VNet, e.First.ID)
}

// Unwrap makes errors.Is(err, ErrDuplicate) true.
func (e *DuplicateError) Unwrap() error { return ErrDuplicate }

// MaxEqual is the most routes of one prefix, plane and priority (SEMANTICS 2.2).
const MaxEqual = 64

// TooManyError names the route that is one more than MaxEqual.
type TooManyError struct{ Route Route }

// Error implements error.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("route %q: want at most %d routes to %v of priority %d", e.Route.ID, MaxEqual, e.Route.Prefix.Masked(), e.Route.Priority)
}

// MaxWeight is the largest weight (SEMANTICS 2.4).
const MaxWeight = 256

// place is a prefix of a domain.
type place struct {
	domain
	prefix netip.Prefix
}

// set is routes that can stand together, by place in the order in which each
// place came up.
type set struct {
	places  []place
	members map[place][]Route
	first   map[identity]Route
	equal   map[rank]int
}

// identity is what no two routes share.
type identity struct {
	place
	plane   Plane
	nextHop ident.OnRamp // 0 in the ZT plane, which holds a prefix once
	bgp     bool
}

// rank is what at most MaxEqual routes share.
type rank struct {
	place
	plane    Plane
	priority int
}

func newSet() *set {
	return &set{members: make(map[place][]Route), first: make(map[identity]Route), equal: make(map[rank]int)}
}

// add takes a route in, or says why it cannot stand beside the others.
func (s *set) add(r Route) error {
	p, plane := place{domain{r.Tenant, r.VNet}, r.Prefix.Masked()}, cmp.Or(r.Plane, WAN)
	key := identity{place: p, plane: plane}
	if plane == WAN {
		key.nextHop, key.bgp = r.NextHop, r.Source == BGP
	}
	if old, ok := s.first[key]; ok {
		return &DuplicateError{First: old, Second: r}
	}
	at := rank{p, plane, r.Priority}
	if s.equal[at] == MaxEqual {
		return &TooManyError{r}
	}
	s.equal[at]++
	s.first[key] = r
	if s.members[p] == nil {
		s.places = append(s.places, p)
	}
	s.members[p] = append(s.members[p], r)
	return nil
}

// check refuses what is not a route.
func (r *Route) check() error {
	switch {
	case !r.Prefix.IsValid():
		return errors.New("want a prefix such as 10.0.1.0/24, got none")
	case r.Prefix.Addr().Is4In6():
		return fmt.Errorf("want a plain IPv4 prefix, got the mapped %v", r.Prefix)
	case r.Tenant == 0 || r.VNet == 0:
		return fmt.Errorf("want a tenant and a vnet, got %d and %d", r.Tenant, r.VNet)
	case r.Weight < 0 || r.Weight > MaxWeight:
		return fmt.Errorf("want a weight from 0 to %d, got %d", MaxWeight, r.Weight)
	case r.Source != "" && r.Source != Static && r.Source != BGP:
		return fmt.Errorf("want source %q or %q, got %q", Static, BGP, r.Source)
	case r.Plane != "" && r.Plane != WAN && r.Plane != ZT:
		return fmt.Errorf("want plane %q or %q, got %q", WAN, ZT, r.Plane)
	}
	return nil
}
