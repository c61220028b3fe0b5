package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// slices per egress address that a server can own: 32 of 2048 ports, without
// the first, which holds the well-known ports (SEMANTICS 5.1).
const ownSlices = 31

// claim is an address range that something has, and where it says so.
type claim struct {
	prefix netip.Prefix
	what   string
	path   string
}

// addresses checks that no address on the Internet has two owners. Ranges are
// compared in order, so that only neighbours can overlap.
func (r *resolver) addresses() {
	var claims []claim
	add := func(path, what string, p netip.Prefix) {
		if !p.IsValid() {
			return
		}
		if own, yes := kept(p); yes {
			r.fail(path, "", "%s %s overlaps %s, which the lab keeps for itself", what, p, own)
			return
		}
		if why := notUnicast(p); why != "" {
			r.fail(path, "", "%s %s is %s", what, short(p), why)
			return
		}
		claims = append(claims, claim{p, what, path})
	}
	for _, d := range r.s.Datacenters {
		for j, e := range d.Egress {
			add(fmt.Sprintf("datacenters.%s.egress[%d].prefix", d.ID, j), "egress of "+d.ID, e.Prefix)
		}
	}
	for _, a := range r.allAccounts() {
		for j, d := range a.account.Dedicated {
			add(fmt.Sprintf("%s.dedicated[%d].ipv4", a.path, j), "dedicated address", single(d.IPv4))
			add(fmt.Sprintf("%s.dedicated[%d].owned", a.path, j), "customer's own range", d.Owned)
			add(fmt.Sprintf("%s.dedicated[%d].ipv6", a.path, j), "dedicated range", d.IPv6)
		}
	}
	for i := range r.s.Internet {
		h := &r.s.Internet[i]
		add(instance("internet", h.ID, h.Instance)+".address", "address of "+called(h.ID, h.Instance), single(h.Address))
		for j, a := range h.AsksFrom {
			add(fmt.Sprintf("%s.asks_from[%d].address", instance("internet", h.ID, h.Instance), j), "address of "+h.ID, single(a.Address))
		}
	}
	r.disjoint(claims)
}

// disjoint reports every claim that overlaps an earlier one.
func (r *resolver) disjoint(claims []claim) {
	order := make([]int, len(claims))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return claims[a].prefix.Compare(claims[b].prefix) })
	var open []int // ranges that contain the ones that follow
	for _, i := range order {
		for len(open) > 0 && !claims[open[len(open)-1]].prefix.Overlaps(claims[i].prefix) {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			// The later one in the file is the mistake.
			a, b := claims[open[len(open)-1]], claims[i]
			if open[len(open)-1] > i {
				a, b = b, a
			}
			if a.prefix == b.prefix {
				r.fail(b.path, "", "%s %s is also %s", b.what, short(b.prefix), a.what)
			} else {
				r.fail(b.path, "", "%s %s overlaps %s %s", b.what, short(b.prefix), a.what, short(a.prefix))
			}
		}
		open = append(open, i)
	}
}

// short writes a prefix of one address as the address.
func short(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func single(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// notUnicast says why a range cannot be that of a machine; "" if it can.
func notUnicast(p netip.Prefix) string {
	for _, bad := range []struct{ prefix, why string }{
		{"0.0.0.0/8", "no address of a machine"}, {"127.0.0.0/8", "loopback"}, {"169.254.0.0/16", "link-local"},
		{"224.0.0.0/4", "multicast"}, {"240.0.0.0/4", "reserved"}, {"::/127", "no address of a machine"},
		{"::ffff:0:0/96", "IPv4 in the form of IPv6"}, {"fe80::/10", "link-local"}, {"ff00::/8", "multicast"},
	} {
		if p.Overlaps(netip.MustParsePrefix(bad.prefix)) {
			return bad.why
		}
	}
	return ""
}

// instance is the path of a site or host.
func instance(list, id string, n int) string { return list + "." + called(id, n) }

// called is what selectors call an object: by its id, and its number if it has one.
func called(id string, n int) string {
	if n == 0 {
		return id
	}
	return id + "." + strconv.Itoa(n)
}

func (r *resolver) datacenters() {
	for i := range r.s.Datacenters {
		d := &r.s.Datacenters[i]
		path := "datacenters." + d.ID
		if _, ok := place.Lookup(d.Place); !ok && d.ID != "" {
			if r.present(path + ".place") {
				r.code(path+".place", d.Place, nil)
			} else {
				r.fail(path+".id", r.hintCode(d.ID, nil), "%q is not an IATA code; want one, or place: with one", clip(d.ID))
			}
		}
		if d.Region != "" && !slices.Contains(place.Regions(), d.Region) {
			r.fail(path+".region", suggest(d.Region, place.Regions()), "region %q, want one of %s", clip(d.Region), oneOf(place.Regions()))
		}
		r.slices(path, d)
	}
}

// slices checks that every server can own ports: by number, or as the file says.
func (r *resolver) slices(path string, d *spec.Datacenter) {
	addresses, explicit := 0, false
	for j, e := range d.Egress {
		at := fmt.Sprintf("%s.egress[%d]", path, j)
		r.country(at+".country", e.Country)
		if !e.Prefix.IsValid() {
			r.missing(at, "prefix", "an egress without prefix, want one such as 198.51.100.0/30")
			continue
		}
		bits := e.Prefix.Addr().BitLen() - e.Prefix.Bits()
		if e.Spare {
			r.spare(at, e, max(d.Servers, 1))
			continue
		}
		if e.Prefix.Addr().Is4() {
			addresses += 1 << bits
		} else {
			addresses = maxServers // no slicing is needed in IPv6 (SEMANTICS 5.1)
			r.egress6(at, e, max(d.Servers, 1))
			continue
		}
		explicit = explicit || len(e.Slices) > 0
		for slice, server := range e.Slices {
			where := fmt.Sprintf("%s.slices.%d", at, slice)
			if slice < 1 || slice > ownSlices {
				r.fail(where, "", "slice %d, want 1 to %d (slice 0 holds the well-known ports)", slice, ownSlices)
			}
			if server < 1 || server > max(d.Servers, 1) {
				r.fail(where, "", "slice %d belongs to server %d, but %s has servers 1 to %d", slice, server, d.ID, max(d.Servers, 1))
			}
		}
	}
	if addresses > 0 && !explicit && d.Servers > ownSlices*addresses {
		r.fail(path+".servers", "", "%d servers, but the %d egress addresses of %s have slices for %d", d.Servers, addresses, d.ID, ownSlices*addresses)
	}
}

// spare checks addresses that are nobody's yet: they are divided when they are
// allocated.
func (r *resolver) spare(path string, e spec.Egress, servers int) {
	if e.Prefix.Addr().Is6() {
		r.egress6(path, e, servers)
	} else if len(e.Slices) > 0 {
		r.fail(path+".slices", "", "a spare address has no owners: want slices or spare")
	}
}

// code checks that a place is known: an IATA code, or one of the others.
func (r *resolver) code(path, code string, others []string) {
	if _, ok := place.Lookup(code); ok && code == strings.ToLower(code) || slices.Contains(others, code) {
		return
	}
	want := "an IATA code such as lhr"
	if len(others) > 0 {
		want = "a datacenter or " + want
	}
	r.fail(path, r.hintCode(code, others), "unknown place %q, want %s", clip(code), want)
}

func (r *resolver) hintCode(code string, others []string) string {
	if lower := strings.ToLower(code); lower != code {
		if _, ok := place.Lookup(lower); ok {
			return fmt.Sprintf("%q", lower)
		}
	}
	if hint := suggest(code, others); hint != "" {
		return hint
	}
	if found := place.Suggest(code); found != "" {
		return fmt.Sprintf("%q", found)
	}
	return ""
}

// country checks a code of two letters.
func (r *resolver) country(path, code string) {
	switch {
	case code == "" || place.IsCountry(code):
	case strings.EqualFold(code, "UK"): // reserved for who would write it (ISO 3166-1)
		r.fail(path, `"GB"`, "no country %q", code)
	case len(code) == 2 && strings.Trim(strings.ToLower(code), "abcdefghijklmnopqrstuvwxyz") == "":
		r.fail(path, "", "no country %q: nobody lives there, and nobody can be served as if", code)
	default:
		r.fail(path, "", "country %q, want a code of two letters such as GB", clip(code))
	}
}

// nears checks where everything is.
func (r *resolver) nears(ix *names) {
	located := datacenterIDs(r.s)
	dcs := append(slices.Clone(located), transitIDs(r.s)...) // a host may hang on an AS by name
	check := func(path string, near spec.Near) {
		for _, p := range near {
			r.code(path+".near."+p.Code, p.Code, dcs)
		}
	}
	for i := range r.s.Sites {
		o := &r.s.Sites[i]
		check(instance("sites", o.ID, o.Instance), o.Near)
	}
	for i := range r.s.Devices {
		o := &r.s.Devices[i]
		path := instance("devices", o.ID, o.Instance)
		check(path, o.Near)
		r.country(path+".country", o.Country)
	}
	// As the file has them, before instances are dealt out.
	for _, o := range r.file.spec.Sites {
		r.undealt("sites", o.ID, o.Near, dcs)
	}
	for _, o := range r.file.spec.Devices {
		r.undealt("devices", o.ID, o.Near, dcs)
	}
	for i := range r.s.Internet {
		o := &r.s.Internet[i]
		path := instance("internet", o.ID, o.Instance)
		check(path, o.Near)
		r.country(path+".country", o.Country)
		r.geofence(path+".geofence", o.Geofence)
		r.resolves(ix, path, o)
	}
	for _, o := range r.s.Transit {
		for _, p := range o.Near {
			r.code("transit."+o.ID+".near."+p.Code, p.Code, located)
		}
	}
	for _, o := range r.s.Connectors {
		check("connectors."+o.ID, o.Near)
	}
}

// wasSet reports whether a setting wrote a path.
func (r *resolver) wasSet(path string) bool {
	_, _, ok := r.written(path)
	return ok
}

// maxPrepend bounds an AS path's own repetitions; beyond it nobody prepends.
const maxPrepend = 64
