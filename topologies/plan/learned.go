package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Learned is a route that a customer's router tells by BGP over its on-ramp
// (SEMANTICS 2.7).
type Learned struct {
	OnRamp ident.OnRamp
	Prefix netip.Prefix
}

// onLearned has customers' routers withdraw a route that they tell.
func (d *Fault) onLearned(p *Plan) error {
	prefix, err := netip.ParsePrefix(d.Address)
	if err != nil {
		return fmt.Errorf("%q selects no datacenter, and %q is no prefix that an on-ramp's router tells by BGP", d.On, d.Address)
	}
	names := map[string]ident.OnRamp{}
	var order []string
	for i := range p.Servers {
		c := &p.Servers[i].Config
		for _, r := range c.Routes {
			k := slices.IndexFunc(c.OnRamps, func(o hub.OnRamp) bool { return o.ID == r.NextHop })
			if r.Source != route.BGP || r.Prefix != prefix || k < 0 || !spec.Matches(d.On, c.OnRamps[k].Name) {
				continue
			}
			if name := c.OnRamps[k].Name; names[name] == 0 {
				names[name] = r.NextHop
				order = append(order, name)
			}
		}
	}
	if order == nil {
		return fmt.Errorf("no router of %q tells %v by BGP: want a route with source: bgp via that on-ramp", d.On, prefix)
	}
	for _, name := range d.pick(p, order) {
		d.OnRamps = append(d.OnRamps, names[name])
	}
	d.Prefixes = []netip.Prefix{prefix}
	return nil
}

// Untold are the routes that a withdrawal by customers' routers takes back; none
// where it is a datacenter's.
func (d *Fault) Untold() []Learned {
	var all []Learned
	if d.Do != spec.Withdraw {
		return nil
	}
	for _, o := range d.OnRamps {
		for _, p := range d.Prefixes {
			all = append(all, Learned{o, p})
		}
	}
	return all
}

// Relay gives a server of a datacenter the plan's routes without those that were
// withdrawn; false if it is another's.
func (p *Plan) Relay(c *hub.Config, datacenter string, withdrawn func(Learned) bool) bool {
	i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Config.Self == c.Self })
	if i < 0 || p.Servers[i].Datacenter != datacenter {
		return false
	}
	c.Routes = slices.DeleteFunc(slices.Clone(p.Servers[i].Config.Routes), func(r route.Route) bool {
		return r.Source == route.BGP && withdrawn(Learned{r.NextHop, r.Prefix})
	})
	return true
}
