package spec

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

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
	// ASN of the site's router, which tells the routes with source: bgp through its tunnels; 0 means 65000.
	ASN uint32 `yaml:"asn,omitempty" json:"asn,omitempty"`
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
