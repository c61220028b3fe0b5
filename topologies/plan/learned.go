package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Relay is where everything comes together that customers' routers tell by BGP.
// Each datacenter has sessions of its own, and tells the relay what they say; from
// there it goes into the tables of every datacenter, after its propagation. One that
// has lost the relay keeps what it hears to itself and its tables as they are, and
// catches up when it has the relay again (SEMANTICS 2.7).
//
// It has no clock: whoever drives it asks for a datacenter's tables when it is time.
type Relay struct {
	plan *Plan
	// heard is what a datacenter's sessions say, known what the relay has of that.
	heard, known map[string]map[Learned]int
	frozen       map[string]int // by so many faults
}

// NewRelay is the relay while nothing is broken: each session is where its tunnel
// lands.
func NewRelay(p *Plan) *Relay {
	r := &Relay{plan: p, heard: map[string]map[Learned]int{}, known: map[string]map[Learned]int{}, frozen: map[string]int{}}
	for _, d := range p.Datacenters {
		r.heard[d.Name] = map[Learned]int{}
	}
	all := p.Learned()
	for i := range p.Customers {
		s := &p.Customers[i]
		n, _ := p.Node(s.Node)
		for _, o := range s.Origins {
			l := Learned{s.Sessions[o.To[0]].OnRamp, o.Prefix}
			if at := r.heard[n.Datacenter]; at != nil {
				at[l] = all[l]
			}
		}
	}
	for d, heard := range r.heard {
		r.known[d] = maps.Clone(heard)
	}
	return r
}

// Hear notes what a datacenter's session says of a route: its priority, or that it
// is no more. It says whether anything is new to the relay.
func (r *Relay) Hear(datacenter string, l Learned, priority int, gone bool) bool {
	if heard := r.heard[datacenter]; gone {
		delete(heard, l)
	} else {
		heard[l] = priority
	}
	return r.push(datacenter)
}

// Heard is what a datacenter's sessions say, with priorities.
func (r *Relay) Heard(datacenter string) map[Learned]int { return maps.Clone(r.heard[datacenter]) }

// push tells the relay what a datacenter has heard.
func (r *Relay) push(datacenter string) bool {
	heard := r.heard[datacenter]
	if r.frozen[datacenter] > 0 || maps.Equal(heard, r.known[datacenter]) {
		return false
	}
	r.known[datacenter] = maps.Clone(heard)
	return true
}

// Freeze counts by how many more faults a datacenter has lost the relay.
func (r *Relay) Freeze(datacenter string, by int) {
	r.frozen[datacenter] += by
	r.push(datacenter)
}

// Configure gives a server of a datacenter the routes that the relay has now; false
// if it is another's, or its table stays as it is.
func (r *Relay) Configure(c *hub.Config, datacenter string) bool {
	i := slices.IndexFunc(r.plan.Servers, func(s Server) bool { return s.Config.Self == c.Self })
	if i < 0 || r.plan.Servers[i].Datacenter != datacenter || r.frozen[datacenter] > 0 {
		return false
	}
	told := r.told()
	var routes []route.Route
	for _, x := range r.plan.Servers[i].Config.Routes {
		if x.Source == route.BGP {
			priority, ok := told[Learned{x.NextHop, x.Prefix}]
			if !ok {
				continue
			}
			x.Priority = priority
		}
		routes = append(routes, x)
	}
	c.Routes = routes
	return true
}

// told is what the relay has from all datacenters: of a route that two of them hear,
// because its session has moved, the better word.
func (r *Relay) told() map[Learned]int {
	all := map[Learned]int{}
	for _, known := range r.known {
		for l, priority := range known {
			if best, ok := all[l]; !ok || priority < best {
				all[l] = priority
			}
		}
	}
	return all
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
