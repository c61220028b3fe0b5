package journal

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Outcome is a flow as its client and the hosts' wires know it.
type Outcome struct {
	// Result is the client's, who cannot see a misdelivery; Reason is a phrase
	// for people, empty when ok.
	Result record.Result
	Reason string
	// Up and Down are L4 payload bytes delivered, RTT connection set-up or the
	// first answered echo.
	Up, Down int64
	RTT      time.Duration
	// Stall is the longest time without delivered payload; 0 is unknown.
	Stall time.Duration
	// Found is how long the client asked where the server is; 0 is unknown.
	Found time.Duration
	// Late is how much later than planned the client began.
	Late time.Duration
	// Send is how long the kernel took to take the first packet.
	Send time.Duration
	// StartNs and EndNs are since the start of the run.
	StartNs, EndNs int64
	// Egress is the client as the origin saw it, if that is known.
	Egress   netip.AddrPort
	Delivery Delivery
}

// Delivery is whose wire a flow's replies were seen on.
type Delivery struct {
	// Node that saw a reply; empty if none did. A node that did not ask goes
	// before the one that did.
	Node string
	// Misdelivered says that Node is not the client. Own says that the client
	// saw a reply too (or alone).
	Misdelivered, Own bool
	// Others are further nodes that did not ask and saw one.
	Others []string
	// AtNs is when Node first saw one, since the start of the run.
	AtNs int64
	// Unknown says that "seen by nobody else" proves nothing.
	Unknown bool
}

// Flow writes the record of a flow that is over, and returns it.
func (j *Journal) Flow(f *plan.Flow, o *Outcome) record.Flow {
	line := Combine(f, o)
	j.fromServers(&line, f, o.Egress)
	if line.Result == record.Misdelivered {
		j.sink.Event(record.Event{
			AtNs: o.Delivery.AtNs, Kind: "misdelivered", Node: f.Client, Peer: line.DeliveredTo, Flow: FlowText(f), OnRamp: line.OnRamp,
			Text: fmt.Sprintf("the reply to %s was seen at %s", f.Client, line.DeliveredTo), SessionID: line.SessionID,
		})
	}
	if node, yes := j.elsewhere(f); yes && line.Result == record.OK {
		line.Result, line.Reason = record.Misdelivered, fmt.Sprintf("the request reached %s, which has the address too, and not %s", node, f.Server)
	}
	j.sink.Flow(line)
	return line
}

// Combine makes a flow's record of what its client knows and what the wires of
// hosts saw. What only servers know (home server, return on-ramp, session) stays
// empty.
//
// A reply on a wire that did not ask is a misdelivery, even if the client got
// its answer too. A flow without answer is lost only if every wire vouches that
// nobody else saw one; otherwise it is an error.
func Combine(f *plan.Flow, o *Outcome) record.Flow {
	d := &o.Delivery
	r := record.Flow{
		Traffic: f.Traffic, N: f.N, Client: f.Client, Server: f.Server, Proto: string(f.Proto),
		Src: f.Src.String(), Dst: f.Dst.String(), OnRamp: f.OnRamp, IngressDC: f.Ingress,
		DeliveredTo: d.Node, Result: o.Result, Reason: o.Reason,
		BytesUp: o.Up, BytesDown: o.Down, RTTNs: int64(o.RTT), StallNs: int64(o.Stall), FoundNs: int64(o.Found), LateNs: int64(o.Late), SendNs: int64(o.Send), StartNs: o.StartNs, EndNs: o.EndNs,
	}
	r.EgressIP, r.EgressPort = split(o.Egress)
	switch {
	case d.Misdelivered:
		r.Result, r.Reason = record.Misdelivered, misdelivery(f, o)
	case o.Result == record.OK && d.Node == "":
		r.DeliveredTo = f.Client // the answer proves it
	case o.Result == record.Lost && d.Unknown:
		r.Result = record.Failed
		r.Reason = "whether another host got the reply is unknown: a tap was missing or overflowed; " + o.Reason
	}
	return r
}

func misdelivery(f *plan.Flow, o *Outcome) string {
	d := &o.Delivery
	to := d.Node
	if len(d.Others) > 0 {
		to += " and " + strings.Join(d.Others, ", ")
	}
	switch {
	case o.Result == record.OK:
		return fmt.Sprintf("a reply was delivered to %s, although %s got its answer too", to, f.Client)
	case d.Own:
		return fmt.Sprintf("a reply was delivered to %s, another to %s; %s", to, f.Client, o.Reason)
	}
	return fmt.Sprintf("the reply was delivered to %s", to)
}

// fromServers adds what only servers know: the session, where it was at home,
// how it left, which way its replies went, and why packets of it were dropped.
func (j *Journal) fromServers(line *record.Flow, f *plan.Flow, egress netip.AddrPort) {
	at, offramp := j.of(f), ""
	if at != nil && j.names.datacenter[at.server] != "" {
		// Where routing took it, which is not where the plan saw it go once a
		// datacenter has failed: a flow is at home where it comes in.
		line.IngressDC = j.names.datacenter[at.server]
	}
	switch {
	case at == nil:
	case at.refused != "":
		line.SessionID, line.HomeServer = at.id, at.server
	default:
		egress, offramp = at.session.Egress, j.names.OnRamps[at.session.OffRamp]
		line.SessionID, line.HomeServer, line.ReturnOnRamp = at.id, at.server, at.returned
		line.EgressServer = j.names.egressServer(at.server, &at.session)
		line.EgressDC, line.EgressRule = j.names.datacenter[line.EgressServer], at.session.Rules.Egress.ID
	}
	line.EgressIP, line.EgressPort = split(egress)
	if a := j.names.addresses[egress.Addr()]; a != nil {
		line.EgressCountry, line.EgressAccount = a.Country, j.names.Tenants[a.Tenant]
	}
	switch {
	case at != nil && at.refused != "" && line.Result != record.OK:
		line.Reason = at.refused
	case line.Result == record.Lost:
		if why := j.dropped(f, offramp, egress); why != "" {
			line.Reason = why
		}
	}
}

func split(a netip.AddrPort) (string, int) {
	if !a.IsValid() {
		return "", 0
	}
	return a.Addr().String(), int(a.Port())
}

// Drops tells how many packets a server dropped in all, by reason.
func (j *Journal) Drops(server, reason string, n, atNs int64) {
	j.sink.Event(record.Event{AtNs: atNs, Kind: "drop", Node: server, Reason: reason, Count: n, Text: fmt.Sprintf("%d packets dropped in all: %s", n, reason)})
}

// Counters names a hub's totals as run.json does; drops are not in it.
func Counters(c hub.Counters) map[string]int64 {
	m := map[string]int64{}
	data, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		panic(err) // a struct of integers
	}
	return m
}

// CounterOfDrop is the name of the count of a drop reason among the totals.
func CounterOfDrop(reason string) string { return "drop." + reason }
