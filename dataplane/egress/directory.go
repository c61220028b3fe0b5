package egress

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Directory is all egress addresses of all datacenters, indexed. It is
// immutable; the zero value holds none.
type Directory struct {
	addresses []Address
	at        map[netip.Addr]int
}

// NewDirectory indexes addresses. It refuses an address that is listed twice,
// that is neither IPv4 nor plain IPv6, whose slice 0 has an owner, or that is
// IPv6 and has more than one owner.
func NewDirectory(addresses []Address) (*Directory, error) {
	d := &Directory{addresses: addresses, at: make(map[netip.Addr]int, len(addresses))}
	var errs []error
	for i := range addresses {
		a := &addresses[i]
		switch _, twice := d.at[a.Addr]; {
		case !a.Addr.IsValid() || a.Addr.Is4In6() || a.Addr.Zone() != "":
			errs = append(errs, fmt.Errorf("egress address %v: want plain IPv4 or IPv6", a.Addr))
		case twice:
			errs = append(errs, fmt.Errorf("egress address %v is listed twice", a.Addr))
		case a.Owner[0] != 0:
			errs = append(errs, fmt.Errorf("egress address %v: slice 0 is owned by server %d, want nobody", a.Addr, a.Owner[0]))
		case a.Addr.Is6() && !a.whole():
			errs = append(errs, fmt.Errorf("egress address %v: want one owner of all slices of an IPv6 address, got %v", a.Addr, a.Owner[1:]))
		}
		d.at[a.Addr] = i
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

// whole reports whether one server owns all of the address, or nobody any of it.
func (a *Address) whole() bool {
	for _, owner := range a.Owner[1:] {
		if owner != a.Owner[1] {
			return false
		}
	}
	return true
}

// Lookup finds an address; nil if it is not an egress address.
func (d *Directory) Lookup(addr netip.Addr) *Address {
	if i, ok := d.at[addr]; ok {
		return &d.addresses[i]
	}
	return nil
}

// Owns reports whether server owns the port (or ICMP id) of the address.
func (d *Directory) Owns(server ident.Server, egress netip.AddrPort) bool {
	a := d.Lookup(egress.Addr())
	return a != nil && a.OwnerOf(egress.Port()) == server
}

// Addresses lists the directory in its order; read only.
func (d *Directory) Addresses() []Address { return d.addresses }
