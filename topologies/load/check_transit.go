package load

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// reservedASN says whether a number is the network's own, or means something else
// than an AS (RFC 6793, RFC 7300).
func reservedASN(n uint32) bool {
	return n == route.NetworkASN || n == asTrans || n == lastAS2 || n == lastAS4
}

// transit checks ASes, their relations and what is announced.
func (r *resolver) transit() {
	asns := map[uint32]string{}
	for _, t := range r.s.Transit {
		path := "transit." + t.ID
		switch {
		case reservedASN(t.ASN):
			r.fail(path+".asn", "", "asn %d is reserved, want a number of its own such as 64500", t.ASN)
		case t.ASN != 0 && asns[t.ASN] != "":
			r.fail(path+".asn", "", "asn %d is that of %s, want a number of its own", t.ASN, asns[t.ASN])
		}
		asns[t.ASN] = t.ID
	}
	if r.relations() {
		r.providerLoop()
	}
	r.announcements()
}

// known checks that all of a list are among some ids.
func (r *resolver) known(path string, mentioned, known []string, what string) bool {
	good := true
	for i, id := range mentioned {
		if !slices.Contains(known, id) {
			r.fail(item(path, i), suggest(id, known), "no %s %q%s", what, clip(id), wantOne(known))
			good = false
		}
	}
	return good
}

// relations checks that any two ASes, and an AS and a datacenter, are one thing
// to each other.
func (r *resolver) relations() bool {
	good := true
	ids := transitIDs(r.s)
	neighbours := append(slices.Clone(ids), datacenterIDs(r.s)...)
	is := map[[2]string]bgp.Relation{}
	for _, t := range r.s.Transit {
		path := "transit." + t.ID
		for _, list := range []struct {
			word     string
			ids      []string
			among    []string
			what     string
			relation bgp.Relation
		}{
			{"providers", t.Providers, ids, "transit", bgp.Provider},
			{"peers", t.Peers, neighbours, "transit or datacenter", bgp.Peer},
			{"customers", t.Customers, neighbours, "transit or datacenter", bgp.Customer},
		} {
			good = r.known(path+"."+list.word, list.ids, list.among, list.what) && good
			for i, other := range list.ids {
				where := item(path+"."+list.word, i)
				was := is[[2]string{t.ID, other}]
				switch {
				case other == t.ID:
					r.fail(where, "", "%s is no neighbour of itself", t.ID)
					good = false
				case was != "" && was != list.relation:
					r.fail(where, "", "%s is a %s of %s already, want one relation between two", other, was, t.ID)
					good = false
				}
				is[[2]string{t.ID, other}], is[[2]string{other, t.ID}] = list.relation, list.relation.Reverse()
			}
		}
	}
	return good
}

// providerLoop refuses an AS that is its own provider by way of others: nobody
// can pay himself, and routing may never come to rest (Gao and Rexford, 2001).
func (r *resolver) providerLoop() {
	customers := map[string][]string{}
	for _, t := range r.s.Transit {
		customers[t.ID] = append(customers[t.ID], t.Customers...)
		for _, p := range t.Providers {
			customers[p] = append(customers[p], t.ID)
		}
	}
	state := map[string]int{} // 1 on the way down, 2 seen
	var walk func(id string) bool
	walk = func(id string) bool {
		state[id] = 1
		for _, c := range customers[id] {
			if state[c] == 1 || state[c] == 0 && walk(c) {
				return true
			}
		}
		state[id] = 2
		return false
	}
	for _, t := range r.s.Transit {
		if state[t.ID] == 0 && walk(t.ID) {
			r.fail("transit."+t.ID, "", "%s is among the providers of its own providers, want none that pays itself", t.ID)
			return
		}
	}
}

// announcements checks what announcements say, and that no two say different
// things of the same.
func (r *resolver) announcements() {
	ids := transitIDs(r.s)
	known := append(datacenterIDs(r.s), ids...)
	for i := range r.s.Announce {
		a := &r.s.Announce[i]
		path := item("announce", i)
		if a.Prefix == "" {
			r.missing(path, "prefix", "an announcement without prefix")
		} else if p, err := netip.ParsePrefix(a.Prefix); a.Prefix != spec.TunnelAddress && (err != nil || p != p.Masked()) {
			want := "want one such as 198.51.100.0/24, or tunnel"
			if err == nil {
				want = fmt.Sprintf("want %v", p.Masked())
			}
			r.fail(path+".prefix", "", "prefix %q, %s", clip(a.Prefix), want)
		}
		r.known(path+".from", a.From, known, "datacenter or transit")
		r.known(path+".to", a.To, known, "datacenter or transit")
		r.announceWords(path, a)
		for j := range r.s.Announce[:i] {
			if b := &r.s.Announce[j]; a.Prefix == b.Prefix && a.Prefix != "" && meet(a.From, b.From) && meet(a.To, b.To) {
				r.fail(path, "", "%s says already how %s is announced from there to them, want entries that differ in from or to", item("announce", j), clip(a.Prefix))
				break
			}
		}
	}
}

// meet says whether two lists have something in common; an empty one has everything.
func meet(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// announceWords checks how something is announced.
func (r *resolver) announceWords(path string, a *spec.Announce) {
	if a.Prepend < 0 || a.Prepend > maxPrepend {
		r.fail(path+".prepend", "", "prepend %d, want 0 to %d", a.Prepend, maxPrepend)
	}
	for j, c := range a.Communities {
		if _, err := bgp.ParseCommunity(c); err != nil {
			r.fail(item(path+".communities", j), suggest(c, bgp.CommunityNames()), "community %q, want two numbers from 0 to 65535 such as 64500:120, or %s", clip(c), oneOf(bgp.CommunityNames()))
		}
	}
	if len(r.s.Transit) > 0 {
		return
	}
	for _, w := range []struct {
		word  string
		given bool
	}{{"to", len(a.To) > 0}, {"prepend", a.Prepend > 0}, {"communities", len(a.Communities) > 0}} {
		if w.given {
			r.fail(path+"."+w.word, "", "%s needs somebody to tell it to, want transit", w.word)
		}
	}
}

// maxHold is the longest hold time: 16 bits of seconds (RFC 4271 section 4.2).
const maxHold = 65535 * time.Second
