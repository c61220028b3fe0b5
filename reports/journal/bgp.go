package journal

import (
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// BGPSession is a session between two routers that began or ended, as one says.
func BGPSession(node, neighbor string, up bool, reason string) record.Event {
	text := "the BGP session with " + neighbor + " is up"
	if !up {
		text = "the BGP session with " + neighbor + " is down"
		if reason != "" {
			text += ": " + reason
		}
	}
	return record.Event{Kind: "session", Node: node, Peer: neighbor, Text: text}
}

// Moved is a route that a router learned, changed or lost.
func Moved(node string, prefix netip.Prefix, neighbor string) record.Event {
	if neighbor == "" {
		return record.Event{Kind: "route", Node: node, Text: fmt.Sprintf("%v: no route any more", prefix)}
	}
	return record.Event{Kind: "route", Node: node, Peer: neighbor, Text: fmt.Sprintf("%v goes to %s now", prefix, neighbor)}
}

// Told is what a datacenter's session with a customer's router says of a route.
func Told(p *plan.Plan, datacenter string, l plan.Learned, priority int, gone bool) record.Event {
	name := p.OnRampName(l.OnRamp)
	text := fmt.Sprintf("%v is told by %s, with priority %d", l.Prefix, name, priority)
	if gone {
		text = fmt.Sprintf("%v is told no more by %s", l.Prefix, name)
	}
	return record.Event{Kind: "route", Node: datacenter, OnRamp: name, Text: text}
}
