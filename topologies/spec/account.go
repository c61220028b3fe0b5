package spec

import (
	"net/netip"
)

// Account is a tenant.
type Account struct {
	// ID; the single account is "default".
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Routing is unified or legacy; empty means unified.
	Routing string `yaml:"routing,omitempty" json:"routing,omitempty" jsonschema:"enum=unified,enum=legacy"`
	// FlowKey is onramp or tuple (the old, dangerous signature); empty means onramp.
	FlowKey string `yaml:"flow_key,omitempty" json:"flow_key,omitempty" jsonschema:"enum=onramp,enum=tuple"`
	// OnExhaustion says what happens when the address that a flow hashes to has no free port: refuse gives up, another_address
	// tries the server's other addresses first, another_server then other servers of the datacenter; empty means another_address.
	OnExhaustion string `yaml:"on_exhaustion,omitempty" json:"on_exhaustion,omitempty" jsonschema:"enum=refuse,enum=another_address,enum=another_server"`
	// Collision is what a flow gets whose client has the same address and port as another's toward the same private host, where
	// the client's source is preserved (SEMANTICS 1.5): reject-second or snat, from the network's own sources; empty means reject-second.
	Collision string `yaml:"collision,omitempty" json:"collision,omitempty" jsonschema:"enum=reject-second,enum=snat"`
	// Orphan is what a mid-flow packet without a flow gets: drop or reset; empty means drop.
	Orphan    string      `yaml:"orphan,omitempty" json:"orphan,omitempty" jsonschema:"enum=drop,enum=reset"`
	Dedicated []Dedicated `yaml:"dedicated,omitempty" json:"dedicated,omitempty"`
	VNets     []VNet      `yaml:"vnets,omitempty" json:"vnets,omitempty"`
	Routes    []Route     `yaml:"routes,omitempty" json:"routes,omitempty"`
	Policies  Policies    `yaml:"policies,omitempty" json:"policies,omitempty"`
}

// Dedicated is an egress address of one account alone (SEMANTICS 6.1).
type Dedicated struct {
	// IPv4 is the address; it leaves from its datacenter.
	IPv4 netip.Addr `yaml:"ipv4,omitempty" json:"ipv4,omitzero"`
	// Owned is, instead of ipv4, a prefix of IPv4 that the customer brings along: each of its addresses is the account's, all leave
	// from the datacenter, and the network publishes no place for them.
	Owned netip.Prefix `yaml:"owned,omitempty" json:"owned,omitzero"`
	// IPv6 is a range that leaves from every datacenter.
	IPv6 netip.Prefix `yaml:"ipv6,omitempty" json:"ipv6,omitempty"`
	// Datacenter that has IPv4 or Owned.
	Datacenter string `yaml:"datacenter" json:"datacenter"`
	// Country that the addresses are published with, two letters; empty means that of the datacenter's place, and of owned ones none.
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
}

// Addresses are those of IPv4.
func (d *Dedicated) Addresses() []netip.Addr {
	if !d.Owned.IsValid() {
		return []netip.Addr{d.IPv4}
	}
	var all []netip.Addr
	for a := d.Owned.Masked().Addr(); d.Owned.Contains(a); a = a.Next() {
		all = append(all, a)
	}
	return all
}

// VNet is a virtual network (SEMANTICS 3).
type VNet struct {
	ID      string `yaml:"id" json:"id"`
	Comment string `yaml:"comment,omitempty" json:"comment,omitempty"`
	Default bool   `yaml:"default,omitempty" json:"default,omitempty"`
}

// Route sends a prefix to an on-ramp or connector (SEMANTICS 2.2).
type Route struct {
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Prefix may be any but all or part of a range that the network keeps for itself (SEMANTICS 2.3).
	Prefix netip.Prefix `yaml:"prefix" json:"prefix"`
	// Via selects on-ramps or connectors, "shop.1.wan"; a "*" makes one route for each. Empty or "null" is a null route.
	Via string `yaml:"via,omitempty" json:"via,omitempty"`
	// VNet is the virtual network; empty means the default one, where alone on-ramps are.
	VNet string `yaml:"vnet,omitempty" json:"vnet,omitempty"`
	// Priority, lower wins; 0 means 100. A route learned by BGP has none: its communities and prepend say it.
	Priority int `yaml:"priority,omitempty" json:"priority,omitempty"`
	// Weight 1..256 of the ECMP share.
	Weight int `yaml:"weight,omitempty" json:"weight,omitempty"`
	// Regions and Datacenters limit where the route exists: where either says so (SEMANTICS 2.6).
	Regions     []string `yaml:"regions,omitempty" json:"regions,omitempty"`
	Datacenters []string `yaml:"datacenters,omitempty" json:"datacenters,omitempty"`
	// Source is static or bgp; empty means static.
	Source string `yaml:"source,omitempty" json:"source,omitempty" jsonschema:"enum=static,enum=bgp"`
	// Communities of a route learned by BGP, "13335:60150"; of those that set a base priority the lowest counts (SEMANTICS 2.7).
	Communities []string `yaml:"communities,omitempty" json:"communities,omitempty"`
	// Prepend is how often more than once the customer's AS is in the path of a route learned by BGP; each adds 10 to the priority.
	Prepend int `yaml:"prepend,omitempty" json:"prepend,omitempty"`
}

// Policies in their three stages, each ordered, first match wins (SEMANTICS 7.2).
type Policies struct {
	Firewall []Policy `yaml:"firewall,omitempty" json:"firewall,omitempty"`
	Egress   []Policy `yaml:"egress,omitempty" json:"egress,omitempty"`
	Network  []Policy `yaml:"network,omitempty" json:"network,omitempty"`
}

// Policy is one rule.
type Policy struct {
	ID string `yaml:"id" json:"id"`
	// Name is for people and records; empty means the id.
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Match says which flows; without selectors all.
	Match Match `yaml:"match,omitempty" json:"match,omitempty"`
	// Action is allow, block, default or dedicated, by stage.
	Action string `yaml:"action" json:"action"`
	// IPv4 and Fallback are the addresses of a dedicated egress policy; fallback 0.0.0.0 is the shared pool.
	IPv4     netip.Addr `yaml:"ipv4,omitempty" json:"ipv4,omitempty"`
	Fallback netip.Addr `yaml:"fallback,omitempty" json:"fallback,omitempty"`
}

// Match holds a policy's selectors: all that are given must hold, and of one
// selector any value.
type Match struct {
	Source      []netip.Prefix `yaml:"source,omitempty" json:"source,omitempty"`
	Destination []netip.Prefix `yaml:"destination,omitempty" json:"destination,omitempty"`
	// Port is the destination's; it holds for TCP and UDP alone.
	Port []int `yaml:"port,omitempty" json:"port,omitempty"`
	// Protocol is tcp, udp, icmp, or an IP protocol number.
	Protocol []string `yaml:"protocol,omitempty" json:"protocol,omitempty"`
	// Country is the destination's, two letters; SourceCountry the client's.
	Country       []string `yaml:"country,omitempty" json:"country,omitempty"`
	SourceCountry []string `yaml:"source_country,omitempty" json:"source_country,omitempty"`
	// User is who uses the device.
	User []string `yaml:"user,omitempty" json:"user,omitempty"`
	// VNet is the virtual network that the flow is in.
	VNet []string `yaml:"vnet,omitempty" json:"vnet,omitempty"`
	// Host selects hosts of internet by id: flows to their addresses, as a resolver would have told.
	Host []string `yaml:"host,omitempty" json:"host,omitempty"`
	// OnRamp is the kind of on-ramp that the flow came by.
	OnRamp []string `yaml:"onramp,omitempty" json:"onramp,omitempty" jsonschema:"enum=gre,enum=interconnect,enum=ipsec,enum=device,enum=connector"`
}
