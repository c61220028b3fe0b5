package plan

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Objects counts what somebody has to write into the network's configuration
// for a scenario to be what it is, and to keep right as it grows.
//
// Short forms are the file's alone: a hundred equal sites are a hundred
// on-ramps, and a route via shop.*.wan is a hundred routes. What nobody writes
// does not count: routes learned by BGP or implied by a connector, the default
// virtual network, devices (their users enrol them).
type Objects struct {
	// OnRamps are the tunnels and interconnects of sites.
	OnRamps int `json:"onramps"`
	// Networks are the different prefixes of each account's sites and connectors:
	// one that all sites share is one, however many they are.
	Networks int `json:"networks"`
	// Routes are static ones, null routes included.
	Routes     int `json:"routes"`
	Connectors int `json:"connectors"`
	// VNets are the virtual networks besides the default one that every account has.
	VNets    int `json:"vnets"`
	Policies int `json:"policies"`
	// Addresses are dedicated egress addresses.
	Addresses int `json:"addresses"`
	// Groups join on-ramps for failover.
	Groups int `json:"groups"`
}

// ByKind are the counts by the names that they have in JSON.
func (o Objects) ByKind() map[string]int64 {
	return map[string]int64{
		"onramps": int64(o.OnRamps), "networks": int64(o.Networks), "routes": int64(o.Routes), "connectors": int64(o.Connectors),
		"vnets": int64(o.VNets), "policies": int64(o.Policies), "addresses": int64(o.Addresses), "groups": int64(o.Groups),
	}
}

// objects counts them. Routes are counted as they are expanded.
func (b *builder) objects() Objects {
	var o Objects
	type network struct {
		account string
		prefix  netip.Prefix
	}
	networks := map[network]bool{}
	own := func(account string, lan netip.Prefix) {
		if account == "" {
			account = b.accounts[0].name
		}
		networks[network{account, lan}] = true
	}
	for i := range b.s.Sites {
		s := &b.s.Sites[i]
		own(s.Account, s.Lan)
		o.OnRamps += len(s.OnRamps)
		if s.Group != nil {
			o.Groups++
		}
	}
	for i := range b.s.Connectors {
		c := &b.s.Connectors[i]
		own(c.Account, c.Lan)
		o.Connectors++
	}
	o.Networks = len(networks)
	for _, a := range b.accounts {
		o.Addresses += len(a.Dedicated)
		o.Policies += len(a.Policies.Firewall) + len(a.Policies.Egress) + len(a.Policies.Network)
		for _, v := range a.VNets {
			if v.ID != defaultVNet {
				o.VNets++
			}
		}
		if a.id == 1 {
			o.Routes += b.written(a, b.s.Routes)
		}
		o.Routes += b.written(a, a.Routes)
	}
	return o
}

// written counts the static routes that a list of the file stands for.
func (b *builder) written(a account, list []spec.Route) int {
	n := 0
	for i := range list {
		if list[i].Source == string(route.BGP) {
			continue
		}
		switch via := list[i].Via; via {
		case "", "null":
			n++
		default:
			for _, r := range b.ramps {
				if r.Tenant == a.id && spec.Matches(via, r.Name) {
					n++
				}
			}
		}
	}
	return n
}
