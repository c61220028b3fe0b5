package probe

import (
	"fmt"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Combine makes a flow's record of what its client knows and what the taps
// saw; began is the start of the run. What only servers know (home server,
// return on-ramp, session) stays empty.
//
// A reply on a wire that did not ask is a misdelivery, even if the client got
// its answer too. A flow without answer is lost only if every tap vouches that
// nobody else saw one; otherwise it is an error.
func Combine(began time.Time, f *plan.Flow, o host.Outcome, d Delivery) record.Flow {
	r := record.Flow{
		Traffic: f.Traffic, N: f.N, Client: f.Client, Server: f.Server, Proto: string(f.Proto),
		Src: f.Src.String(), Dst: f.Dst.String(), OnRamp: f.OnRamp, IngressDC: f.Ingress,
		DeliveredTo: d.Node, Result: o.Result, Reason: o.Reason,
		BytesUp: o.Up, BytesDown: o.Down, RTTNs: int64(o.RTT),
		StartNs: int64(o.Start.Sub(began)), EndNs: int64(o.End.Sub(began)),
	}
	if o.Egress.IsValid() {
		r.EgressIP, r.EgressPort = o.Egress.Addr().String(), int(o.Egress.Port())
	}
	switch {
	case d.Misdelivered:
		r.Result, r.Reason = record.Misdelivered, misdelivery(f, o, d)
	case o.Result == record.OK && d.Node == "":
		r.DeliveredTo = f.Client // its signature proves it
	case o.Result == record.Lost && d.Unknown:
		r.Result = record.Failed
		r.Reason = "whether another host got the reply is unknown: a tap was missing or overflowed; " + o.Reason
	}
	return r
}

func misdelivery(f *plan.Flow, o host.Outcome, d Delivery) string {
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
