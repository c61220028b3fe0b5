package load

import (
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// reserved refuses a route into a range that the network keeps for itself
// (SEMANTICS 2.3). Broader routes are legal: the range is the longer prefix.
func (r *resolver) reserved(path string, t *spec.Route) {
	if kept, into := route.ReservedBy(t.Prefix); into {
		r.fail(path+".prefix", "", "route to %s, but %s is reserved for %s", t.Prefix, kept.Prefix, kept.For)
	}
}

// Numbers that are nobody's: the one that stands for four bytes where there is room
// for two (RFC 6793 section 9), and the last of two and of four bytes (RFC 7300).
const (
	asTrans = 23456
	lastAS2 = 1<<16 - 1
	lastAS4 = 1<<32 - 1
)

// asn refuses numbers with which a site's router could have no session of eBGP with
// the network (SEMANTICS 2.7).
func (r *resolver) asn(path string, asn uint32) {
	switch asn {
	case route.NetworkASN:
		r.fail(path+".asn", "", "AS %d is the network's own, want another: sessions are between two ASes", asn)
	case asTrans:
		r.fail(path+".asn", "", "AS %d is nobody's (RFC 6793), want another", asn)
	case lastAS2, lastAS4:
		r.fail(path+".asn", "", "AS %d is nobody's (RFC 7300), want another", asn)
	}
}

// bgp checks what only routes learned by BGP have, and what they have not
// (SEMANTICS 2.6, 2.7).
func (r *resolver) bgp(path string, t *spec.Route, a *spec.Account) {
	if t.Source != string(route.BGP) {
		if len(t.Communities) > 0 {
			r.fail(path+".communities", "", "communities belong to source: bgp")
		}
		if t.Prepend != 0 {
			r.fail(path+".prepend", "", "prepend belongs to source: bgp")
		}
		return
	}
	if a.Routing == "legacy" {
		// SEMANTICS 2.1: BGP over tunnels is a part of unified routing.
		r.fail(path+".source", "", "a route learned by BGP needs routing: unified, but account %s has routing: legacy", a.ID)
	}
	if t.Priority != 0 {
		r.fail(path+".priority", "", "a route learned by BGP has no priority of its own: want communities such as [\"13335:60050\"], or prepend")
	}
	if t.Via == "" {
		r.fail(path+".source", "", "a route learned by BGP needs a tunnel to learn it by, want via: such as shop.1.wan")
	}
	if len(t.Regions) > 0 || len(t.Datacenters) > 0 {
		r.fail(path+".source", "", "a route learned by BGP exists everywhere, want it without regions and datacenters")
	}
	if t.Prepend < 0 || t.Prepend > maxPrepend {
		r.fail(path+".prepend", "", "prepend %d, want 0 to %d", t.Prepend, maxPrepend)
	}
	known := route.BaseCommunities()
	for i, text := range t.Communities {
		at := fmt.Sprintf("%s.communities[%d]", path, i)
		c, err := route.ParseCommunity(text)
		switch {
		case err != nil:
			r.fail(at, "", "%v", err)
		case c.Ours() && !slices.Contains(known, c):
			words := make([]string, len(known))
			for j, k := range known {
				words[j] = k.String()
			}
			r.fail(at, suggest(text, words), "community %s means nothing, want one of %s", text, oneOf(words))
		}
	}
}
