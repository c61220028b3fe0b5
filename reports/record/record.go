// Package record is the schema of results: what every engine writes and every
// report reads. It is a leaf: it knows no engine and no scenario.
package record

import "time"

// Verdict of a check or run.
type Verdict string

const (
	Pass  Verdict = "pass"
	Fail  Verdict = "fail"
	Error Verdict = "error" // could not be judged
	Skip  Verdict = "skip"
)

// Result of a flow.
type Result string

const (
	OK           Result = "ok"
	Misdelivered Result = "misdelivered" // a reply was seen at a host that did not ask, or a request at one that was not asked
	Lost         Result = "lost"         // no answer in time, and nobody else saw one
	Refused      Result = "refused"      // the origin refused
	Reset        Result = "reset"
	Failed       Result = "error" // the client could not even try, or the answer was wrong
)

// Flow is one line of flows.jsonl: one flow of the file's traffic. Fields may
// be added, not renamed. Unknown strings are empty, unknown numbers 0.
type Flow struct {
	Traffic      string `json:"traffic"`
	N            int    `json:"n"`
	Client       string `json:"client"` // "shop.1.till"
	Server       string `json:"server"` // "web"
	Proto        string `json:"proto"`
	Src          string `json:"src"` // "10.0.1.5:40000"
	Dst          string `json:"dst"`
	OnRamp       string `json:"onramp"` // "shop.1.wan"
	IngressDC    string `json:"ingress_dc"`
	HomeServer   string `json:"home_server"` // "lhr.2"
	EgressDC     string `json:"egress_dc"`
	EgressServer string `json:"egress_server"`
	EgressIP     string `json:"egress_ip"`
	EgressPort   int    `json:"egress_port"`
	// EgressCountry is what EgressIP is published with, EgressAccount who has it
	// alone; empty for a shared one. EgressRule is the egress policy that matched.
	EgressCountry string `json:"egress_country,omitempty"`
	EgressAccount string `json:"egress_account,omitempty"`
	EgressRule    string `json:"egress_rule,omitempty"`
	// ReturnOnRamp is the on-ramp that the replies left by, as the server saw it.
	ReturnOnRamp string `json:"return_onramp"`
	// DeliveredTo is the node whose wire the reply was seen on.
	DeliveredTo string `json:"delivered_to"`
	Result      Result `json:"result"`
	// Reason is a phrase for people, or a drop reason; empty when ok.
	Reason string `json:"reason"`
	// BytesUp and BytesDown are L4 payload bytes delivered to the server and to the client.
	BytesUp   int64 `json:"bytes_up"`
	BytesDown int64 `json:"bytes_down"`
	// RTTNs is connection set-up time, or the first echo's round trip.
	RTTNs int64 `json:"rtt_ns"`
	// StallNs is the longest time in which no payload was delivered, from the
	// start of payload to its end, or until the client gave up; 0 is unknown.
	StallNs int64 `json:"stall_ns,omitempty"`
	// FoundNs is how long its client asked name servers where the server is, before the
	// round trip; 0 is unknown.
	FoundNs int64 `json:"found_ns,omitempty"`
	// LateNs is how much later than planned it began, for want of a processor.
	LateNs int64 `json:"late_ns,omitempty"`
	// SendNs is how long the kernel took to take its first packet, which the round trip
	// holds; 0 if that was as good as at once.
	SendNs  int64 `json:"send_ns,omitempty"`
	StartNs int64 `json:"start_ns"` // since the start of the run
	EndNs   int64 `json:"end_ns"`
	// SessionID joins it with sessions.jsonl.
	SessionID string `json:"session_id,omitempty"`
}

// Session is one line of sessions.jsonl: a Network Session Log record, names
// and types of SEMANTICS 6.4, with a few of our own in front.
type Session struct {
	AccountID             string `json:"AccountID"`
	BytesReceived         int64  `json:"BytesReceived"`
	BytesSent             int64  `json:"BytesSent"`
	ClientTCPHandshakeMs  int64  `json:"ClientTCPHandshakeDurationMs"`
	ClientTLSCipher       string `json:"ClientTLSCipher"`
	ClientTLSHandshakeMs  int64  `json:"ClientTLSHandshakeDurationMs"`
	ClientTLSVersion      string `json:"ClientTLSVersion"`
	ConnectionCloseReason string `json:"ConnectionCloseReason"`
	ConnectionReuse       bool   `json:"ConnectionReuse"`
	DestinationReplicaID  string `json:"DestinationReplicaID"`
	DestinationTunnelID   string `json:"DestinationTunnelID"`
	DetectedProtocol      string `json:"DetectedProtocol"`
	DeviceID              string `json:"DeviceID"`
	DeviceName            string `json:"DeviceName"`
	EgressColoName        string `json:"EgressColoName"`
	EgressIP              string `json:"EgressIP"`
	EgressPort            int    `json:"EgressPort"`
	EgressRuleID          string `json:"EgressRuleID"`
	EgressRuleName        string `json:"EgressRuleName"`
	Email                 string `json:"Email"`
	IngressColoName       string `json:"IngressColoName"`
	InitialOriginIP       string `json:"InitialOriginIP"`
	Offramp               string `json:"Offramp"`
	OnrampType            string `json:"OnrampType"`
	OriginIP              string `json:"OriginIP"`
	OriginPort            int    `json:"OriginPort"`
	OriginTLSIssuer       string `json:"OriginTLSCertificateIssuer"`
	OriginTLSValidation   string `json:"OriginTLSCertificateValidationResult"`
	OriginTLSCipher       string `json:"OriginTLSCipher"`
	OriginTLSHandshakeMs  int64  `json:"OriginTLSHandshakeDurationMs"`
	OriginTLSVersion      string `json:"OriginTLSVersion"`
	Protocol              string `json:"Protocol"`
	RegistrationID        string `json:"RegistrationID"`
	ResolvedFQDN          string `json:"ResolvedFQDN"`
	RuleEvaluationMs      int64  `json:"RuleEvaluationDurationMs"`
	SessionStartTime      int64  `json:"SessionStartTime"` // Unix ns
	SessionEndTime        int64  `json:"SessionEndTime"`
	SessionID             string `json:"SessionID"` // 32 hex digits
	SNI                   string `json:"SNI"`
	SourceID              string `json:"SourceID"`
	SourceName            string `json:"SourceName"`
	SourceIP              string `json:"SourceIP"`
	SourcePort            int    `json:"SourcePort"`
	SourceInternalIP      string `json:"SourceInternalIP"`
	TenantID              string `json:"TenantID"`
	UserID                string `json:"UserID"`
	VirtualNetworkID      string `json:"VirtualNetworkID"`

	// OnRamp, HomeServer and ReturnOnRamp are ours: names as in flows.jsonl.
	OnRamp       string `json:"OnRamp"`
	HomeServer   string `json:"HomeServer"`
	EgressServer string `json:"EgressServer,omitempty"`
	ReturnOnRamp string `json:"ReturnOnRamp"`
	// OffRamp is the device, connector or site that the flow goes to; empty for
	// the Internet. VNet is the virtual network's name.
	OffRamp string `json:"OffRamp,omitempty"`
	VNet    string `json:"VNet,omitempty"`
	// Rules are the policies that matched, in the order in which they were asked,
	// each behind its stage: "firewall no_telnet". Refused is the drop reason of
	// a session that was not set up.
	Rules   []string `json:"Rules,omitempty"`
	Refused string   `json:"Refused,omitempty"`
	// Incomplete says why the end of the session is unknown; the times and bytes
	// of its end are 0 then.
	Incomplete string `json:"Incomplete,omitempty"`
	// StartNs is since the start of the run, as everywhere else.
	StartNs int64 `json:"StartNs"`
	EndNs   int64 `json:"EndNs"`
}

// Event is one line of events.jsonl, the time line.
type Event struct {
	AtNs int64  `json:"at_ns"` // since the start of the run
	Node string `json:"node"`
	// Kind: run, traffic, flow_start, flow_end, flow_refused, handover, returned,
	// drop, misdelivered, origin, attached, detached, switch, health, moved, path, chosen, fault, step, healed, lost, saturated, error.
	Kind string `json:"kind"`
	// Flow is the inner tuple the event is about, "tcp 10.0.1.5:40000 > 203.0.113.9:443", if any.
	Flow   string `json:"flow,omitempty"`
	OnRamp string `json:"onramp,omitempty"`
	Peer   string `json:"peer,omitempty"`   // the server handed over to; the host that saw a packet
	Reason string `json:"reason,omitempty"` // drop reason, or why
	Count  int64  `json:"count,omitempty"`  // drops: how many, where they are summed
	Text   string `json:"text,omitempty"`   // one sentence for people
	// Fault is the fault that the event is of: fault, step and healed.
	Fault string `json:"fault,omitempty"`
	// SessionID joins flow events with sessions.jsonl.
	SessionID string `json:"session_id,omitempty"`
	// By is who did it, where somebody did it by hand.
	By string `json:"by,omitempty"`
}

// Run is run.json: the manifest of one variant on one engine.
type Run struct {
	Scenario    string            `json:"scenario"`
	Variant     string            `json:"variant"`
	Title       string            `json:"title"`
	Engine      string            `json:"engine"` // sim, emu-hub or emu-ebpf
	Seed        uint64            `json:"seed"`
	Fingerprint string            `json:"fingerprint"` // of the plan; of the run where it is deterministic
	Started     time.Time         `json:"started"`
	WallMs      int64             `json:"wall_ms"`
	Partial     bool              `json:"partial,omitempty"` // interrupted
	Versions    map[string]string `json:"versions"`          // homeward, go, kernel
	// Features are the kernel features used: "io": "af_packet+vnet_hdr", "tunnel": "tcx", "wire": "veth".
	Features map[string]string `json:"features"`
	Topology Topology          `json:"topology"`
	// Traffic are the ids of the traffic, in the file's order.
	Traffic []string `json:"traffic,omitempty"`
	// Blocks are those of egress addresses of IPv4, by address.
	Blocks  map[string]Block `json:"blocks,omitempty"`
	Metrics Metrics          `json:"metrics"`
}

// Metrics are the run's totals.
type Metrics struct {
	// Counters by server name, then by counter name; drops as "drop.<reason>".
	Servers map[string]map[string]int64 `json:"servers"`
	// PortsSeen counts packets with an egress address that were seen on the wire to
	// leave servers for the Internet, superpackets as one; PortOutsideSlice those of
	// them with a port outside the sender's slice (SU-3).
	PortsSeen        int64 `json:"ports_seen"`
	PortOutsideSlice int64 `json:"port_outside_slice"`
	// ReturnRouteLookups counts route look-ups for replies: none where all on-ramps have ARR (ARR-2).
	ReturnRouteLookups int64 `json:"return_route_lookups"`
	// Lost are servers that were killed: what they had counted until then is unknown.
	Lost      []string `json:"lost,omitempty"`
	UpMs      int64    `json:"up_ms"`   // to bring the lab up
	DownMs    int64    `json:"down_ms"` // to take it down
	MaxRSSKiB int64    `json:"max_rss_kib,omitempty"`
	// Waited is the share of the traffic's time in which some process of the
	// machine waited for a processor; 0 where that is not known, or no machine's.
	Waited float64 `json:"waited,omitempty"`
	// Late is when nodes came late to packets, by node: servers, ends of tunnels and
	// origins. Of who is not in it nobody knows. Labs of impaired links alone tell.
	Late map[string]*Late `json:"late,omitempty"`
	// LateHosts is when programs on hosts came late to what had arrived for them, or was
	// theirs to send, by node. That delays a transfer, but no round trip, of which
	// kernels tell.
	LateHosts map[string]*Late `json:"late_hosts,omitempty"`
	// Wires are the impaired links, each direction by itself, in the plan's order.
	Wires []Wire `json:"wires,omitempty"`
	// Backbone is what went between datacenters, each direction by itself, in the
	// plan's order.
	Backbone []Backbone `json:"backbone,omitempty"`
	// Config counts the objects that somebody has to write into the network's
	// configuration, by kind: "onramps", "networks", "routes" …; nil where the
	// engine does not say.
	Config map[string]int64 `json:"config,omitempty"`
}

// Topology is what a report draws.
type Topology struct {
	Nodes []TopologyNode `json:"nodes"`
	Links []TopologyLink `json:"links"`
}

// TopologyNode is one box.
type TopologyNode struct {
	ID         string   `json:"id"`
	Kind       string   `json:"kind"` // host, branch, device, connector, transit, edge, server, origin
	Site       string   `json:"site,omitempty"`
	Datacenter string   `json:"datacenter,omitempty"`
	Account    string   `json:"account,omitempty"`
	VNet       string   `json:"vnet,omitempty"`      // of a device or connector
	User       string   `json:"user,omitempty"`      // of a device
	Addresses  []string `json:"addresses,omitempty"` // what a person wants to see: LAN prefix, host address, egress, slices
	Prefix     string   `json:"prefix,omitempty"`    // a branch's LAN: equal ones overlap
	Lat        float64  `json:"lat,omitempty"`
	Lon        float64  `json:"lon,omitempty"`
}

// TopologyLink is one line.
type TopologyLink struct {
	ID    string `json:"id"`
	A     string `json:"a"`
	B     string `json:"b"`
	Class string `json:"class"` // plan's classes, and "tunnel" or "interconnect" for an on-ramp
	Text  string `json:"text,omitempty"`
	// Kind of an on-ramp: gre, interconnect, device or connector; ARR says that
	// it has automatic return routing.
	Kind string `json:"kind,omitempty"`
	ARR  bool   `json:"arr,omitempty"`
}

// CheckResult is the outcome of one check.
type CheckResult struct {
	ID      string  `json:"id"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	// Expected is true if the variant lists the check in expect_fail and it did fail.
	Expected bool `json:"expected_fail,omitempty"`
	// UnexpectedPass is true if the variant lists the check in expect_fail and
	// it held: that fails the run.
	UnexpectedPass bool   `json:"unexpected_pass,omitempty"`
	Level          string `json:"level,omitempty"` // "warning" does not fail the run
}

// Summary is one element of summary.json.
type Summary struct {
	Scenario    string        `json:"scenario"`
	Variant     string        `json:"variant"`
	Engine      string        `json:"engine"`
	Verdict     Verdict       `json:"verdict"`
	Seed        uint64        `json:"seed"`
	Fingerprint string        `json:"fingerprint"` // the run's; of the plan where it has not run
	Checks      []CheckResult `json:"checks"`
	WallMs      int64         `json:"wall_ms"`
	// Tries is how often a lab was run, where that is more than once: each check is
	// judged by a try in which it could be. What is recorded is the last try's.
	Tries int `json:"tries,omitempty"`
	// Reason says why a run is a skip or an error.
	Reason string `json:"reason,omitempty"`
}

// Sink takes records as they come. Implementations are safe for concurrent use.
type Sink interface {
	Flow(Flow)
	Session(Session)
	Event(Event)
	// Run is called once, last, with the whole manifest.
	Run(Run)
	// Progress is a line for people, such as "12 of 30 flows"; it may be dropped.
	Progress(stage string, done, total int)
}
