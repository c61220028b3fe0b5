package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// collect joins the witnesses and writes a line for each flow. A tap that missed
// packets is an error: any of them may have been somebody else's reply.
func (r *runner) collect(sent round) ([]record.Flow, error) {
	var errs []error
	lines := make([]record.Flow, 0, len(sent.flows))
	seen := map[string]probe.Report{}
	for node, t := range r.taps {
		seen[node] = t.Report()
		if missed := seen[node].Dropped; missed > 0 {
			errs = append(errs, fmt.Errorf("the tap on %s missed %d packets: whether it got the replies of others is unknown", node, missed))
		}
	}
	deliveries := probe.Judge(sent.flows, seen, sent.began)
	for i := range sent.flows {
		f := &sent.flows[i]
		o, d := sent.outcomes[i], deliveries[probe.Key(f)]
		if o.Start.IsZero() { // never tried: when it should have been
			o.Start = sent.began.Add(f.Start)
			o.End = o.Start
		}
		if o.End.Before(o.Start) { // interrupted before its time came
			o.End = o.Start
		}
		line := probe.Combine(r.start, f, o, d)
		r.fromServers(&line, f, o.Egress)
		if line.Result == record.Misdelivered {
			r.event(record.Event{AtNs: r.since(d.At), Kind: "misdelivered", Node: f.Client, Peer: line.DeliveredTo, Flow: planText(f), OnRamp: line.OnRamp, Text: fmt.Sprintf("the reply to %s was seen at %s", f.Client, line.DeliveredTo), SessionID: line.SessionID})
		}
		if node, yes := r.ledger.elsewhere(f); yes && line.Result == record.OK {
			line.Result, line.Reason = record.Misdelivered, fmt.Sprintf("the request reached %s, which has the address too, and not %s", node, f.Server)
		}
		r.sink.Flow(line)
		lines = append(lines, line)
	}
	return lines, errors.Join(errs...)
}

// fromServers adds what only servers know: the session, where it was at home,
// how it left, which way its replies went, and why packets of it were dropped.
func (r *runner) fromServers(line *record.Flow, f *plan.Flow, egress netip.AddrPort) {
	at := r.ledger.of(f)
	switch {
	case at == nil:
	case at.refused != "":
		line.SessionID, line.HomeServer = at.id, at.server
	default:
		egress = at.session.Egress
		line.SessionID, line.HomeServer, line.EgressServer, line.ReturnOnRamp = at.id, at.server, at.server, at.returned
		line.EgressDC = r.names.datacenter[at.server]
	}
	line.EgressIP, line.EgressPort = split(egress)
	switch {
	case at != nil && at.refused != "" && line.Result != record.OK:
		line.Reason = at.refused
	case line.Result == record.Lost:
		if why := r.ledger.dropped(f, egress); why != "" {
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

// counterMap names a hub's totals as their JSON does.
func counterMap(c hub.Counters) map[string]int64 {
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
