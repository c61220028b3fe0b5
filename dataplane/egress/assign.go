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

// Assign divides the addresses of a datacenter among its servers, both in plan
// order: server i, counted from 1, owns slice i of every address. An address
// serves 31 servers; with more, the servers form groups of 31 in order and the
// addresses are dealt to the groups in turn. Pure: the same everywhere.
func Assign(dc ident.Datacenter, addresses []netip.Addr, servers []ident.Server) ([]Address, error) {
	groups := (len(servers) + Owners - 1) / Owners
	if len(addresses) < groups {
		return nil, fmt.Errorf("%w: datacenter %d has %d for %d servers, want %d or more (%d servers per address)",
			ErrTooFewAddresses, dc, len(addresses), len(servers), groups, Owners)
	}
	assigned := make([]Address, len(addresses))
	for i, addr := range addresses {
		assigned[i] = Address{Addr: addr, Datacenter: dc}
		if groups == 0 {
			continue
		}
		first := i % groups * Owners
		for k, server := range servers[first:min(first+Owners, len(servers))] {
			assigned[i].Owner[k+1] = server
		}
	}
	return assigned, nil
}
