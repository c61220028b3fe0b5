package compare

import (
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// part finds the first events at which a flow's two lives part. Times are each
// engine's own: what is compared is what happened, where, and in which order.
func part(a, b *record.Records, x, y *record.Flow) [2]string {
	ea, eb := life(a, x), life(b, y)
	for i := range max(len(ea), len(eb)) {
		var l, r string
		if i < len(ea) {
			l = ea[i]
		}
		if i < len(eb) {
			r = eb[i]
		}
		if l != r {
			return [2]string{or(l, "nothing more"), or(r, "nothing more")}
		}
	}
	return [2]string{}
}

// kinds are the events that every engine tells of a flow.
var kinds = map[string]bool{"flow_start": true, "flow_refused": true, "handover": true, "returned": true, "drop": true, "origin": true, "misdelivered": true, "moved": true}

// life is what happened to a flow, each thing once.
func life(r *record.Records, f *record.Flow) (all []string) {
	seen, of := make(map[string]bool), tuple(f)
	for i := range r.Events {
		e := &r.Events[i]
		if !kinds[e.Kind] || e.Flow != of || e.OnRamp != "" && f.OnRamp != "" && e.OnRamp != f.OnRamp && e.SessionID != f.SessionID {
			continue
		}
		text := strings.TrimSpace(strings.Join([]string{e.Kind, "at", e.Node, e.OnRamp, e.Peer, reasonOf(e)}, " "))
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// reasonOf is why, where it is a word of the dataplane's.
func reasonOf(e *record.Event) string {
	if e.Kind == "drop" || e.Kind == "handover" || e.Kind == "returned" {
		return e.Reason
	}
	return ""
}
