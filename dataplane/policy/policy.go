// Package policy decides what a flow may do before it exists: the firewall,
// egress and network policies of one tenant (SEMANTICS 6.2, 7.2, 7.3).
//
// It says allow, block, or which egress method, and by which rule; it does not
// know routes, addresses in use or flows, and changes no packet. It is pure:
// rules go in once (Compile), questions any number of times, without memory.
// Its law, checked against a linear scan in the tests: the answer is that of
// the first rule, by precedence and then position, whose every selector holds.
package policy

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// Action is what a rule does. Which actions there are depends on the stage.
type Action string

const (
	// None is the action of no rule at the egress stage: the hub's default of
	// SEMANTICS 6.2 ("No match"), which is not the action Default.
	None Action = ""
	// Allow lets the flow pass (firewall, network).
	Allow Action = "allow"
	// Block refuses the flow (firewall, network).
	Block Action = "block"
	// Default leaves from the shared pool of the nearest datacenter (egress).
	Default Action = "default"
	// Dedicated leaves from the rule's own address (egress).
	Dedicated Action = "dedicated"
)

// Stage is one of the three lists, in the order in which they are asked
// (SEMANTICS 7.2).
type Stage string

const (
	Firewall Stage = "firewall"
	Egress   Stage = "egress"
	Network  Stage = "network"
)

// Policies are the rules of one tenant. The zero value allows everything.
type Policies struct {
	Firewall []Rule `json:"firewall,omitempty"`
	Egress   []Rule `json:"egress,omitempty"`
	Network  []Rule `json:"network,omitempty"`
}

// Rule is one policy.
type Rule struct {
	// ID is unique within the stage; wanted.
	ID string `json:"id"`
	// Name is for people; empty means the id.
	Name string `json:"name,omitempty"`
	// Precedence orders the stage ascending; the positive ones differ. Rules
	// without one (0) come first, in the order in which they are listed.
	Precedence int    `json:"precedence,omitempty"`
	Match      Match  `json:"match,omitzero"`
	Action     Action `json:"action"`
	// IPv4 is the address of a dedicated egress rule, and of no other.
	IPv4 netip.Addr `json:"ipv4,omitzero"`
	// Fallback is used while the place of IPv4 is down; 0.0.0.0 is the shared
	// pool, unset means that traffic fails (SEMANTICS 6.2).
	Fallback netip.Addr `json:"fallback,omitzero"`
}

// DisplayName is what a record calls the rule: its name, or else its id. It is
// empty for no rule (SEMANTICS 6.4, EgressRuleName).
func (r *Rule) DisplayName() string {
	switch {
	case r == nil:
		return ""
	case r.Name != "":
		return r.Name
	}
	return r.ID
}

// Match holds a rule's selectors. All that are given must hold; of one selector
// any value. An empty selector asks for nothing, so the zero value matches
// everything.
type Match struct {
	// Source and Destination hold for an address in any of the prefixes. Bits
	// past a prefix's length are ignored. 0.0.0.0/0 is all of IPv4 and no IPv6.
	Source      []netip.Prefix `json:"source,omitempty"`
	Destination []netip.Prefix `json:"destination,omitempty"`
	// Port is the destination port. It holds for TCP and UDP alone, because
	// nothing else has ports (SEMANTICS 2.5).
	Port []PortRange `json:"port,omitempty"`
	// Protocol is the IP protocol number.
	Protocol Protocols `json:"protocol,omitempty"`
	// Country is the destination's, two letters (ISO 3166-1), small or capital.
	Country []string `json:"country,omitempty"`
	// SourceCountry is the client's, likewise.
	SourceCountry []string `json:"source_country,omitempty"`
	// User is who uses the device, to the letter.
	User []string     `json:"user,omitempty"`
	VNet []ident.VNet `json:"vnet,omitempty"`
	// OnRamp is the kind of on-ramp that the flow arrived by.
	OnRamp []tunnel.Kind `json:"onramp,omitempty"`
}

// PortRange is the ports from First to Last, both included. The zero value is
// no range: Compile refuses it.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Port is the range of one port.
func Port(port uint16) PortRange { return PortRange{First: port, Last: port} }

// Subject is what is asked about: the first packet of a flow and what is known
// of where it came from. An unknown value (zero) fulfils no selector of its
// kind. An IPv4 address mapped into IPv6 counts as IPv4; a zone is ignored.
type Subject struct {
	// Src and Dst as the client sees them; the port of a protocol without ports
	// is ignored.
	Src, Dst netip.AddrPort
	// Proto is the IP protocol number.
	Proto uint8
	// Country is the destination's, SourceCountry the client's.
	Country, SourceCountry string
	User                   string
	VNet                   ident.VNet
	OnRamp                 tunnel.Kind
}

// Decision is an answer.
type Decision struct {
	Action Action
	// Rule is the rule that matched, nil if none did. It belongs to the Set and
	// must not be changed.
	Rule *Rule
}
