// Package egress is soft-unicast: egress addresses that live in no machine.
// An address belongs to one datacenter, each aligned slice of its ports to one
// server; of an IPv6 address all slices to the same (SEMANTICS 5.1).
package egress

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

const (
	// SliceSize is the ports of a slice: the owner is port >> 11 (SEMANTICS 5.1).
	SliceSize = 2048
	// Slices per address; slice 0 holds the well-known ports and is unused.
	Slices = 32
)

// Address is one entry of the egress directory.
type Address struct {
	Addr       netip.Addr       `json:"addr"`
	Datacenter ident.Datacenter `json:"datacenter"`
	// Owner of each slice; 0 is nobody. Owner[0] is always 0.
	Owner [Slices]ident.Server `json:"owner"`
	// Country is the published intention, an ISO 3166 alpha-2 code; may be empty.
	Country string   `json:"country,omitempty"`
	Tags    []string `json:"tags,omitempty"`
	// Tenant has the address to itself (SEMANTICS 6.1); 0 shares it with all.
	Tenant ident.Tenant `json:"tenant,omitempty"`
	// Was are the owners before a move that drains: flows that they have go on,
	// and end there (SEMANTICS 5.2).
	Was [Slices]ident.Server `json:"was,omitzero"`
	// Closed: no flow may begin with this address yet but where it was.
	Closed bool `json:"closed,omitempty"`
	// Version counts the moves of the address.
	Version uint64 `json:"version,omitempty"`
}

// Opens are the owners with which flows may begin.
func (a *Address) Opens() *[Slices]ident.Server {
	if a.Closed {
		return &a.Was
	}
	return &a.Owner
}

// TagCDN marks addresses that origins trust as the CDN's (SEMANTICS 5.1): no
// user's flow leaves by them.
const TagCDN = "cdn"

// CDN reports whether the address has TagCDN.
func (a *Address) CDN() bool { return slices.Contains(a.Tags, TagCDN) }
