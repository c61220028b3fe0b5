// Package plan turns a resolved scenario into everything that has to exist:
// every namespace, link, address, tunnel, route, server configuration, flow,
// fault and check, by stable id.
//
// It does not read files (load does) and does not know what an engine can do:
// it names the words that not every engine can, and each engine refuses what it
// must.
//
// Its law: Compile is pure. The same scenario gives the same plan, byte for
// byte, on any machine. What depends on the running kernel happens in emu, what depends
// on virtual time in sim; both start from here.
package plan

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/dns"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Plan is one variant of one scenario, complete.
type Plan struct {
	Scenario string `json:"scenario"`
	Variant  string `json:"variant"`
	Title    string `json:"title"`
	Seed     uint64 `json:"seed"`

	Datacenters []Datacenter `json:"datacenters"`
	Nodes       []Node       `json:"nodes"` // sorted by id
	Links       []Link       `json:"links"` // sorted by id
	Servers     []Server     `json:"servers"`
	Branches    []Branch     `json:"branches"`
	// Interconnects are the sites' plain links and VLANs that end at a datacenter's edge.
	Interconnects []Interconnect `json:"interconnects,omitempty"`
	Services      []Service      `json:"services"`
	// Programs are the user's own, each a host's process.
	Programs []Program `json:"programs,omitempty"`
	// Uplinks are the hosts' interfaces to the outside, by the machine's CNI plugins.
	Uplinks []Uplink `json:"uplinks,omitempty"`
	// Traffic are the ids of the file's traffic, in its order.
	Traffic    []string     `json:"traffic,omitempty"`
	Flows      []Flow       `json:"flows"` // sorted by start, then traffic, then n
	Faults     []Fault      `json:"faults,omitempty"`
	Checks     []spec.Check `json:"checks"`
	ExpectFail []string     `json:"expect_fail,omitempty"`
	Needs      []string     `json:"needs,omitempty"`
	// Dataplane is what a lab's servers are, hub or ebpf; empty is the best that the
	// machine can.
	Dataplane string `json:"dataplane,omitempty"`
	// Features are the words of the file that an engine must be able to do
	// beyond the common ground, such as "faults.cut"; an engine refuses the
	// plan by naming those it cannot.
	Features []Feature `json:"features,omitempty"`
	// Objects are what somebody has to write for the network to be this one.
	Objects Objects `json:"objects"`
	// Landings are where anycast addresses go from each transit router, the
	// nearest datacenter first: the next one takes what one withdraws.
	Landings []Landing `json:"landings"`
	// Announced are the prefixes that datacenters announce, where the file says
	// anything of that; else they are the address of all tunnels and the egress
	// prefixes. Withheld are those that one could, and does not.
	Announced []netip.Prefix `json:"announced,omitempty"`
	Withheld  []Announcement `json:"withheld,omitempty"`
	// Owned are prefixes of customers' own, of which the network publishes nothing.
	Owned []netip.Prefix `json:"owned,omitempty"`
	// Speakers are the routers that speak BGP, where the file has ASes: those, and
	// the datacenters' edges. Hold is the hold time of all sessions.
	Speakers []Speaker     `json:"speakers,omitempty"`
	Hold     time.Duration `json:"hold,omitempty"`
	// Customers are the sites' routers that tell routes by BGP, through their tunnels;
	// Relays the other ends, at every datacenter's edge.
	Customers []Speaker `json:"customers,omitempty"`
	Relays    []Speaker `json:"relays,omitempty"`
	// Detection is how long after a server's last sign of life its datacenter
	// takes it out: no flow is steered to it, and the edge routes nothing there.
	Detection time.Duration `json:"detection"`
	// Length is when the last flow must have ended, from the start of traffic.
	Length time.Duration `json:"length"`
}

// Feature is a use of a word that not every engine can do.
type Feature struct {
	Word string `json:"word"` // "run", "cpe", "faults.cut"
	Path string `json:"path"` // where in the scenario, as Error.Path
}

// Datacenter is a place with an edge router and servers.
type Datacenter struct {
	ID     ident.Datacenter `json:"id"`
	Name   string           `json:"name"`  // "lhr"
	Place  string           `json:"place"` // IATA
	Egress []netip.Prefix   `json:"egress"`
	// Propagation is how long what is learned elsewhere takes to be known here.
	Propagation time.Duration `json:"propagation,omitempty"`
}

// Kind of a node.
type Kind string

const (
	KindHost      Kind = "host"      // a machine in a site's LAN
	KindBranch    Kind = "branch"    // a site's router, with its tunnels
	KindDevice    Kind = "device"    // a client device: a host with a tunnel of its own
	KindConnector Kind = "connector" // the router of a private network, with its outbound tunnel
	KindTransit   Kind = "transit"   // a router of the Internet
	KindEdge      Kind = "edge"      // a datacenter's router
	KindServer    Kind = "server"    // an edge server: runs a hub
	KindOrigin    Kind = "origin"    // a host on the Internet
)

// Node is one network namespace.
type Node struct {
	ID   string `json:"id"` // "shop.1.till"
	Kind Kind   `json:"kind"`
	// Site is "shop.1" for what belongs to a site, a connector's id for what
	// belongs to one, else empty; Datacenter
	// likewise ("lhr"): for an origin or a site, where its traffic lands.
	Site       string `json:"site,omitempty"`
	Datacenter string `json:"datacenter,omitempty"`
	// Replica is the host of which this is the one in Datacenter, of a host that
	// the network itself serves in every datacenter; empty for all others.
	Replica string `json:"replica,omitempty"`
	// Account of a site's nodes.
	Account string `json:"account,omitempty"`
	// Place is the code of where the node is, with its position in degrees:
	// what a drawing needs. Position is 0, 0 for a code that place does not know.
	Place string  `json:"place,omitempty"`
	Lat   float64 `json:"lat,omitempty"`
	Lon   float64 `json:"lon,omitempty"`
	// Address is a host's, device's or origin's own, invalid for all others.
	Address netip.Addr `json:"address,omitzero"`
	// LAN is the prefix of a site's nodes; equal ones overlap.
	LAN netip.Prefix `json:"lan,omitzero"`
	// Forward is ip_forward: set explicitly, because a new namespace inherits the host's.
	Forward bool `json:"forward"`
	// Loopback holds addresses of the loopback interface: an edge's own for GUE.
	Loopback []netip.Prefix `json:"loopback,omitempty"`
	Routes   []KernelRoute  `json:"routes,omitempty"`
	// Multipath says the node balances over next hops: fib_multipath_hash_policy 3,
	// fields 55 (policy 1 follows the sending socket's hash across veth).
	Multipath bool `json:"multipath,omitempty"`
	// TCPECN is what its TCP does about congestion notification, off or request, of
	// what has TCP; empty is to accept it, which kernels do.
	TCPECN string `json:"tcp_ecn,omitempty"`
}

// ends says whether connections begin or end at the node.
func (n *Node) ends() bool {
	return n.Kind == KindHost || n.Kind == KindOrigin || n.Kind == KindDevice
}

// KernelRoute is a route in a node's kernel. Several hops are ECMP.
type KernelRoute struct {
	To netip.Prefix `json:"to"`
	// Hops; none is a blackhole.
	Hops []Hop `json:"hops,omitempty"`
	// Source is the preferred source address; invalid means the kernel's choice.
	Source netip.Addr `json:"source,omitzero"`
	// Learned says that BGP brings the route: it is what the speakers come to when
	// all sessions are up and nothing is broken.
	Learned bool `json:"learned,omitempty"`
}

// Hop is a next hop. Via is always on-link: every neighbour is permanent. An
// invalid Via means that the destination itself is the neighbour.
type Hop struct {
	Interface string     `json:"interface"`
	Via       netip.Addr `json:"via,omitzero"`
}

// Class of a link; `links:` in the file gives impairments by class.
type Class string

const (
	ClassLAN      Class = "lan"      // host – branch router
	ClassAccess   Class = "access"   // branch router – transit
	ClassInternet Class = "internet" // origin – transit
	ClassTransit  Class = "transit"  // transit – transit
	ClassEdge     Class = "edge"     // transit – datacenter edge
	ClassServer   Class = "server"   // datacenter edge – server
	ClassBackbone Class = "backbone" // datacenter edge – datacenter edge
)

// Link is a veth pair, created with each end in its namespace. A is the end
// away from the Internet's middle, so that A to B is up: host – router,
// router – transit, origin – transit, server – edge, edge – transit. Between
// equals A is the datacenter that the file names first.
type Link struct {
	ID    string   `json:"id"` // A and B: "shop.1.router-transit.lhr"
	Class Class    `json:"class"`
	A     Endpoint `json:"a"`
	B     Endpoint `json:"b"`
	MTU   int      `json:"mtu"`
	// VLAN is the IEEE 802.1Q tag of the packets on an interconnect's link, 0 for
	// none. The interfaces at both ends speak without it: who runs them adds and
	// takes it.
	VLAN int `json:"vlan,omitempty"`
	// AB and BA are what the link does to packets in each direction; zero is a plain wire.
	AB spec.Impairment `json:"ab,omitzero"`
	BA spec.Impairment `json:"ba,omitzero"`
	// Pumped says that a fault will impair the link, so that it is built to be
	// impaired, although it does nothing yet.
	Pumped bool `json:"pumped,omitempty"`
	// Geo is the great-circle one-way delay between the ends' places.
	Geo time.Duration `json:"geo,omitempty"`
}

// Endpoint is one end of a link.
type Endpoint struct {
	Node      string           `json:"node"`
	Interface string           `json:"interface"` // at most 15 characters
	MAC       net.HardwareAddr `json:"mac"`
	Addresses []netip.Prefix   `json:"addresses,omitempty"`
	// Neighbors are the addresses behind the other end, all resolved to its
	// MAC for good: no ARP, stable captures.
	Neighbors []netip.Addr `json:"neighbors,omitempty"`
	// NeighborMAC is what Neighbors resolve to instead, where the kernel of the
	// other end must take nothing for its own (it drops what is for another MAC)
	// and a program there listens: an interconnect's edge. Empty elsewhere.
	NeighborMAC net.HardwareAddr `json:"neighbor_mac,omitempty"`
}

// Server is an edge server.
type Server struct {
	Node       string     `json:"node"` // "lhr.1"
	Datacenter string     `json:"datacenter"`
	Index      int        `json:"index"` // within the datacenter, from 1: its slice
	Interface  string     `json:"interface"`
	Handover   netip.Addr `json:"handover"`
	// Config is complete and read-only: servers share its slices.
	Config hub.Config `json:"config"`
}

// Branch is a router with tunnels: a site's, a connector's, or a device, which
// is a router without a LAN.
type Branch struct {
	Node string `json:"node"` // "shop.1.router"
	Site string `json:"site"` // "shop.1"
	// WAN is the interface toward transit, LANs those toward the hosts. A site
	// that has interconnects alone has no WAN.
	WAN     string         `json:"wan,omitempty"`
	LANs    []string       `json:"lans"`
	Tunnels []BranchTunnel `json:"tunnels"`
	// Choice is how it chooses among several on-ramps; nil where the first takes
	// all for ever.
	Choice *Choice `json:"choice,omitempty"`
}

// BranchTunnel is a tunnel as the branch sees it.
type BranchTunnel struct {
	OnRamp ident.OnRamp `json:"onramp"`
	Name   string       `json:"name"` // "shop.1.wan"
	Kind   tunnel.Kind  `json:"kind"` // gre, device or connector
	// Interface is the tunnel device ("gre1") that the kernel routes into.
	Interface string `json:"interface"`
	// WAN is the interface that its packets leave by, where that is not the branch's.
	WAN    string     `json:"wan,omitempty"`
	Local  netip.Addr `json:"local"`  // the branch's outer address
	Remote netip.Addr `json:"remote"` // the anycast tunnel address
	Key    *uint32    `json:"key,omitempty"`
	MTU    int        `json:"mtu"`
	// Inner and Peer are the interface addresses, a /31 of SEMANTICS 2.8: Inner
	// is the branch's, Peer the servers'. A device's Inner is its own address,
	// alone in its prefix: InnerPrefix.
	Inner netip.Addr `json:"inner"`
	Peer  netip.Addr `json:"peer"`
	// Inner6 and Peer6 are those of IPv6, a /127; invalid where the site has none.
	Inner6 netip.Addr `json:"inner6,omitzero"`
	Peer6  netip.Addr `json:"peer6,omitzero"`
	// MAC of Interface, and the permanent neighbour that Peer resolves to.
	MAC     net.HardwareAddr `json:"mac"`
	PeerMAC net.HardwareAddr `json:"peer_mac"`
	// Connect is how a connected tunnel (device, connector) begins; nil for gre.
	Connect *Connect `json:"connect,omitempty"`
}

// InnerPrefix is the interface address with its prefix.
func (t *BranchTunnel) InnerPrefix() netip.Prefix {
	if t.Kind == tunnel.Device {
		return host(t.Inner)
	}
	return netip.PrefixFrom(t.Inner, t.Inner.BitLen()-1)
}

// Connect is what a connected tunnel says of itself (SEMANTICS 4.1). Its
// datagrams go from the tunnel's Local to its Remote over UDP.
type Connect struct {
	// Port is the UDP port at the servers.
	Port uint16 `json:"port"`
	// Context is the first datagram, signed.
	Context tunnel.Context `json:"context"`
	// Switch are later contexts, in order of time: the tunnel is closed and
	// opened anew from another port.
	Switch []Reconnect `json:"switch,omitempty"`
	// NAT is the address of the private network that a connector translates
	// sources to; invalid where it preserves them.
	NAT netip.Addr `json:"nat,omitzero"`
}

// SourcePort is the UDP port that a connected tunnel's beginning comes from, counted
// from 0: each has one of its own. It is the plan's because ECMP hashes it: by which
// server a tunnel comes in is no chance of an engine's.
func (c *Connect) SourcePort(beginning int) uint16 {
	return tunnel.FirstDynamicPort + uint16(beginning)
}

// Reconnect is a connected tunnel's next beginning.
type Reconnect struct {
	At      time.Duration  `json:"at"` // from the start of traffic
	Context tunnel.Context `json:"context"`
}

// Interconnect is a site's link without a tunnel as the datacenter's edge sees
// it: bare packets come in on Interface and go to any of its servers in GUE,
// each with its context, from Local to Remote (SEMANTICS 4.1, "unconnected").
type Interconnect struct {
	OnRamp ident.OnRamp `json:"onramp"`
	Tenant ident.Tenant `json:"tenant"`
	Name   string       `json:"name"`
	// Edge is the node; Interface its end of the site's link, VLAN the tag that
	// packets have there, 0 for none.
	Edge      string `json:"edge"`
	Interface string `json:"interface"`
	VLAN      int    `json:"vlan,omitempty"`
	// Local is the edge's own address for GUE, Remote the servers' common one.
	Local  netip.Addr `json:"local"`
	Remote netip.Addr `json:"remote"`
	// MAC is what the site sends to, which is not that of Interface (see
	// Endpoint.NeighborMAC), so that the edge's kernel never routes what the site
	// sends; SiteMAC is the site router's.
	MAC     net.HardwareAddr `json:"mac"`
	SiteMAC net.HardwareAddr `json:"site_mac"`
}

// InterconnectPorts is how many UDP ports an edge sends from: enough for ECMP to
// spread over the servers of a datacenter, and a power of two.
const InterconnectPorts = 1 << interconnectBits

const interconnectBits = 4

// InterconnectPort is which of them a flow's packets come from, by the top of its
// hash. It is the plan's as Connect.SourcePort is.
func InterconnectPort(hash uint64) int { return int(hash >> (64 - interconnectBits)) }

// InterconnectSource is the number of a port that an edge sends from.
func InterconnectSource(port int) uint16 {
	return tunnel.GUESourcePort(uint64(port) << (64 - interconnectBits))
}

// Service is something an origin serves.
type Service struct {
	Node    string     `json:"node"`
	Kind    string     `json:"kind"` // "http", "echo" or "dns"
	Address netip.Addr `json:"address"`
	// Ports to listen on: TCP for http, UDP for echo and dns.
	Ports []uint16 `json:"ports"`
	// DNS is what a service of kind "dns" answers.
	DNS *dns.Config `json:"dns,omitempty"`
	// Allow are the sources that are answered: others get status 403 from http and
	// nothing from echo. nil are all.
	Allow []netip.Prefix `json:"allow,omitempty"`
}

// Answers reports whether the service answers a source.
func (s *Service) Answers(source netip.Addr) bool {
	return s.Allow == nil || slices.ContainsFunc(s.Allow, func(p netip.Prefix) bool { return p.Contains(source) })
}

// Program is a user's own program, which runs in a host as long as the lab does.
type Program struct {
	Node string   `json:"node"`
	Args []string `json:"args"`
}

// Uplink is a host's interface to a network of the machine's.
type Uplink struct {
	Node      string `json:"node"`
	Interface string `json:"interface"`
	// Network is the name in a CNI configuration list.
	Network string `json:"network"`
}

// Proto of a flow.
type Proto string

const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	ICMP Proto = "icmp"
)

// ReceiveBuffer is what every TCP connection has for what it received, bytes: the most
// that Linux lets one grow to by default, and from the beginning. How fast one grows
// hangs on how soon a program reads what came, which is the machine's and not the
// network's.
const ReceiveBuffer = 6 << 20

// Flow is one flow of the file's traffic, fixed to its source port and start.
type Flow struct {
	Traffic string `json:"traffic"`
	N       int    `json:"n"` // from 1, within the traffic
	// Client and Server are node ids.
	Client string `json:"client"`
	Server string `json:"server"`
	Proto  Proto  `json:"proto"`
	// Src and Dst as the client sees them. For icmp the source port is the echo id.
	Src netip.AddrPort `json:"src"`
	Dst netip.AddrPort `json:"dst"`
	// OnRamp the client's site sends it through: the plan's expectation.
	OnRamp string `json:"onramp"`
	// Ingress is the datacenter that the site's tunnel lands in.
	Ingress string `json:"ingress"`
	// Query is what the client asks before it connects; nil where it knows the
	// address. Until then Dst and Server are the name's own.
	Query *Query `json:"query,omitempty"`
	// Nonce marks the flow's payload, unique in the run.
	Nonce uint64 `json:"nonce"`
	// Start is when it begins, from the start of traffic. Flows that are one to the
	// network, because the flow key leaves the on-ramp out, never start at one moment.
	Start    time.Duration `json:"start"`
	Request  unit.Bytes    `json:"request"`
	Response unit.Bytes    `json:"response"`
	Packets  int           `json:"packets,omitempty"` // udp and icmp
	Interval time.Duration `json:"interval,omitempty"`
	Connect  time.Duration `json:"connect"`
	Timeout  time.Duration `json:"timeout"`
	Close    string        `json:"close"` // client or server
	// Hold keeps a TCP connection open after the answer.
	Hold time.Duration `json:"hold,omitempty"`
}

// InitialSequence is the number at which the client begins its side of a TCP connection,
// another for each flow, also for those that look alike (RFC 6528).
func (f *Flow) InitialSequence() uint32 { return uint32(f.Nonce >> 16) }
