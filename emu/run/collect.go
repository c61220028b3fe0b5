package run

import (
	"errors"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/probe"
	"github.com/homeward-lab/homeward/reports/record"
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
	flows := slices.Clone(sent.flows)
	for i, o := range sent.outcomes {
		if o.Flow != nil {
			flows[i] = *o.Flow
		}
	}
	deliveries := probe.Judge(flows, seen, sent.began)
	for i := range flows {
		f := &flows[i]
		o := sent.outcomes[i]
		if o.Start.IsZero() { // never tried: when it should have been
			o.Start = sent.began.Add(f.Start)
			o.End = o.Start
		}
		if o.End.Before(o.Start) { // interrupted before its time came
			o.End = o.Start
		}
		lines = append(lines, r.journal.Flow(f, probe.Outcome(r.start, o, deliveries[probe.Key(f)])))
	}
	return lines, errors.Join(errs...)
}

// seen takes what an origin saw.
func (r *runner) seen(s host.Seen) {
	r.lateOf(s.Node).Note(0, r.since(s.At), int64(s.Took))
	r.journal.Asked(s.Nonce, s.Node, s.Peer, r.since(s.At))
}
