package explain

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// tell turns an event into a step.
func (t *teller) tell(e record.Event) {
	s := step{at: e.AtNs, timed: true, node: e.Node, why: e.Reason}
	if t.joined() != "" && e.AtNs < t.flow.StartNs {
		// It happened to the flow that was there before. Of its life, only what
		// decided this one's belongs here, without its time.
		if e.Kind != "flow_start" && e.Kind != "returned" {
			return
		}
		s.timed = false
	}
	switch e.Kind {
	case "flow_start":
		t.start(s)
		return
	case "handover":
		s.text = fmt.Sprintf("hands the packet over to %s", e.Peer)
		if e.Flow != tuple(t.flow) {
			s.text = fmt.Sprintf("gets the reply and hands it over to %s", e.Peer)
		}
		s.why = t.handover(e.Reason, e.Flow != tuple(t.flow))
	case "origin":
		s.text, s.why = "gets the request: "+e.Text, ""
	case "returned":
		s.text = fmt.Sprintf("sends replies into %s", orUnknown(t.returned(e)))
		s.why = t.wayBack(e.Reason)
	case "drop":
		s.text = "drops a packet"
		if e.Flow != tuple(t.flow) {
			s.text = "drops the reply"
		}
		if e.Count > 1 {
			s.text += fmt.Sprintf(" (%d times)", e.Count)
		}
		s.why = dropped(e.Reason)
	case "misdelivered":
		return // told by arrival, from the flow itself
	case "flow_refused":
		s.text, s.why = "refuses to set the flow up", dropped(e.Reason)
		if r := t.rules(); r != "" {
			s.why += "; asked: " + r
		}
	case "flow_end":
		s.text, s.why = "ends the flow", ""
		if t.session != nil {
			s.text += ": " + t.session.ConnectionCloseReason
		}
	default:
		s.text = strings.TrimSpace(e.Kind + " " + e.Text)
	}
	t.add(s)
}

// start is the set-up: the decisions of the home server.
func (t *teller) start(s step) {
	f := t.flow
	if from := t.joined(); from != "" {
		t.add(step{
			at: s.at, timed: s.timed, node: s.node, text: fmt.Sprintf("holds a flow with this tuple that came by %s, and takes this one for it", from),
			why: "the flow key leaves the on-ramp out (flow_key: tuple): equal tuples share state, egress and way back",
		})
	} else {
		t.add(step{
			at: s.at, timed: true, node: s.node, text: "is the flow's home: sets it up",
			why: fmt.Sprintf("the bucket table gives the inner flow to %s", s.node),
		})
	}
	if r := t.rules(); r != "" {
		t.add(step{node: s.node, text: "lets it pass", why: "the first policy of each stage that matches: " + r})
	}
	at := cmp.Or(f.EgressServer, f.HomeServer)
	switch e := t.egress(); {
	case t.session != nil && t.session.OffRamp != "":
		t.add(t.private(at, e))
	case e != "":
		t.add(step{node: at, text: "sends it out as " + t.endpoint(e), why: t.slice()})
	}
}

// rules are the policies that matched, by stage.
func (t *teller) rules() string {
	switch s := t.session; {
	case s == nil:
		return ""
	case len(s.Rules) == 0 && s.EgressRuleName != "":
		return "egress " + s.EgressRuleName
	default:
		return strings.Join(s.Rules, ", ")
	}
}

// private is the way to a device or private network, and from which source.
func (t *teller) private(node, egress string) step {
	s := step{node: node, text: "sends it into " + t.session.OffRamp}
	if kind := t.kind(t.session.OffRamp); kind != "" {
		s.text = fmt.Sprintf("sends it into the %s %s", kind, t.session.OffRamp)
	}
	s.why = "the route to " + host(t.flow.Dst)
	if t.session.VNet != "" {
		s.why += " in the virtual network " + t.session.VNet
	}
	switch {
	case egress == t.flow.Src:
		s.why += "; the source stays as it is"
	case egress != "":
		s.text += " from " + t.endpoint(egress)
		s.why += "; the source becomes one of the network's own, so that the answer finds this flow"
	}
	return s
}

// kind of an on-ramp, if the run says.
func (t *teller) kind(onramp string) string {
	for _, l := range t.run.Run.Topology.Links {
		if l.ID == onramp {
			return l.Kind
		}
	}
	return ""
}

// joined is the on-ramp of the flow that this one was taken for; empty if the
// flow has a session of its own.
func (t *teller) joined() string {
	if s := t.session; s != nil && s.OnRamp != t.cameBy() {
		return s.OnRamp
	}
	return ""
}

// cameBy is the on-ramp of the flow's first packet: the plan's, or another of the
// same site, whose router has chosen it.
func (t *teller) cameBy() string {
	planned := t.flow.OnRamp
	if s := t.session; s != nil && siteOf(s.OnRamp) == siteOf(planned) {
		return s.OnRamp
	}
	return planned
}

// siteOf is "shop.1" of "shop.1.wan".
func siteOf(onRamp string) string { return onRamp[:max(strings.LastIndexByte(onRamp, '.'), 0)] }

// slice says whose port it is: slices are aligned blocks of 2048 ports,
// and a server's own are in its texts.
func (t *teller) slice() string {
	const slicePorts = 2048
	n := t.flow.EgressPort / slicePorts
	text := fmt.Sprintf("port %d is in slice %d (%d–%d)", t.flow.EgressPort, n, n*slicePorts, n*slicePorts+slicePorts-1)
	if t.flow.Proto == "icmp" {
		text = "echo id " + text[len("port "):]
	}
	if t.flow.EgressServer != "" {
		text += ", used by " + t.flow.EgressServer
	}
	return text
}

// handover explains the hub's phrase.
func (t *teller) handover(reason string, reply bool) string {
	switch reason {
	case "bucket":
		if reply {
			return "bucket: by the addresses of the reply, that server is the flow's home"
		}
		return "bucket: the inner flow's bucket belongs to that server"
	case "answer":
		return "answer: the flow was asked from that server's datacenter, and its state is there"
	case "slice":
		return fmt.Sprintf("slice: %s belongs to that server", t.endpoint(t.egress()))
	case "second hop":
		return "second hop: the flow is not here, and the bucket belonged to that server before"
	case "ports":
		return "ports: none is free here for that destination, and that server is asked next"
	case "share":
		return "share: this server has as many flows by the address as are its part of 40,000, and that server has room"
	case "relay":
		return "relay: that server was asked to open the flow, and has it"
	case "egress":
		return "egress: the flow leaves by an address of that server's, which is asked for a port"
	case "moved":
		return "moved: the address is that server's now, and who asked does not know yet"
	}
	return reason
}

// returned is the on-ramp that the reply left by.
func (t *teller) returned(e record.Event) string {
	// The flow's line joins what all servers saw; the event may name the arrival.
	return cmp.Or(t.flow.ReturnOnRamp, e.OnRamp)
}

// wayBack explains how the on-ramp of the reply was chosen.
func (t *teller) wayBack(reason string) string {
	arr := t.session != nil && t.session.ReturnOnRamp != ""
	switch {
	case reason == "equal routes":
		return "equal routes: the return path is looked up, and several routes fit the destination; the flow's hash picks one"
	case reason == "route":
		return "route: the return path is looked up in the route table; no return routing is stored with the flow"
	case arr || reason == "ARR" || reason == "stored on-ramp":
		return fmt.Sprintf("automatic return routing: the flow stores the on-ramp %s; the destination address is not looked at", cmp.Or(t.flow.ReturnOnRamp, "it came from"))
	}
	return reason
}

// dropped explains a drop reason where the word alone is short.
func dropped(reason string) string {
	text := map[string]string{
		"null_routed":     "a private destination without a route",
		"no_route":        "no route in this virtual network",
		"no_flow":         "a reply that no flow asked for, or that came after the idle timer",
		"no_owner":        "no server owns the port's slice",
		"orphan":          "mid-flow, and the flow's state is not here",
		"ports_exhausted": "no free egress port in the pool",
		"table_full":      "the flow table is at its bound",
		"too_big":         "larger than the tunnel's MTU, with DF set",
		"policy_denied":   "a policy said no",
		"ttl_expired":     "its TTL ran out",
		"hop_limit":       "handed over too often",
		"no_egress":       "the server has no egress address of the packet's family",
		"spoofed_source":  "the source is an address that may not come this way",
		"unattached":      "the device or connector is attached nowhere",
		"off_ramp_only":   "a packet of its own from a private network that only answers",

		"arr_reverse_collision": "another flow has the same addresses and ports toward the same private host",
	}[reason]
	if text == "" {
		return reason
	}
	return reason + ": " + text
}

// arrival is where the reply was seen; it follows from the flow's own line.
func (t *teller) arrival() {
	f := t.flow
	s := step{}
	switch f.Result {
	case record.OK:
		s.node, s.text = cmp.Or(f.DeliveredTo, f.Client), "gets its answer: the reply came home"
		s.at, s.timed = f.EndNs, true
	case record.Misdelivered:
		if f.DeliveredTo == f.Client {
			// The reply is not what went astray.
			s.node, s.text, s.why = f.Client, "gets an answer, and not from whom it asked", f.Reason
			s.at, s.timed = f.EndNs, true
			break
		}
		s.node, s.text = f.DeliveredTo, fmt.Sprintf("sees a reply that is not its own: %s asked", f.Client)
		s.why = fmt.Sprintf("it left by %s, and the flow came by %s", orUnknown(f.ReturnOnRamp), orUnknown(f.OnRamp))
		for _, e := range t.events() {
			if e.Kind == "misdelivered" {
				s.at, s.timed = e.AtNs, true
			}
		}
	case record.Lost:
		s.node, s.text, s.at, s.timed = f.Client, "gives up waiting: no host saw a reply", f.EndNs, true
		if f.DeliveredTo == f.Client {
			s.text, s.why = "gives up waiting: what came is not the whole answer", f.Reason
		}
	default:
		s.node, s.text, s.why, s.at, s.timed = f.Client, "ends with "+string(f.Result), f.Reason, f.EndNs, true
	}
	t.insert(s)
}

// insert puts a timed step where its time belongs.
func (t *teller) insert(s step) {
	i := len(t.steps)
	for s.timed && i > 0 && (!t.steps[i-1].timed || t.steps[i-1].at > s.at) {
		if i--; !t.steps[i].timed && !t.later(i, s.at) {
			i++
			break
		}
	}
	t.steps = append(t.steps[:i], append([]step{s}, t.steps[i:]...)...)
}

// later reports whether the nearest timed step before i comes after at.
func (t *teller) later(i int, at int64) bool {
	for ; i >= 0; i-- {
		if t.steps[i].timed {
			return t.steps[i].at > at
		}
	}
	return false
}
