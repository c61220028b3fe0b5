package hub

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// Config is everything one edge server knows besides its flows. It is plain
// data, JSON in and out, and the same on every server of a run but for Self and
// for routes that exist in some places alone.
type Config struct {
	// Epoch counts configurations; Reconfigure refuses one that is older.
	Epoch uint64 `json:"epoch"`
	// Seed keys every hash (home, egress address, port). The same on all servers.
	Seed uint64 `json:"seed"`
	// Self is this server.
	Self ident.Server `json:"self"`
	// Life counts how often this server began without flows; sessions of different
	// lives have different ids. 0 and 1 are the first.
	Life uint64 `json:"life,omitempty"`
	// Servers are all servers of all datacenters, in id order.
	Servers []Server `json:"servers"`
	// Tunnels are the anycast tunnel addresses: every server decapsulates what
	// is sent to them.
	Tunnels []netip.Addr `json:"tunnels"`
	// Unconnected are the addresses to which the network's own kernels send
	// packets in GUE (SEMANTICS 4.1), reached from its own links alone.
	Unconnected []netip.Addr `json:"unconnected,omitempty"`
	Tenants     []Tenant     `json:"tenants"`
	OnRamps     []OnRamp     `json:"onramps"`
	// Routes of all tenants and virtual networks, those that exist in the
	// server's datacenter (route.In).
	Routes []route.Route `json:"routes,omitempty"`
	// Groups join on-ramps for failover.
	Groups []Group `json:"groups,omitempty"`
	// Egress is the directory: which datacenter holds an address, which server
	// each slice. All addresses of all datacenters.
	Egress []egress.Address `json:"egress"`
	// Sources are the network's own sources, out of 100.64.0.0/12, for flows to
	// private networks whose client's address cannot stay (SEMANTICS 1.5): each
	// whole and of one server.
	Sources []Source `json:"sources,omitempty"`
	// Held are flows of addresses that moved here and drain where they were.
	Held []Held `json:"held,omitempty"`
	// Proxied are destinations that the network itself serves in every datacenter:
	// flows to them leave where they came in (SEMANTICS 6.3).
	Proxied []netip.Prefix `json:"proxied,omitempty"`
	// Distances are those of other datacenters; of one that is not listed it is 0.
	Distances []Distance `json:"distances,omitempty"`
	// Countries say where addresses are, for policies; the longest prefix counts.
	Countries []Country `json:"countries,omitempty"`
	// MTU is the largest packet toward the Internet, bytes; 0 means 1500. The
	// network's own links hold a hand-over's headers on top of it.
	MTU int `json:"mtu,omitempty"`
	// Uplink is the largest packet that the server's own link passes, bytes, where
	// that is less than its tunnels were made for; 0 is no bound.
	Uplink int    `json:"uplink,omitempty"`
	Timers Timers `json:"timers"`
	Bounds Bounds `json:"bounds"`
	// Trace asks for Trace events (first packets, hand-overs, drops); off in benchmarks.
	Trace bool `json:"trace,omitempty"`
}

// Server is one edge server as the others see it.
type Server struct {
	ID         ident.Server     `json:"id"`
	Name       string           `json:"name"` // "lhr.1"
	Datacenter ident.Datacenter `json:"datacenter"`
	// Handover is the server's own address for hand-overs inside the network.
	Handover netip.Addr `json:"handover"`
	// Live servers can be sent packets. They take part in the bucket table but for
	// those that are Drained, which keep the flows that they have and get no new
	// ones, unless all are.
	Live    bool `json:"live"`
	Drained bool `json:"drained,omitempty"`
	// Was says in which bucket tables before the server took part (steer.Server.Was):
	// a mid-flow packet that misses at its bucket's home is tried once where the
	// bucket was before (SEMANTICS 5.3).
	Was uint64 `json:"was,omitempty"`
}

// Change has change applied to the server of that name, and keeps whose the
// buckets of its datacenter were until now.
func (c *Config) Change(server string, change func(*Server)) {
	i := slices.IndexFunc(c.Servers, func(s Server) bool { return s.Name == server })
	if i < 0 {
		return
	}
	c.Servers = slices.Clone(c.Servers)
	now := c.sharing(c.Servers[i].Datacenter)
	for k := range c.Servers {
		if s := &c.Servers[k]; s.Datacenter == c.Servers[i].Datacenter {
			s.Was <<= 1
			if slices.ContainsFunc(now, func(x steer.Server) bool { return x.ID == s.ID && x.Live }) {
				s.Was |= 1
			}
		}
	}
	change(&c.Servers[i])
}

// SetLive says that a server went, with all that it had, or that it is back.
// Nothing is asked of who went; who is back asks those who held its buckets.
func (c *Config) SetLive(server string, live bool) {
	c.Change(server, func(s *Server) { s.Live, s.Was = live, 0 })
}

// Drain reassigns a server's buckets to the others of its datacenter, or gives
// them back.
func (c *Config) Drain(server string, drained bool) {
	c.Change(server, func(s *Server) { s.Drained = drained })
}

// sharing are the servers of a datacenter as its bucket table has them.
func (c *Config) sharing(dc ident.Datacenter) []steer.Server {
	var all []steer.Server
	takes := func(s *Server) bool { return s.Datacenter == dc && s.Live && !s.Drained }
	some := false
	for i := range c.Servers {
		some = some || takes(&c.Servers[i])
	}
	for i := range c.Servers {
		if s := &c.Servers[i]; s.Datacenter == dc {
			all = append(all, steer.Server{ID: s.ID, Live: takes(s) || !some && s.Live, Was: s.Was})
		}
	}
	return all
}

// Buckets is the bucket table of the server's datacenter.
func (c *Config) Buckets() *steer.Table {
	here := ident.Datacenter(0) // nobody's, where a configuration is empty
	for i := range c.Servers {
		if c.Servers[i].ID == c.Self {
			here = c.Servers[i].Datacenter
		}
	}
	return steer.New(c.Seed, c.sharing(here))
}

// Source is one of the network's own sources and the server whose it is.
type Source struct {
	Addr   netip.Addr   `json:"addr"`
	Server ident.Server `json:"server"`
}

// Country says in which country a prefix is, as ISO 3166-1 alpha-2 capitals.
type Country struct {
	Prefix netip.Prefix `json:"prefix"`
	Code   string       `json:"code"`
}

// Tenant is an account.
type Tenant struct {
	ID   ident.Tenant `json:"id"`
	Name string       `json:"name"`
	// FlowKey "tuple" leaves the on-ramp out of the forward key: the old,
	// dangerous signature, kept to show its harm (SEMANTICS 1.5). Empty means onramp.
	FlowKey FlowKey `json:"flow_key,omitempty"`
	// Orphan says what a mid-flow TCP packet without a flow gets. Empty means drop.
	Orphan Orphan `json:"orphan,omitempty"`
	// Collision says what a flow gets whose reverse key is another's, where the
	// client's source is preserved. Empty means reject-second.
	Collision Collision `json:"collision,omitempty"`
	// OnExhaustion says what a flow gets whose egress address has no free port
	// (SEMANTICS 5.5): refuse nothing else, another_address any address of the
	// server, another_server then any server of the datacenter within the hop
	// cap. Empty means another_address.
	OnExhaustion OnExhaustion `json:"on_exhaustion,omitempty"`
	// Legacy keeps the routes of private networks apart from those of the WAN
	// (SEMANTICS 2.1); there is no ARR then.
	Legacy bool `json:"legacy,omitempty"`
	// Secret signs the contexts of the tenant's connected tunnels that come from
	// outside; none means that there are no such tunnels.
	Secret []byte `json:"secret,omitempty"`
	// VNets are the tenant's virtual networks, one of them the default. None
	// means the one that every account has, route.DefaultVNet.
	VNets []VNet `json:"vnets,omitempty"`
	// Policies are asked before a flow is set up. The zero value allows everything.
	Policies policy.Policies `json:"policies,omitzero"`
}

// VNet is a virtual network of a tenant (SEMANTICS 3).
type VNet struct {
	ID      ident.VNet `json:"id"`
	Name    string     `json:"name"`
	Default bool       `json:"default,omitempty"`
}

// DefaultVNet is the tenant's default virtual network.
func (t *Tenant) DefaultVNet() ident.VNet {
	for _, v := range t.VNets {
		if v.Default {
			return v.ID
		}
	}
	return route.DefaultVNet
}

// DefaultVNets are the default virtual networks of all tenants and who is in
// legacy mode, as route.New wants them.
func (c *Config) DefaultVNets() []route.Default {
	all := make([]route.Default, len(c.Tenants))
	for i := range c.Tenants {
		all[i] = route.Default{Tenant: c.Tenants[i].ID, VNet: c.Tenants[i].DefaultVNet(), Legacy: c.Tenants[i].Legacy}
	}
	return all
}

type (
	FlowKey      string
	Orphan       string
	Collision    string
	OnExhaustion string
)

const (
	FlowKeyOnRamp FlowKey = "onramp"
	FlowKeyTuple  FlowKey = "tuple"
	OrphanDrop    Orphan  = "drop"
	OrphanReset   Orphan  = "reset"

	CollisionReject Collision = "reject-second"
	CollisionSNAT   Collision = "snat"

	ExhaustionRefuse         OnExhaustion = "refuse"
	ExhaustionAnotherAddress OnExhaustion = "another_address"
	ExhaustionAnotherServer  OnExhaustion = "another_server"
)

// OnRamp is one connection (SEMANTICS 0).
type OnRamp struct {
	ID     ident.OnRamp `json:"id"`
	Name   string       `json:"name"` // "shop.1.wan"
	Tenant ident.Tenant `json:"tenant"`
	VNet   ident.VNet   `json:"vnet"`
	// Scope is the on-ramp's own number, or its group's (SEMANTICS 1.8).
	Scope ident.Scope `json:"scope"`
	Kind  tunnel.Kind `json:"kind"`
	// Local and Remote are the outer addresses. GRE: our anycast address and the
	// branch router's. Interconnect: one of Unconnected and the edge's address
	// for GUE. Device and connector: our anycast address; Remote is unset, because
	// they may connect from anywhere.
	Local  netip.Addr `json:"local"`
	Remote netip.Addr `json:"remote,omitzero"`
	// Registration names a device or connector in its context.
	Registration Registration `json:"registration,omitzero"`
	// Client and Client6 are a device's own addresses, from the range of devices.
	Client  netip.Addr `json:"client,omitzero"`
	Client6 netip.Addr `json:"client6,omitzero"`
	// Country and User are for policies; either may be empty.
	Country string `json:"country,omitempty"`
	User    string `json:"user,omitempty"`
	// Translate says that a connector's private hosts see the connector's own
	// address: flows go there from the network's own sources, and none come from
	// there. Otherwise the client's source is preserved.
	Translate bool `json:"translate,omitempty"`
	// Address is the hub's own address inside the tunnel, from which it reports
	// errors as a router, Address6 that of IPv6; the zero value means Local, if it
	// is of the family. Without either, errors of that family are not reported.
	Address  netip.Addr `json:"address,omitzero"`
	Address6 netip.Addr `json:"address6,omitzero"`
	// Peer is the customer's address inside the tunnel, for probes and BGP.
	Peer netip.Addr `json:"peer,omitzero"`
	// BGP has the customer's router at Peer speak BGP with Address, which the
	// datacenter's edge has (SEMANTICS 2.7).
	BGP bool `json:"bgp,omitempty"`
	// Probing asks for the tunnel's health; nil is not probed, and without penalty.
	Probing *Probing `json:"probing,omitempty"`
	// Key is the GRE key (RFC 2890); nil means none, and then a packet with a
	// key is not of this tunnel.
	Key *uint32 `json:"key,omitempty"`
	// ARR is automatic_return_routing (SEMANTICS 1.2).
	ARR bool `json:"arr"`
	// MTU is the largest inner packet, bytes; 0 means tunnel.GREMTU (1476), and
	// over IPv6 tunnel.GREMTU6 (1456). IPv6 inside needs 1280 or more.
	MTU int `json:"mtu,omitempty"`
}

// Registration is the id of a device or connector, 32 hex digits as text.
type Registration [tunnel.RegistrationLen]byte

// MarshalText implements encoding.TextMarshaler.
func (r Registration) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, r[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Registration) UnmarshalText(text []byte) error {
	b, err := hex.AppendDecode(nil, text)
	if err != nil || len(b) != len(r) {
		return fmt.Errorf("registration %q: want %d hex digits", text, 2*len(r))
	}
	*r = Registration(b)
	return nil
}

// Timers hold the lifetimes of SEMANTICS 1.9. A zero field means its default.
type Timers struct {
	TCPConnect     time.Duration `json:"tcp_connect,omitempty"`     // half-open; 30 s
	TCPEstablished time.Duration `json:"tcp_established,omitempty"` // idle; 8 h
	TCPTransitory  time.Duration `json:"tcp_transitory,omitempty"`  // closing, or after RST; 240 s
	UDP            time.Duration `json:"udp,omitempty"`             // 300 s
	DNS            time.Duration `json:"dns,omitempty"`             // UDP to port 53; 10 s
	ICMP           time.Duration `json:"icmp,omitempty"`            // 60 s
	// PortHold is how long a closed flow keeps its egress port (SEMANTICS 5.5); 60 s.
	PortHold time.Duration `json:"port_hold,omitempty"`
	// Reassembly is how long all fragments of a datagram may take to come; 30 s.
	Reassembly time.Duration `json:"reassembly,omitempty"`
}

// Bounds limit memory. A zero field means its default.
type Bounds struct {
	// Flows is the most flows this server holds; at the bound new flows are
	// refused as drop.TableFull. As many more may be with other servers that have
	// a port for them. Default 1<<20.
	Flows int `json:"flows,omitempty"`
	// Fragmented is the most datagrams that are put together at once, and
	// FragmentBytes their memory; beyond either, fragments are dropped as
	// drop.ReassemblyFull. Defaults 1024 and 4 MiB.
	Fragmented    int `json:"fragmented,omitempty"`
	FragmentBytes int `json:"fragment_bytes,omitempty"`
}
