package load

import (
	"fmt"
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// resolves checks what a host says as a name server, and whom a resolver asks
// from where.
func (r *resolver) resolves(ix *names, path string, o *spec.InternetHost) {
	r.askers(path, o)
	if len(o.Resolves) == 0 {
		return
	}
	hosts := each(r.s.Internet, func(h spec.InternetHost) string { return h.ID })
	for _, country := range slices.Sorted(maps.Keys(o.Resolves)) {
		at := path + ".resolves." + country
		if country != spec.DefaultView {
			r.country(at, country)
		}
		switch to := ix.internet[o.Resolves[country]]; {
		case to == nil:
			r.fail(at, suggest(o.Resolves[country], hosts), "no host %q in internet%s", clip(o.Resolves[country]), wantOne(hosts))
		case len(to.Resolves) > 0:
			r.fail(at, "", "%s is a name itself, want a host with services", to.ID)
		case to.Address.Is4() != o.Address.Is4():
			r.fail(at, "", "%s is of another address family than %s", to.ID, o.ID)
		}
	}
	if _, ok := o.Resolves[spec.DefaultView]; !ok && r.refused(path+".resolves") == "" {
		r.missing(path+".resolves", spec.DefaultView, "no default, want the host that everybody else is sent to, such as default: web")
	}
}

// askers checks the words of a resolver.
func (r *resolver) askers(path string, o *spec.InternetHost) {
	serves := slices.Contains(o.Serve, spec.DNS)
	if o.ClientSubnet && !serves {
		r.fail(path+".client_subnet", "", "client_subnet belongs to a resolver, want serve: [dns] beside it")
	}
	if len(o.AsksFrom) > 0 && (!serves || !o.Proxied) {
		r.fail(path+".asks_from", "", "asks_from belongs to a resolver in every datacenter, want serve: [dns] and proxied: true beside it")
		return
	}
	dcs, seen := datacenterIDs(r.s), map[string]bool{}
	for i, a := range o.AsksFrom {
		at := fmt.Sprintf("%s.asks_from[%d]", path, i)
		r.country(at+".country", a.Country)
		switch {
		case !slices.Contains(dcs, a.Datacenter):
			r.fail(at+".datacenter", suggest(a.Datacenter, dcs), "no datacenter %q%s", clip(a.Datacenter), wantOne(dcs))
		case seen[a.Datacenter]:
			r.fail(at+".datacenter", "", "%s is listed twice", a.Datacenter)
		}
		if !a.Address.IsValid() || a.Address.Is4() != o.Address.Is4() {
			r.fail(at, "", "want an address of the family of %s", o.Address)
		}
		seen[a.Datacenter] = true
	}
	for _, dc := range dcs {
		if serves && o.Proxied && !seen[dc] && !r.tainted(path) {
			r.missing(path, "asks_from", fmt.Sprintf("no asks_from for %s, want {datacenter: %s, address: 192.0.2.53} with an address of the resolver's own there", dc, dc))
		}
	}
}

// asks checks whom a traffic asks for the names among its targets.
func (r *resolver) asks(ix *names, path string, t *spec.Traffic, to []string) {
	named := ""
	for _, id := range to {
		if o := ix.internet[id]; o != nil && len(o.Resolves) > 0 {
			named = id
		}
	}
	resolvers := []string{}
	for _, o := range r.s.Internet {
		if slices.Contains(o.Serve, spec.DNS) {
			resolvers = append(resolvers, called(o.ID, o.Instance))
		}
	}
	switch {
	case named != "" && t.Resolver == "":
		r.missing(path, "resolver", fmt.Sprintf("no resolver to ask where %s is%s", named, wantOne(resolvers)))
	case t.Resolver != "" && named == "" && len(to) > 0:
		r.fail(path+".resolver", "", "no target of this traffic resolves: nobody would be asked")
	case t.Resolver != "" && !slices.Contains(resolvers, t.Resolver):
		r.fail(path+".resolver", suggest(t.Resolver, resolvers), "no host %q that serves dns%s", clip(t.Resolver), wantOne(resolvers))
	}
}
