// Package hub is one edge server: the pipeline that decides where a packet
// goes and where its reply returns (SEMANTICS 1.4 and 5.2).
//
// It is sans-IO: packets and time go in, packets and events come out. It has
// no goroutine, clock, logger or random source, so emu drives it with real
// packets and sim with virtual time, unmodified. One goroutine calls it.
package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Packet is one packet as it came from the wire, from its IP header on.
type Packet struct {
	// Data is rewritten in place; what Out returns aliases it.
	Data []byte
	// Offload is what the driver's kernel left undone: segmentation and
	// checksum. The zero value is a complete packet.
	Offload pkt.Offload
	// Internal says the packet came over one of the network's own links, and
	// may therefore be a hand-over. The edge filters; the lab sets it always.
	Internal bool
	// Port is the connected tunnel that the datagram came by; 0 is the uplink.
	Port Port
}

// Port names a connected tunnel inside the server, a Unix SEQPACKET socket that
// the driver holds (OX-1). Its first datagram is a context, every later one a
// bare IP packet. Hub.Closed tells that it is gone. 0 is none.
type Port uint32

// Send is a packet to put on the uplink.
type Send struct {
	// Data is the packet from its IP header on, without the outer header that
	// Encap asks for.
	Data    []byte
	Offload pkt.Offload
	// Encap is the outer header to write in front (tunnel.Append), or zero for none.
	Encap tunnel.Encap
	// Port is the connected tunnel inside the server to write Data to, as one
	// datagram without outer header; 0 is the uplink.
	Port Port
}

// Out collects what a call decided. It is owned and reused by the caller:
// Reset before each call or batch. Data in Send is valid until the caller
// reuses the input buffers or resets Out.
type Out struct {
	Send   []Send
	Events []Event
	// Hangup lists connected tunnels that the driver must close.
	Hangup []Port
	// arena backs packets that the hub itself made (ICMP errors, resets).
	arena []byte
}

// Reset empties o and keeps its memory.
func (o *Out) Reset() {
	clear(o.Send)
	clear(o.Events)
	o.Send, o.Events, o.Hangup, o.arena = o.Send[:0], o.Events[:0], o.Hangup[:0], o.arena[:0]
}

// send appends a packet. It fills the Send in place: a literal would be built
// elsewhere and copied, which the processor stalls on.
func (o *Out) send(data []byte, off pkt.Offload) *Send {
	n := len(o.Send)
	if n == cap(o.Send) {
		o.Send = append(o.Send, Send{})
	}
	o.Send = o.Send[:n+1]
	s := &o.Send[n]
	s.Data, s.Offload, s.Port = data, off, 0
	s.Encap = tunnel.Encap{}
	return s
}

// made is what was appended to the arena from start on, closed to growth so
// that nobody's append can run into the next packet.
func (o *Out) made(start int) []byte { return o.arena[start:len(o.arena):len(o.arena)] }

// EventKind says what an Event tells.
type EventKind uint8

const (
	_ EventKind = iota
	// FlowStart: a flow was set up. Exactly one per flow.
	FlowStart
	// FlowEnd: a flow ended, Session complete. Exactly one per flow.
	FlowEnd
	// FlowRefused: set-up failed (Session.Refused says why); a session record
	// without a flow (SEMANTICS 6.4: "success or not").
	FlowRefused
	// Handover: a packet that may open a flow, or answer one, was sent to Peer. Only with Config.Trace.
	Handover
	// Dropped: a packet was dropped for Reason. Only with Config.Trace.
	Dropped
	// Returned: the first reply of a flow left by OnRamp; ByARR says whether
	// the flow or the route table chose. Only with Config.Trace.
	Returned
	// Attached: a device or connector (OnRamp) connected to this server, in
	// VNet. The driver lets all servers Learn it, each as soon as it can know.
	Attached
	// Detached: its tunnel was closed, and it is nowhere now.
	Detached
	// HealthChanged: a tunnel (OnRamp) is from now on what Why says, as this
	// server sees it.
	HealthChanged
	// Moved: a flow goes on by another on-ramp of its group, OnRamp.
	Moved
	// Used: this server has Use.Flows flows of an address that a tenant has to itself.
	// The driver lets all servers Learn it, as with Attached.
	Used
	// PathChanged: packets into OnRamp, or to Peer, may have MTU bytes with their
	// outer header, which is less than before. Only with Config.Trace.
	PathChanged
)

// Event is something worth a record: the hooks flow_start and flow_end, and
// the trace.
type Event struct {
	Kind EventKind
	At   vt.Instant
	// Tuple is the packet's or flow's inner addresses where known: for a reply
	// that has not been attributed yet, its outside addresses.
	Tuple   Tuple
	OnRamp  ident.OnRamp // where it came from, or (Returned) where it goes; 0 unknown
	Peer    ident.Server // Handover: to whom
	Reason  drop.Reason  // Dropped
	ByARR   bool         // Returned
	Why     string       // one constant phrase for people: "bucket", "slice", "second hop", "equal routes", ...
	Session *Session     // FlowStart, FlowEnd, FlowRefused; a copy the caller may keep
	VNet    ident.VNet   // Attached
	MTU     int          // PathChanged
	Use     *egress.Use  `json:",omitempty"` // Used
}

// Attachment is where a device or connector is, as the network learns it, or how
// much of an address a server uses.
type Attachment struct {
	OnRamp ident.OnRamp `json:"onramp"`
	// Use is all that is said where OnRamp is 0.
	Use *egress.Use `json:"use,omitempty"`
	// Server is where it is attached; 0 is nowhere.
	Server ident.Server `json:"server"`
	VNet   ident.VNet   `json:"vnet,omitempty"`
	// Since orders what is learned: an older Attachment never replaces a newer.
	Since vt.Instant `json:"since"`
}

// Subject is what an Attachment is about: a newer one of the same takes its place.
type Subject struct {
	OnRamp ident.OnRamp
	Use    egress.Use // without the flows
}

// Subject is what a is about.
func (a *Attachment) Subject() Subject {
	if a.Use == nil {
		return Subject{OnRamp: a.OnRamp}
	}
	s := Subject{Use: *a.Use}
	s.Use.Flows = 0
	return s
}

// Attachment is what an event of the server at says of where a device or
// connector is; ok is false for any other event.
func (e *Event) Attachment(at ident.Server) (a Attachment, ok bool) {
	switch e.Kind {
	case Attached:
		return Attachment{OnRamp: e.OnRamp, Server: at, VNet: e.VNet, Since: e.At}, true
	case Detached:
		return Attachment{OnRamp: e.OnRamp, Since: e.At}, true
	case Used:
		return Attachment{Use: e.Use, Since: e.At}, true
	}
	return a, false
}

// Tuple is a flow's addresses as a client sees them. For ICMP echo the ports
// are id and 0.
type Tuple struct {
	Proto    uint8
	Src, Dst netip.AddrPort
}

// Session is what the session log knows of one flow (SEMANTICS 6.4).
type Session struct {
	ID     [16]byte // keyed hash of the flow and its ordinal: the same in every run of a seed
	Tenant ident.Tenant
	VNet   ident.VNet
	OnRamp ident.OnRamp // arrival
	Return ident.OnRamp // where ARR sends replies; 0 when routes decide
	// OffRamp is the device, connector or site that the flow goes to; 0 is the
	// Internet.
	OffRamp ident.OnRamp
	Tuple   Tuple
	Egress  netip.AddrPort // for ICMP echo the port is the id
	// EgressServer is the server that it leaves from, where that is another.
	EgressServer ident.Server
	Start        vt.Instant
	End          vt.Instant // FlowEnd
	// BytesSent is client to origin, BytesReceived origin to client: payload
	// delivered. TCP counts what the receiver acknowledged, so a
	// retransmission counts once.
	BytesSent, BytesReceived uint64
	Close                    CloseReason
	Refused                  drop.Reason
	// Rules are the policies that matched when the session was set up or refused.
	Rules Rules
}

// CloseReason is ConnectionCloseReason of SEMANTICS 6.4, the values a layer 3
// hub can know.
type CloseReason uint8

const (
	CloseUnknown CloseReason = iota
	ClientClosed
	ClientIdleTimeout
	ClientError
	OriginClosed
	OriginError
	OriginUnreachable
	EgressPortAllocationError
	OriginUnroutable
)

var closeNames = [...]string{"UNKNOWN", "CLIENT_CLOSED", "CLIENT_IDLE_TIMEOUT", "CLIENT_ERROR", "ORIGIN_CLOSED", "ORIGIN_ERROR", "ORIGIN_UNREACHABLE", "EGRESS_PORT_ALLOCATION_ERROR", "ORIGIN_UNROUTABLE"}

// String is the value in the session log.
func (c CloseReason) String() string { return closeNames[c] }

// Counters are totals since New. Every packet handed in is counted in exactly
// one of Forwarded, Returned, HandedOver, Delivered, Routed, Speaking, Answered, Held and Drops. The
// fragment that completes a datagram counts as the whole, in one of the others,
// and the ones before it in Held. A TCP SYN
// refused for want of a port or of room counts in Drops by that reason, although
// its client is sent a reset.
type Counters struct {
	Packets    uint64 `json:"packets"`
	Forwarded  uint64 `json:"forwarded"`   // on-ramp → Internet or off-ramp
	Returned   uint64 `json:"returned"`    // Internet or off-ramp → on-ramp
	HandedOver uint64 `json:"handed_over"` // to another server
	Delivered  uint64 `json:"delivered"`   // decided by another server → a tunnel attached here
	Routed     uint64 `json:"routed"`      // on-ramp → on-ramp (WAN to WAN, ARR-8)
	Speaking   uint64 `json:"speaking"`    // BGP between a customer's router and the datacenter's speaker
	Answered   uint64 `json:"answered"`    // consumed: a context, or an ICMP error or reset sent instead
	Held       uint64 `json:"held"`        // fragments that wait for the rest of their datagram
	// ReassemblyTimeouts are datagrams of which a fragment did not come in time.
	ReassemblyTimeouts uint64 `json:"reassembly_timeouts"`
	// Failovers are moves of a flow to another on-ramp of its group, Probes those
	// that were sent.
	Failovers uint64 `json:"arr_failover"`
	Probes    uint64 `json:"probes"`
	// Relayed are flows that another server was asked to open, for want of a port.
	Relayed uint64 `json:"relayed"`
	// Guests are flows that leave here and whose home is another server.
	Guests       uint64             `json:"guests"`
	RouteLookups uint64             `json:"route_lookups"` // on the return path (ARR-2: zero with ARR)
	FlowsStarted uint64             `json:"flows_started"`
	FlowsEnded   uint64             `json:"flows_ended"`
	Flows        uint64             `json:"flows"` // now
	Drops        [drop.Count]uint64 `json:"-"`
}
