package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// minOwned is the widest prefix that a customer can bring along: every address of it
// is an entry on every server.
const minOwned = 24

// dedicatedRange checks what an account has of addresses besides the address
// itself: each server needs a slice of IPv4 and an address of IPv6 of its own.
func (r *resolver) dedicatedRange(path string, d *spec.Dedicated) {
	if d.IPv4.IsValid() && !d.IPv4.Is4() {
		r.fail(path+".ipv4", "", "%v is not IPv4, want an address such as 198.51.100.9, and ipv6 for a range", d.IPv4)
	}
	switch p := d.Owned; {
	case !p.IsValid():
	case d.IPv4.IsValid():
		r.fail(path+".owned", "", "owned beside ipv4, want one of them for each entry")
	case !p.Addr().Is4() || p.Bits() < minOwned:
		r.fail(path+".owned", "", "%v, want a prefix of IPv4 of /%d or longer, and ipv6 for a range", p, minOwned)
	}
	all := 0
	for _, dc := range r.s.Datacenters {
		all += max(dc.Servers, 1)
		if dc.ID == d.Datacenter && dc.Servers > ownSlices {
			r.fail(path+".datacenter", "", "%d servers in %s, but one address has slices for %d", dc.Servers, dc.ID, ownSlices)
		}
	}
	switch p := d.IPv6; {
	case !p.IsValid():
	case !p.Addr().Is6():
		r.fail(path+".ipv6", "", "%v is not IPv6, want a range such as 2001:db8:1::/64", p)
	case p.Bits() > maxBits(all):
		r.fail(path+".ipv6", "", "%v is too small, want an address for each of %d servers besides the routers' own", p, all)
	}
}

// maxBits is the longest prefix of IPv6 with n addresses besides its first.
func maxBits(n int) int {
	bits := 128
	for 1<<(128-bits) < n+1 {
		bits--
	}
	return bits
}

// dedicatedRule checks that an account has the addresses of a policy, and that
// the second is elsewhere: both would be down at once (SEMANTICS 6.2).
func (r *resolver) dedicatedRule(path string, a *spec.Account, p *spec.Policy) {
	if p.Action != "dedicated" {
		return
	}
	own := func(word string, addr netip.Addr) *spec.Dedicated {
		if !addr.IsValid() {
			return nil
		}
		for i := range a.Dedicated {
			if d := &a.Dedicated[i]; d.IPv4 == addr || d.Owned.Contains(addr) {
				return &a.Dedicated[i]
			} else if !d.IPv4.IsValid() && !d.Owned.IsValid() {
				return nil // which is a mistake by itself
			}
		}
		r.fail(path+"."+word, "", "the account has no dedicated address %v%s", addr, wantOne(each(a.Dedicated, func(d spec.Dedicated) string {
			if d.Owned.IsValid() {
				return d.Owned.String()
			}
			return d.IPv4.String()
		})))
		return nil
	}
	first := own("ipv4", p.IPv4)
	if p.Fallback == netip.IPv4Unspecified() {
		return
	}
	if second := own("fallback", p.Fallback); first != nil && second != nil && first.Datacenter == second.Datacenter {
		r.fail(path+".fallback", "", "%v is in %s too, want an address of another datacenter, or 0.0.0.0 for the shared pool", p.Fallback, first.Datacenter)
	}
}

// geofence checks that at least one egress address could pass.
func (r *resolver) geofence(path string, countries []string) {
	if len(countries) == 0 {
		return
	}
	served := map[string]bool{}
	for _, d := range r.s.Datacenters {
		for _, e := range d.Egress {
			served[strings.ToUpper(e.Country)] = true
		}
	}
	for _, a := range r.allAccounts() {
		for _, d := range a.account.Dedicated {
			served[strings.ToUpper(d.Country)] = true
			if d.Country == "" && !d.Owned.IsValid() {
				served[countryOf(r.s, d.Datacenter)] = true
			}
		}
	}
	for i, c := range countries {
		r.twoLetters(fmt.Sprintf("%s[%d]", path, i), c)
	}
	if !slices.ContainsFunc(countries, func(c string) bool { return served[strings.ToUpper(c)] }) {
		r.fail(path, "", "no egress address is published with %s: nobody could ever pass", oneOf(countries))
	}
}

// countryOf is the country of a datacenter's place.
func countryOf(s *spec.Scenario, dc string) string {
	for _, d := range s.Datacenters {
		if d.ID != dc {
			continue
		}
		code := d.Place
		if code == "" {
			code = d.ID
		}
		p, _ := place.Lookup(code)
		return p.Country
	}
	return ""
}
