// Package egress is soft-unicast: egress addresses that live in no machine.
// An address belongs to one datacenter, each aligned slice of its ports to one
// server; of an IPv6 address all slices to the same (SEMANTICS 5.1).
package egress

import (
	"net/netip"

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
}
