// Package spec is the scenario language as Go types: plain data, and the small
// grammars of its values (selectors, quantities, conditions, draws).
//
// A Scenario is what a file says. topologies/load fills it and finds every
// mistake, topologies/plan turns it into everything that has to exist. Field
// comments are the language's reference: `homeward schema` prints them.
package spec

import (
	"net/netip"

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
	// Datapath says who has the egress side's TCP: nat (flows are translated, and a port is held after a flow whoever closed it) or
	// proxy (a server's own sockets, which hold theirs only if the client closed first), of the flow level; empty means nat.
	Datapath string `yaml:"datapath,omitempty" json:"datapath,omitempty" jsonschema:"enum=nat,enum=proxy"`
	// TCPECN is what the TCP of hosts does about explicit congestion notification (RFC 3168), Linux's net.ipv4.tcp_ecn: request it of
	// whoever they connect to, accept it where they are asked, or off; empty means accept. Links mark by ce_threshold.
	TCPECN string `yaml:"tcp_ecn,omitempty" json:"tcp_ecn,omitempty" jsonschema:"enum=off,enum=request,enum=accept"`
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

// What hosts do about explicit congestion notification.
const (
	ECNOff     = "off"
	ECNRequest = "request"
	ECNAccept  = "accept"
)

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
	// Design is how servers divide egress addresses, for the flow level alone, to ask what other ways would do: slices, of addresses that
	// are announced everywhere, which servers have; unicast, the same slices, each datacenter's addresses announced there alone, as blocks
	// of 256; per_server, all addresses of a datacenter once for each of its servers; one_owner, one address for each country, which one
	// server has. Empty means slices.
	Design string `yaml:"design,omitempty" json:"design,omitempty" jsonschema:"enum=slices,enum=unicast,enum=per_server,enum=one_owner"`
}

// Ways to divide egress addresses among servers.
const (
	DesignSlices    = "slices"
	DesignUnicast   = "unicast"
	DesignPerServer = "per_server"
	DesignOneOwner  = "one_owner"
)

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
	// means server i owns slice i.
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
	// Stagger is how much later than the host before it each further host begins; 0 means all at once.
	Stagger unit.Duration `yaml:"stagger,omitempty" json:"stagger,omitempty"`
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
