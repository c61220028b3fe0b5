package probe

import (
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/reports/journal"
)

// Outcome is what a flow's client knows and what the taps saw, as the journal
// takes it; began is the start of the run.
func Outcome(began time.Time, o host.Outcome, d Delivery) *journal.Outcome {
	out := &journal.Outcome{
		Result: o.Result, Reason: o.Reason, Up: o.Up, Down: o.Down, RTT: o.RTT, Stall: o.Stall, Found: o.Found, Late: o.Late, Send: o.Send,
		StartNs: int64(o.Start.Sub(began)), EndNs: int64(o.End.Sub(began)), Egress: o.Egress,
		Delivery: journal.Delivery{Node: d.Node, Misdelivered: d.Misdelivered, Own: d.Own, Others: d.Others, Unknown: d.Unknown},
	}
	if !d.At.IsZero() {
		out.Delivery.AtNs = int64(d.At.Sub(began))
	}
	return out
}
