// Package route is unified routing: longest prefix, then kind, priority and
// weights, then ECMP (SEMANTICS 2), in virtual networks that do not see each
// other (SEMANTICS 3).
//
// It decides by destination; it knows no flow, changes no packet and probes no
// tunnel: health comes in as a penalty. A Table is what servers ask; In says
// which routes a datacenter's has. Its law, checked against a walk over all
// routes in the tests: the answer is a pure function of routes, domain,
// destination and hash.
package route

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
)

// Source says where a route comes from; static beats BGP at equal prefix and priority (SEMANTICS 2.3).
type Source string

// Plane is the kind of next hop: at equal prefix length ZT beats WAN (SEMANTICS 2.3).
type Plane string

const (
	Static Source = "static"
	BGP    Source = "bgp"
	WAN    Plane  = "wan"
	ZT     Plane  = "zt"
)

// Route sends a prefix to an on-ramp (SEMANTICS 2.2).
type Route struct {
	ID     string       `json:"id"`
	Tenant ident.Tenant `json:"tenant"`
	VNet   ident.VNet   `json:"vnet"`
	Prefix netip.Prefix `json:"prefix"`
	// NextHop is the on-ramp; 0 is a null route (drop).
	NextHop  ident.OnRamp `json:"next_hop"`
	Priority int          `json:"priority"` // lower wins
	// Weight is 1..256 of the ECMP share; 0 means unweighted (SEMANTICS 2.4).
	Weight int    `json:"weight,omitempty"`
	Source Source `json:"source,omitempty"` // empty means static
	Plane  Plane  `json:"plane,omitempty"`  // empty means WAN
}
