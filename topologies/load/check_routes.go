package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// accountAt is an account and its path.
type accountAt struct {
	account *spec.Account
	path    string
}

// allAccounts are the single account and the listed ones.
func (r *resolver) allAccounts() []accountAt {
	var out []accountAt
	if r.s.Account != nil {
		out = append(out, accountAt{r.s.Account, "account"})
	}
	for i := range r.s.Accounts {
		a := &r.s.Accounts[i]
		path := item("accounts", i)
		if a.ID != "" {
			path = "accounts." + a.ID
		}
		out = append(out, accountAt{a, path})
	}
	return out
}

func (r *resolver) byAccount() map[string]*spec.Account {
	out := map[string]*spec.Account{}
	for _, a := range r.allAccounts() {
		out[a.account.ID] = a.account
	}
	return out
}

// account checks a mention of an account.
func (r *resolver) account(path, id string, all map[string]*spec.Account) {
	if all[id] != nil {
		return
	}
	var ids []string
	for known := range all {
		ids = append(ids, known)
	}
	slices.Sort(ids)
	if id == defaultAccount && !r.present(path) {
		r.fail(path, "", "which of the accounts %s? want account:", oneOf(ids))
		return
	}
	r.fail(path, suggest(id, ids), "no account %q, want one of %s", clip(id), oneOf(ids))
}

// vnet checks a mention of a virtual network.
func (r *resolver) vnet(path, id string, a *spec.Account) {
	if id == "" || id == defaultVNet || a == nil {
		return
	}
	ids := append(each(a.VNets, func(v spec.VNet) string { return v.ID }), defaultVNet)
	switch {
	case slices.Contains(ids, id):
	case r.gone(id, a):
		r.fail(path, "", "virtual network %q is taken away and still named here, want none in it first", clip(id))
	default:
		r.fail(path, suggest(id, ids), "no virtual network %q, want one of %s", clip(id), oneOf(ids))
	}
}

func (r *resolver) accounts(ix *names) {
	for _, a := range r.allAccounts() {
		r.vnets(a)
		r.dedicated(a)
		r.policies(a)
	}
	book := &routeBook{seen: map[routeKey]string{}, named: map[string]bool{}}
	all := r.allAccounts()
	if len(all) > 0 {
		r.routes(ix, "routes", r.s.Routes, all[0].account, book)
	}
	for _, a := range all {
		r.routes(ix, a.path+".routes", a.account.Routes, a.account, book)
	}
	r.implied(book)
}

func (r *resolver) vnets(a accountAt) {
	ids, defaults := map[string]bool{}, ""
	for i, v := range a.account.VNets {
		path := fmt.Sprintf("%s.vnets[%d]", a.path, i)
		if v.ID == "" {
			r.missing(path, "id", "a virtual network without id")
			continue
		}
		r.word(path+".id", "id", v.ID)
		if ids[v.ID] {
			r.fail(path+".id", "", "two virtual networks are called %q", v.ID)
		}
		ids[v.ID] = true
		if v.Default && defaults != "" {
			r.fail(path+".default", "", "%s and %s are both the default virtual network, want one", defaults, v.ID)
		}
		if v.Default {
			defaults = v.ID
		}
	}
}

func (r *resolver) dedicated(a accountAt) {
	dcs := datacenterIDs(r.s)
	for i, d := range a.account.Dedicated {
		path := fmt.Sprintf("%s.dedicated[%d]", a.path, i)
		r.country(path+".country", d.Country)
		if !d.IPv4.IsValid() && !d.Owned.IsValid() && r.refused(path+".owned") == "" {
			r.missing(path, "ipv4", "a dedicated address without ipv4 or owned")
		}
		if d.Datacenter == "" {
			r.missing(path, "datacenter", "a dedicated address without datacenter")
		} else if !slices.Contains(dcs, d.Datacenter) {
			r.fail(path+".datacenter", suggest(d.Datacenter, dcs), "no datacenter %q, want one of %s", clip(d.Datacenter), oneOf(dcs))
		}
		r.dedicatedRange(path, &d)
	}
}

// routeKey is what makes two routes identical (SEMANTICS 3.1): for routes to
// connectors hop is empty, because there a prefix exists once.
type routeKey struct {
	account, vnet      string
	prefix             netip.Prefix
	hop, source, scope string
}

// vnetName is a virtual network by its name: none means the default one.
func vnetName(id string, a *spec.Account) string {
	if id != "" {
		return id
	}
	if a != nil {
		for _, v := range a.VNets {
			if v.Default {
				return v.ID
			}
		}
	}
	return defaultVNet
}

func (r *resolver) routes(ix *names, path string, routes []spec.Route, a *spec.Account, book *routeBook) {
	dcs := datacenterIDs(r.s)
	for i := range routes {
		t := &routes[i]
		at := item(path, i)
		if !t.Prefix.IsValid() {
			r.missing(at, "prefix", "a route without prefix")
		}
		if t.ID != "" {
			r.word(at+".id", "id", t.ID)
		}
		r.vnet(at+".vnet", t.VNet, a)
		if t.Weight < 0 || t.Weight > 256 {
			r.fail(at+".weight", "", "weight %d, want 0 to 256", t.Weight)
		}
		if t.Priority < 0 {
			r.fail(at+".priority", "", "priority %d, want 0 or more", t.Priority)
		}
		for j, region := range t.Regions {
			if !slices.Contains(place.Regions(), region) {
				r.fail(fmt.Sprintf("%s.regions[%d]", at, j), suggest(region, place.Regions()), "region %q, want one of %s", clip(region), oneOf(place.Regions()))
			}
		}
		for j, dc := range t.Datacenters {
			if !slices.Contains(dcs, dc) {
				r.fail(fmt.Sprintf("%s.datacenters[%d]", at, j), suggest(dc, dcs), "no datacenter %q, want one of %s", clip(dc), oneOf(dcs))
			}
		}
		r.reserved(at, t)
		r.bgp(at, t, a)
		r.unique(ix, at, t, a, book)
	}
}

// unique checks a route's next hops, and that no other route is identical.
func (r *resolver) unique(ix *names, at string, t *spec.Route, a *spec.Account, book *routeBook) {
	hops := []string{""}
	if t.Via != "" {
		hops = r.target(ix, at+".via", t.Via, "on-ramps or connectors such as shop.1.wan", kindRamp|kindGateway)
	}
	if !t.Prefix.IsValid() {
		return
	}
	key := routeKey{account: a.ID, vnet: vnetName(t.VNet, a), prefix: t.Prefix, source: t.Source, scope: strings.Join(t.Regions, ",") + "/" + strings.Join(t.Datacenters, ",")}
	for _, hop := range hops {
		key.hop = hop
		to := "via " + hop
		switch {
		case ix.kinds[hop]&kindGateway != 0:
			key.hop, key.source, key.scope, to = toConnector, "", "", "to a connector"
			book.named[hop] = true
		case hop == "":
			to = "to nowhere"
		}
		if first, twice := book.seen[key]; twice {
			where := r.mistake(first, "", "")
			r.fail(at+".prefix", "", "a second route for %s %s in virtual network %s (error 1014), first in line %d", t.Prefix, to, key.vnet, where.Line)
			return
		}
		book.seen[key] = at + ".prefix"
	}
}
