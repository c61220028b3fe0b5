package egress

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Owners is how many servers one address serves: all slices but slice 0.
const Owners = Slices - 1

// ErrTooFewAddresses is wrapped by Assign.
var ErrTooFewAddresses = errors.New("too few egress addresses")

// Slice is the slice of a port or ICMP id.
func Slice(port uint16) int { return int(port / SliceSize) }

// OwnerOf is the server that owns port (or ICMP id) of a; 0 is nobody
// (SEMANTICS 5.2).
func (a *Address) OwnerOf(port uint16) ident.Server { return a.Owner[Slice(port)] }

// AddressesFor is how many IPv4 addresses give every one of n servers a slice.
func AddressesFor(n int) int { return (n + Owners - 1) / Owners }

// WasOf is who owned port before a move that drains; 0 is nobody.
func (a *Address) WasOf(port uint16) ident.Server { return a.Was[Slice(port)] }

// Assign divides the addresses of a datacenter among its servers, both in plan
// order.
//
// IPv4 is shared: server i, counted from 1, owns slice i of every address. An
// address serves 31 servers; with more, the servers form groups of 31 in order
// and the addresses are dealt to the groups in turn.
//
// IPv6 is not (SEMANTICS 5.1): the addresses are dealt to the servers in turn,
// each whole, so that a reply finds its server by address alone.
//
// A family may be left out; one that is there must do for all servers, or the
// error wraps ErrTooFewAddresses. Pure: the same everywhere.
func Assign(dc ident.Datacenter, addresses []netip.Addr, servers []ident.Server) ([]Address, error) {
	groups := AddressesFor(len(servers))
	whole := 0
	for _, addr := range addresses {
		if addr.Is6() {
			whole++
		}
	}
	switch sliced := len(addresses) - whole; {
	case sliced < groups && (sliced > 0 || whole == 0):
		return nil, fmt.Errorf("%w: datacenter %d has %d for %d servers, want %d or more (%d servers per address)",
			ErrTooFewAddresses, dc, sliced, len(servers), groups, Owners)
	case whole > 0 && whole < len(servers):
		return nil, fmt.Errorf("%w: datacenter %d has %d of IPv6 for %d servers, want one or more for each",
			ErrTooFewAddresses, dc, whole, len(servers))
	}
	assigned := make([]Address, len(addresses))
	four, six := 0, 0
	for i, addr := range addresses {
		assigned[i] = Address{Addr: addr, Datacenter: dc}
		switch {
		case groups == 0:
		case addr.Is6():
			assigned[i].Own(servers[six%len(servers)])
			six++
		default:
			first := four % groups * Owners
			copy(assigned[i].Owner[1:], servers[first:min(first+Owners, len(servers))])
			four++
		}
	}
	return assigned, nil
}

// Own gives a server all slices, but for the well-known ports.
func (a *Address) Own(server ident.Server) {
	for k := 1; k < Slices; k++ {
		a.Owner[k] = server
	}
}

// Hosts are the first n addresses of an IPv6 prefix for Assign. The very first
// is left out: it means the subnet's routers (RFC 4291 section 2.6.1). The error
// wraps ErrTooFewAddresses if the prefix is too long for n.
func Hosts(prefix netip.Prefix, n int) ([]netip.Addr, error) {
	if !prefix.Addr().Is6() || prefix.Addr().Is4In6() {
		return nil, fmt.Errorf("egress prefix %v: want IPv6", prefix)
	}
	hosts := make([]netip.Addr, 0, n)
	for a := prefix.Masked().Addr().Next(); len(hosts) < n; a = a.Next() {
		if !prefix.Contains(a) {
			return nil, fmt.Errorf("%w: %v has %d besides its routers', want %d", ErrTooFewAddresses, prefix, len(hosts), n)
		}
		hosts = append(hosts, a)
	}
	return hosts, nil
}
