// Package spec is the scenario language as Go types: plain data, no behaviour.
//
// A Scenario is what a file says. topologies/load fills it and finds every
// mistake, topologies/plan turns it into everything that has to exist. Field
// comments are the language's reference: `homeward schema` prints them.
package spec

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
)

// Scenario is one scenario file.
type Scenario struct {
	// Version of the language; 1.
	Version int `yaml:"version" json:"version"`
	// Name of the scenario, [a-z][a-z0-9_]*.
	Name string `yaml:"name" json:"name"`
	// Title is one line for people.
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Description is a paragraph or two for people.
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Seed of every random choice; 0 means 1.
	Seed uint64 `yaml:"seed,omitempty" json:"seed,omitempty"`
	// Needs are capabilities without which the scenario is skipped, by doctor's names.
	Needs []string `yaml:"needs,omitempty" json:"needs,omitempty"`
	// Dataplane of the servers of a lab: hub (the program decides every packet) or ebpf (the kernel carries what the hub has set up);
	// empty means ebpf where the machine can. An engine that is asked for by name wins; the simulator has the hub.
	Dataplane string `yaml:"dataplane,omitempty" json:"dataplane,omitempty" jsonschema:"enum=hub,enum=ebpf"`
	// Include takes in other files; their ids get a prefix.
	Include []Include `yaml:"include,omitempty" json:"include,omitempty"`
	// Params are named values that the file uses as ${name}.
	Params map[string]any `yaml:"params,omitempty" json:"params,omitempty"`
	// Timers of flows and of the run, applied identically in every engine.
	Timers Timers `yaml:"timers,omitempty" json:"timers,omitempty"`
	// Bounds of every server.
	Bounds Bounds `yaml:"bounds,omitempty" json:"bounds,omitempty"`

	// Datacenters with their edge servers, at least one.
	Datacenters []Datacenter `yaml:"datacenters" json:"datacenters"`
	// Transit are ASes between sites and datacenters.
	Transit []Transit `yaml:"transit,omitempty" json:"transit,omitempty"`
	// Announce says which prefixes are announced from where.
	Announce []Announce `yaml:"announce,omitempty" json:"announce,omitempty"`
	// Account is the single account, whose id is "default" unless it has one.
	Account *Account `yaml:"account,omitempty" json:"account,omitempty"`
	// Accounts are several, instead of account.
	Accounts []Account `yaml:"accounts,omitempty" json:"accounts,omitempty"`
	// Sites are branches with their routers, hosts and on-ramps.
	Sites []Site `yaml:"sites,omitempty" json:"sites,omitempty"`
	// Devices are clients with a tunnel of their own.
	Devices []Device `yaml:"devices,omitempty" json:"devices,omitempty"`
	// Connectors are private networks behind outbound tunnels.
	Connectors []Connector `yaml:"connectors,omitempty" json:"connectors,omitempty"`
	// Internet holds the origins.
	Internet []InternetHost `yaml:"internet,omitempty" json:"internet,omitempty"`
	// Routes of the default account's default virtual network; short for account.routes.
	Routes []Route `yaml:"routes,omitempty" json:"routes,omitempty"`
	// Links are the classes access, backbone, edge, server, lan, internet, and single links by selector.
	Links map[string]Impairment `yaml:"links,omitempty" json:"links,omitempty"`
	// Impair overrides single links, per direction.
	Impair []Impair `yaml:"impair,omitempty" json:"impair,omitempty"`
	// Uplink connects hosts to the outside of the lab by the machine's CNI plugins. Without it nothing gets out, and nothing in.
	Uplink []Uplink `yaml:"uplink,omitempty" json:"uplink,omitempty"`
	// Traffic are exact flows.
	Traffic []Traffic `yaml:"traffic,omitempty" json:"traffic,omitempty"`
	// Population is who uses the network, by the hundred million and by country, for the flow level alone.
	Population *Population `yaml:"population,omitempty" json:"population,omitempty"`
	// Workload is drawn traffic.
	Workload []Workload `yaml:"workload,omitempty" json:"workload,omitempty"`
	// Faults are what goes wrong, and when.
	Faults []Fault `yaml:"faults,omitempty" json:"faults,omitempty"`
	// Checks are what must hold.
	Checks []Check `yaml:"checks,omitempty" json:"checks,omitempty"`
	// Variants change the file, which itself is the variant "base".
	Variants []Variant `yaml:"variants,omitempty" json:"-"` // in the file: a mapping name → Variant, order kept
}

// Include takes in the lists and links of another file. Its ids, and what
// mentions them in that file, get the prefix. What is of one file alone stays
// there: name, title, seed, params, timers, bounds and variants.
type Include struct {
	File   string `yaml:"file" json:"file"`
	Prefix string `yaml:"prefix,omitempty" json:"prefix,omitempty"`
}

// Timers are the lifetimes of SEMANTICS 1.9. Zero means the default there.
type Timers struct {
	// Scale multiplies every timer; 0 means 1. 0.01 makes eight hours 288 s.
	Scale          float64       `yaml:"scale,omitempty" json:"scale,omitempty"`
	TCPConnect     unit.Duration `yaml:"tcp_connect,omitempty" json:"tcp_connect,omitempty"`
	TCPEstablished unit.Duration `yaml:"tcp_established,omitempty" json:"tcp_established,omitempty"`
	TCPTransitory  unit.Duration `yaml:"tcp_transitory,omitempty" json:"tcp_transitory,omitempty"`
	UDP            unit.Duration `yaml:"udp,omitempty" json:"udp,omitempty"`
	DNS            unit.Duration `yaml:"dns,omitempty" json:"dns,omitempty"`
	ICMP           unit.Duration `yaml:"icmp,omitempty" json:"icmp,omitempty"`
	// PortHold keeps the egress port of a closed flow (SEMANTICS 5.5).
	PortHold unit.Duration `yaml:"port_hold,omitempty" json:"port_hold,omitempty"`
	// BGPHold is the hold time of BGP sessions between routers (RFC 4271 section 4.2), whole seconds from 3 s up after the scale;
	// 0 means 90 s.
	BGPHold unit.Duration `yaml:"bgp_hold,omitempty" json:"bgp_hold,omitempty"`
}

// Bounds of every server.
type Bounds struct {
	// Flows a server holds at most.
	Flows int `yaml:"flows,omitempty" json:"flows,omitempty"`
	// Slice is the ports of a slice, a power of two from 64 to 16384, for the flow level alone, to ask what other sizes would do; 0
	// means 2048, which servers have.
	Slice int `yaml:"slice,omitempty" json:"slice,omitempty"`
}

// Datacenter is a place with edge servers.
type Datacenter struct {
	// ID is an IATA code in lower case, or any id with Place set.
	ID string `yaml:"id" json:"id"`
	// Place is the IATA code where ID is not one.
	Place string `yaml:"place,omitempty" json:"place,omitempty"`
	// Servers in this datacenter; 0 means 1.
	Servers int `yaml:"servers,omitempty" json:"servers,omitempty"`
	// Egress prefixes or addresses. Each server owns a 2048-port slice of each address.
	Egress []Egress `yaml:"egress,omitempty" json:"egress,omitempty"`
	// Region is one of the nine codes of SEMANTICS 2.6; empty means by place.
	Region string `yaml:"region,omitempty" json:"region,omitempty"`
	// Maintenance takes the datacenter out of ingress: it announces nothing.
	Maintenance bool `yaml:"maintenance,omitempty" json:"maintenance,omitempty"`
	// Propagation is how long what the network learns elsewhere (where a device is attached, which
	// virtual network it chose) takes to be known here; 0 means at once (SEMANTICS 3.2).
	Propagation unit.Duration `yaml:"propagation,omitempty" json:"propagation,omitempty"`
}

// Egress is a prefix of egress addresses. Short form: the prefix alone.
type Egress struct {
	Prefix netip.Prefix `yaml:"prefix" json:"prefix"`
	// Slices maps slice number to server number within the datacenter; empty
	// means server i owns slice i (DESIGN 2).
	Slices map[int]int `yaml:"slices,omitempty" json:"slices,omitempty"`
	// Spare addresses are nobody's until a fault allocates them.
	Spare   bool     `yaml:"spare,omitempty" json:"spare,omitempty"`
	Country string   `yaml:"country,omitempty" json:"country,omitempty"`
	Tags    []string `yaml:"tags,omitempty" json:"tags,omitempty"`
}

// Transit is an AS of the Internet, with one router. Where a file has any, the
// Internet is these ASes and their relations alone, and BGP decides who reaches
// whom and how: sites, origins and datacenters hang on them.
type Transit struct {
	ID string `yaml:"id" json:"id"`
	// ASN is its number; 0 means 64512 and up, in the order of the file (RFC 6996).
	ASN uint32 `yaml:"asn,omitempty" json:"asn,omitempty"`
	// Near is where its router is: a place or a datacenter.
	Near Near `yaml:"near,omitempty" json:"near,omitempty"`
	// Providers carry its traffic anywhere, for money.
	Providers []string `yaml:"providers,omitempty" json:"providers,omitempty"`
	// Peers, which may be datacenters, exchange their own and their customers' traffic with it.
	Peers []string `yaml:"peers,omitempty" json:"peers,omitempty"`
	// Customers, which may be datacenters, pay it. A datacenter that no AS mentions is a customer of the nearest one.
	Customers []string `yaml:"customers,omitempty" json:"customers,omitempty"`
}

// Announce says how a prefix is announced. What no entry says of a prefix is not
// done: one entry takes the place of the usual, which is that every datacenter
// outside maintenance announces all egress prefixes and the address of all
// tunnels, and every AS its hosts, to all their neighbours.
type Announce struct {
	// Prefix holds egress addresses, or origins of the AS that announces it; tunnel is the address that all tunnels go to.
	Prefix string `yaml:"prefix" json:"prefix"`
	// From are the datacenters or the AS that announce it; empty means all datacenters.
	From []string `yaml:"from,omitempty" json:"from,omitempty"`
	// To are the neighbours that are told; empty means all. To, prepend and communities need transit.
	To []string `yaml:"to,omitempty" json:"to,omitempty"`
	// Prepend is how often the own AS is in the path more than once.
	Prepend int `yaml:"prepend,omitempty" json:"prepend,omitempty"`
	// Communities such as "64500:120". Every router acts on no_export, no_advertise and graceful_shutdown (RFC 1997, RFC 8326).
	Communities []string `yaml:"communities,omitempty" json:"communities,omitempty"`
}

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
	IPv4 netip.Addr `yaml:"ipv4" json:"ipv4"`
	// IPv6 is a range that leaves from every datacenter.
	IPv6 netip.Prefix `yaml:"ipv6,omitempty" json:"ipv6,omitempty"`
	// Datacenter that has IPv4.
	Datacenter string `yaml:"datacenter" json:"datacenter"`
	// Country that the addresses are published with, two letters; empty means that of the datacenter's place.
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
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

// Site is a branch, or Count equal ones.
type Site struct {
	ID string `yaml:"id" json:"id"`
	// Count of equal sites, numbered from 1; 0 means 1.
	Count   int    `yaml:"count,omitempty" json:"count,omitempty"`
	Account string `yaml:"account,omitempty" json:"account,omitempty"`
	// Near is where the site is: a code, a list, or shares by code.
	Near Near `yaml:"near,omitempty" json:"near,omitempty"`
	// Lan is the site's prefix; every instance has the same one.
	Lan netip.Prefix `yaml:"lan" json:"lan"`
	// Gateway is the router's address in Lan; unset means the first free one.
	Gateway netip.Addr `yaml:"gateway,omitempty" json:"gateway,omitempty"`
	// Hosts by name; short form: the address alone.
	Hosts map[string]Host `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	// OnRamps are the site's connections, at least one.
	OnRamps []OnRamp `yaml:"onramps" json:"onramps"`
	// Group joins on-ramps for failover.
	Group *Group `yaml:"group,omitempty" json:"group,omitempty"`
	// CPE is how the branch router chooses among on-ramps.
	CPE *CPE `yaml:"cpe,omitempty" json:"cpe,omitempty"`

	// Instance is this site's number, from 1, once load.Resolve has written
	// Count sites out; 0 in a file.
	Instance int `yaml:"-" json:"instance,omitempty"`
}

// Host is a machine in a site's LAN.
type Host struct {
	Address netip.Addr `yaml:"address" json:"address"`
	// Run is a user's own program as the host's process.
	Run []string `yaml:"run,omitempty" json:"run,omitempty"`
}

// OnRamp is one connection of a site.
type OnRamp struct {
	ID string `yaml:"id" json:"id"`
	// Type is gre, interconnect or ipsec.
	Type string `yaml:"type" json:"type" jsonschema:"enum=gre,enum=interconnect,enum=ipsec"`
	// ARR is automatic_return_routing (SEMANTICS 1.2).
	ARR bool `yaml:"arr,omitempty" json:"arr,omitempty"`
	// Key is the GRE key (RFC 2890).
	Key *uint32 `yaml:"key,omitempty" json:"key,omitempty"`
	// VLAN tags the packets of an interconnect, 1 to 4094; 0 means a plain link.
	VLAN int `yaml:"vlan,omitempty" json:"vlan,omitempty"`
	// MTU of the tunnel; 0 means 1476 for gre, 1472 with a key, 1500 for an interconnect.
	MTU int `yaml:"mtu,omitempty" json:"mtu,omitempty"`
	// Health probes (SEMANTICS 2.8).
	Health *Health `yaml:"health,omitempty" json:"health,omitempty"`
}

// Device is a client device, or Count of them: a machine with a connected
// tunnel of its own and an address of the network's device range (SEMANTICS 7.1).
type Device struct {
	ID string `yaml:"id" json:"id"`
	// Count of equal devices, numbered from 1; 0 means 1.
	Count   int    `yaml:"count,omitempty" json:"count,omitempty"`
	Account string `yaml:"account,omitempty" json:"account,omitempty"`
	// Near is where the device is, as of a site.
	Near Near `yaml:"near,omitempty" json:"near,omitempty"`
	// Country of the device, two letters; empty means that of its place.
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
	// User who uses it, for policies and records.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// VNet is the virtual network that the device chose; empty means the default one, whichever that is.
	VNet string `yaml:"vnet,omitempty" json:"vnet,omitempty"`
	// MTU of the tunnel; 0 means 1472.
	MTU int `yaml:"mtu,omitempty" json:"mtu,omitempty"`
	// Switch lists later choices of another virtual network, in order of time (SEMANTICS 3.2).
	Switch []Switch `yaml:"switch,omitempty" json:"switch,omitempty"`

	// Instance as in Site.
	Instance int `yaml:"-" json:"instance,omitempty"`
}

// Switch is a device's change to another virtual network: it connects anew, and
// what it had open in the old one ends.
type Switch struct {
	// At is when, from the start of traffic.
	At unit.Duration `yaml:"at" json:"at"`
	// VNet is the virtual network from then on; empty means the default one.
	VNet string `yaml:"vnet,omitempty" json:"vnet,omitempty"`
}

// Connector is a private network behind an outbound tunnel (SEMANTICS 2.9).
type Connector struct {
	ID      string `yaml:"id" json:"id"`
	Account string `yaml:"account,omitempty" json:"account,omitempty"`
	Near    Near   `yaml:"near,omitempty" json:"near,omitempty"`
	// Lan is the private network's prefix. A route to it is implied, in VNet, unless Routes of the account name the connector.
	Lan netip.Prefix `yaml:"lan" json:"lan"`
	// Gateway is the connector's own address in Lan; unset means the first free one.
	Gateway netip.Addr      `yaml:"gateway,omitempty" json:"gateway,omitempty"`
	Hosts   map[string]Host `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	VNet    string          `yaml:"vnet,omitempty" json:"vnet,omitempty"`
	// Source is what the private hosts see as source: preserve, the client's own address, or translate, the connector's; empty means
	// translate. Only with preserve can they open flows themselves.
	Source string `yaml:"source,omitempty" json:"source,omitempty" jsonschema:"enum=preserve,enum=translate"`
	// MTU of the tunnel; 0 means 1472.
	MTU int `yaml:"mtu,omitempty" json:"mtu,omitempty"`
}

// InternetHost is an origin.
type InternetHost struct {
	ID      string     `yaml:"id" json:"id"`
	Address netip.Addr `yaml:"address" json:"address"`
	// Count of hosts at consecutive addresses, numbered from 1; 0 means one, unnumbered.
	Count   int    `yaml:"count,omitempty" json:"count,omitempty"`
	Near    Near   `yaml:"near,omitempty" json:"near,omitempty"`
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
	// Serve lists services: http (plain HTTP on 80 and every TCP port that traffic names), echo (UDP, port 7 and every UDP port that
	// traffic names), dns (a resolver, on port 53, for whatever Resolves).
	Serve []string `yaml:"serve,omitempty" json:"serve,omitempty" jsonschema:"enum=http,enum=echo,enum=dns"`
	// Proxied hosts are served by the network itself, in every datacenter: near says nothing of them.
	Proxied bool `yaml:"proxied,omitempty" json:"proxied,omitempty"`
	// Allow lists the sources that are answered: http refuses others with status 403, echo says nothing. None allows everybody.
	Allow []netip.Prefix `yaml:"allow,omitempty" json:"allow,omitempty"`
	// Geofence lists countries, two letters: only egress addresses that are published with one of them are answered, as with allow.
	Geofence []string `yaml:"geofence,omitempty" json:"geofence,omitempty"`
	// Resolves makes the host the name server of its own id, and sends who asks for that to other hosts: by country, two letters,
	// that the address which asks is published with, and default for all others (SEMANTICS 5.7).
	Resolves map[string]string `yaml:"resolves,omitempty" json:"resolves,omitempty"`
	// AsksFrom are, of a proxied resolver, the addresses from which it asks name servers in each datacenter.
	AsksFrom []AsksFrom `yaml:"asks_from,omitempty" json:"asks_from,omitempty"`
	// ClientSubnet has a resolver tell name servers who asked (RFC 7871), which then answer for that address.
	ClientSubnet bool `yaml:"client_subnet,omitempty" json:"client_subnet,omitempty"`

	// Instance as in Site; 0 for a host without Count.
	Instance int `yaml:"-" json:"instance,omitempty"`
}

// AsksFrom is the address of the network's own resolver in one datacenter.
type AsksFrom struct {
	Datacenter string     `yaml:"datacenter" json:"datacenter"`
	Address    netip.Addr `yaml:"address" json:"address"`
	// Country that the address is published with, two letters; empty means that of the datacenter's place.
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
}

// Near is places in order, each with its share. In a file: a code, a list of
// codes, or a mapping code → share. Instances are dealt out in order, share by
// share, and again from the first when shares run out.
type Near []Place

// Place is a code and how many instances it takes in one round.
type Place struct {
	Code  string `json:"code"`
	Share int    `json:"share"`
}

// Impairment is what a link does to packets, in each direction by itself. A zero
// field asks for nothing: a plain wire. Sizes and rates are of IP packets.
type Impairment struct {
	// Delay is a duration, or "geo" for the great-circle delay of fibre; one way.
	Delay Delay `yaml:"delay,omitempty" json:"delay,omitempty"`
	// Jitter is half the width of the uniform distribution, the standard deviation of the others. Packets keep their order.
	Jitter unit.Duration `yaml:"jitter,omitempty" json:"jitter,omitempty"`
	// JitterDistribution is uniform if not given.
	JitterDistribution string `yaml:"jitter_distribution,omitempty" json:"jitter_distribution,omitempty" jsonschema:"enum=uniform,enum=normal,enum=pareto"`
	// JitterCorrelation is that of successive packets; at most 99.9%.
	JitterCorrelation unit.Ratio `yaml:"jitter_correlation,omitempty" json:"jitter_correlation,omitempty"`
	Loss              unit.Ratio `yaml:"loss,omitempty" json:"loss,omitempty"`
	// LossBurst is the mean number of successive packets lost; not given, each is lost independently.
	LossBurst float64 `yaml:"loss_burst,omitempty" json:"loss_burst,omitempty"`
	// Reorder is the share of packets that take no delay and so overtake.
	Reorder unit.Ratio `yaml:"reorder,omitempty" json:"reorder,omitempty"`
	// ReorderGap n lets only every n-th packet overtake.
	ReorderGap int        `yaml:"reorder_gap,omitempty" json:"reorder_gap,omitempty"`
	Duplicate  unit.Ratio `yaml:"duplicate,omitempty" json:"duplicate,omitempty"`
	// Corrupt is the share of packets of which one bit is flipped.
	Corrupt unit.Ratio   `yaml:"corrupt,omitempty" json:"corrupt,omitempty"`
	Rate    unit.BitRate `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Queue before the rate, dropping what comes when it is full; not given, 100 ms at the rate and at least 30 kB.
	Queue unit.Bytes `yaml:"queue,omitempty" json:"queue,omitempty"`
	// Trace is a file of capacity over time in Mahimahi's format, instead of a rate: on each line a millisecond at which 1500 bytes can leave.
	Trace Trace `yaml:"trace,omitempty" json:"trace,omitzero"`
}

// Trace is a file in Mahimahi's format, read. The zero value is none.
type Trace struct {
	// File as written: relative to the file that names it.
	File  string        `json:"file"`
	Times *impair.Trace `json:"times"`
}

// Delay is a duration or the word geo.
type Delay struct {
	Geo   bool          `json:"geo,omitempty"`
	Fixed unit.Duration `json:"fixed,omitempty"`
}

// Impair overrides single links.
type Impair struct {
	On        string `yaml:"on" json:"on"`
	Direction string `yaml:"direction,omitempty" json:"direction,omitempty" jsonschema:"enum=both,enum=up,enum=down"`
	// The impairment itself, written beside on and direction.
	Impairment `yaml:",inline"`
}

// Uplink connects a host to a network of the machine's: an existing chain of
// CNI plugins, of which this project has none.
type Uplink struct {
	// Host selects the hosts that get an interface to the outside.
	Host string `yaml:"host" json:"host"`
	// Network is the name in a network configuration list (NETCONFPATH, or /etc/cni/net.d).
	Network string `yaml:"network" json:"network"`
	// Interface is its name in the host; empty means up0.
	Interface string `yaml:"interface,omitempty" json:"interface,omitempty"`
}

// Traffic is exact flows: each host that From selects opens Flows of them to
// each target that To selects. Exactly one of TCP, UDP and ICMP is given.
type Traffic struct {
	ID   string `yaml:"id" json:"id"`
	From string `yaml:"from" json:"from"`
	To   string `yaml:"to" json:"to"`
	// TCP is the destination port of an HTTP request and response.
	TCP int `yaml:"tcp,omitempty" json:"tcp,omitempty"`
	// UDP is the destination port of an echo.
	UDP int `yaml:"udp,omitempty" json:"udp,omitempty"`
	// ICMP is the echo id of a ping.
	ICMP int `yaml:"icmp,omitempty" json:"icmp,omitempty"`
	// SourcePort fixes the source port (or, with Flows > 1, the first of consecutive ones); 0 lets the plan draw it.
	SourcePort int `yaml:"source_port,omitempty" json:"source_port,omitempty"`
	// Flows per pair of host and target; 0 means 1.
	Flows int `yaml:"flows,omitempty" json:"flows,omitempty"`
	// Resolver is who is asked, before each flow, where a target that Resolves is: a host that serves dns.
	Resolver string `yaml:"resolver,omitempty" json:"resolver,omitempty"`
	// Rate of flows per second and host; 0 means all at once.
	Rate float64 `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Start of the first flow after the traffic begins.
	Start unit.Duration `yaml:"start,omitempty" json:"start,omitempty"`
	// Request and Response are payload sizes; 0 means 64 B for UDP and ICMP, 1 KiB for TCP.
	Request  unit.Bytes `yaml:"request,omitempty" json:"request,omitempty"`
	Response unit.Bytes `yaml:"response,omitempty" json:"response,omitempty"`
	// Packets of a UDP or ICMP flow; 0 means 1.
	Packets int `yaml:"packets,omitempty" json:"packets,omitempty"`
	// Interval between the packets of a flow; 0 means 100 ms.
	Interval unit.Duration `yaml:"interval,omitempty" json:"interval,omitempty"`
	// Connect bounds connection set-up, or the wait for an answer; 0 means 3 s.
	Connect unit.Duration `yaml:"connect,omitempty" json:"connect,omitempty"`
	// Timeout bounds the whole flow; 0 means 30 s.
	Timeout unit.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Close is who closes first: client or server; empty means client.
	Close string `yaml:"close,omitempty" json:"close,omitempty" jsonschema:"enum=client,enum=server"`
	// Hold keeps a TCP connection open after the answer; 0 closes at once.
	Hold unit.Duration `yaml:"hold,omitempty" json:"hold,omitempty"`
}

// Base is the name of the variant that is the file itself.
const Base = "base"

// Variant changes the scenario.
type Variant struct {
	Name string `json:"name"`
	// Title is one line for people.
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Set holds selectors and values in file order. A more specific selector wins.
	Set []Setting `json:"set,omitempty"`
	// ExpectFail lists checks that must fail; all others must pass.
	ExpectFail []string `yaml:"expect_fail,omitempty" json:"expect_fail,omitempty"`
}

// Setting is one change: a selector and the YAML text of the value.
type Setting struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}
