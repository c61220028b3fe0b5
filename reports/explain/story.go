package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/reports/lateness"
	"github.com/homeward-lab/homeward/reports/record"
)

// step is one sentence of the story. Time 0 with timed false is unknown.
type step struct {
	at    int64
	timed bool
	node  string
	text  string
	why   string
}

// teller gathers what the records know of one flow.
type teller struct {
	run     *record.Records
	flow    record.Flow
	session *record.Session
	steps   []step
}

// story is the whole text.
func story(run *record.Records, f record.Flow) string {
	t := &teller{run: run, flow: f}
	for i := range run.Sessions {
		if f.SessionID != "" && run.Sessions[i].SessionID == f.SessionID {
			t.session = &run.Sessions[i]
		}
	}
	if f.Result == record.Failed && f.EndNs <= f.StartNs {
		// Its time never came.
		t.add(step{node: f.Client, text: fmt.Sprintf("was to ask %s (%s) by %s", t.endpoint(f.Dst), f.Server, f.Proto), why: f.Reason})
		return t.text()
	}
	t.departure()
	for _, e := range t.events() {
		t.tell(e)
	}
	t.arrival()
	return t.text()
}

func (t *teller) text() string {
	var b strings.Builder
	t.heading(&b)
	t.number(&b)
	t.ending(&b)
	return b.String()
}

func (t *teller) heading(b *strings.Builder) {
	f := t.flow
	fmt.Fprintf(b, "%s  %s\n", name(f), tuple(f))
	fmt.Fprintf(b, "  %s, variant %s on %s\n", t.run.Run.Scenario, t.run.Run.Variant, t.run.Run.Engine)
	var same []string
	for _, o := range t.run.Flows {
		if o.Client != f.Client && tuple(o) == tuple(f) {
			same = append(same, fmt.Sprintf("%s of %s", name(o), o.Client))
		}
	}
	if len(same) > 0 {
		const most = 4
		text := strings.Join(same[:min(most, len(same))], ", ")
		if len(same) > most {
			text += fmt.Sprintf(" and %d more", len(same)-most)
		}
		fmt.Fprintf(b, "  The same addresses and ports are used by %s: only the on-ramp tells them apart.\n", text)
	}
	b.WriteByte('\n')
}

// departure is what the flow itself knows of its beginning.
func (t *teller) departure() {
	f := t.flow
	text := fmt.Sprintf("opens %s to %s (%s)", f.Proto, f.Dst, f.Server)
	if f.Proto == "icmp" {
		text = fmt.Sprintf("pings %s (%s)", t.endpoint(f.Dst), f.Server)
	}
	t.add(step{at: f.StartNs, timed: true, node: f.Client, text: text + " from " + t.endpoint(f.Src)})
	if by := t.cameBy(); by != "" {
		s := step{node: by, text: "carries the first packet into the network"}
		if kind := t.kind(by); kind != "" {
			s.text += " (" + kind + ")"
		}
		if by != f.OnRamp {
			s.why = "the site's router has chosen it instead of " + f.OnRamp
		}
		if f.IngressDC != "" {
			s.text += ", landing in " + f.IngressDC
		}
		t.add(s)
	}
}

func (t *teller) add(s step) { t.steps = append(t.steps, s) }

// events are those about this flow, in time.
func (t *teller) events() []record.Event {
	var mine []record.Event
	for _, e := range t.run.Events {
		if t.about(e) {
			mine = append(mine, e)
		}
	}
	slices.SortStableFunc(mine, func(a, b record.Event) int { return cmp.Compare(a.AtNs, b.AtNs) })
	return mine
}

// about decides whether an event is of this flow. Tuples repeat where sites
// overlap, so a tuple counts only together with the on-ramp, or with the
// egress address that is the flow's alone at that time.
func (t *teller) about(e record.Event) bool {
	f := t.flow
	if e.SessionID != "" {
		// A session may be shared (flow_key: tuple): then the tuple is the same too.
		return e.SessionID == f.SessionID
	}
	if e.Flow == "" {
		return false
	}
	egress := t.egress()
	if e.AtNs < f.StartNs {
		return false // its host refused a reply that was not its own
	}
	if e.Flow == tuple(f) {
		switch {
		case e.OnRamp != "":
			return e.OnRamp == f.OnRamp
		case e.Kind == "origin" && egress != "":
			// Where flows share a tuple they may share the egress too: then time tells.
			return hasWord(e.Text, egress) && t.during(e.AtNs)
		}
		return e.OnRamp == "" && t.alone()
	}
	if egress == "" || !t.during(e.AtNs) {
		return false
	}
	// A reply that is not attributed yet: from outside to the egress address.
	proto, rest, _ := strings.Cut(e.Flow, " ")
	from, to, ok := strings.Cut(rest, " > ")
	return ok && proto == f.Proto && to == egress && host(from) == host(f.Dst)
}

// during reports whether the flow was going on; one without an end goes on.
func (t *teller) during(at int64) bool {
	return at >= t.flow.StartNs && (at <= t.flow.EndNs || t.flow.EndNs <= t.flow.StartNs)
}

// hasWord reports whether text holds word not as a part of a longer one.
func hasWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }

// host is an address without the port: an echo reply carries none.
func host(addrPort string) string {
	if i := strings.LastIndexByte(addrPort, ':'); i > 0 {
		return addrPort[:i]
	}
	return addrPort
}

// endpoint writes an address and port, or an address and echo id, for people.
func (t *teller) endpoint(addrPort string) string {
	if t.flow.Proto != "icmp" {
		return addrPort
	}
	if id := strings.TrimPrefix(addrPort[len(host(addrPort)):], ":"); id != "" && id != "0" {
		return host(addrPort) + " with echo id " + id
	}
	return host(addrPort)
}

func (t *teller) egress() string {
	if t.flow.EgressIP == "" {
		return ""
	}
	if strings.Contains(t.flow.EgressIP, ":") {
		return fmt.Sprintf("[%s]:%d", t.flow.EgressIP, t.flow.EgressPort)
	}
	return fmt.Sprintf("%s:%d", t.flow.EgressIP, t.flow.EgressPort)
}

// alone reports whether no other flow has this one's tuple.
func (t *teller) alone() bool {
	n := 0
	for _, f := range t.run.Flows {
		if tuple(f) == tuple(t.flow) {
			n++
		}
	}
	return n == 1
}

// number writes the steps, times relative to the flow's start.
func (t *teller) number(b *strings.Builder) {
	width := 0
	for _, s := range t.steps {
		width = max(width, len(s.node))
	}
	for i, s := range t.steps {
		at := ""
		if s.timed {
			at = fmt.Sprintf("%+.3f ms", float64(s.at-t.flow.StartNs)/1e6)
		}
		fmt.Fprintf(b, "%3d. %13s  %-*s  %s", i+1, at, width, s.node, s.text)
		if s.why != "" {
			fmt.Fprintf(b, "\n     %13s  %-*s  why: %s", "", width, "", s.why)
		}
		b.WriteByte('\n')
	}
}

// worthTelling is how late a lab came to a flow's packets for a person to want to know:
// less is no more than the spread of round trips.
const worthTelling = time.Millisecond

// ending sums the flow up.
func (t *teller) ending(b *strings.Builder) {
	f := t.flow
	fmt.Fprintf(b, "\nResult: %s", f.Result)
	if f.Reason != "" {
		fmt.Fprintf(b, " (%s)", f.Reason)
	}
	b.WriteByte('\n')
	if f.RTTNs > 0 {
		fmt.Fprintf(b, "  round trip %.3f ms", float64(f.RTTNs)/1e6)
		fmt.Fprintf(b, ", whole flow %.3f ms", float64(f.EndNs-f.StartNs)/1e6)
		fmt.Fprintf(b, ", %d B up, %d B down\n", f.BytesUp, f.BytesDown)
	}
	if met := lateness.Of(t.run).Met(&f); met.InAll >= worthTelling {
		fmt.Fprintf(b, "  of its round trip up to %v are the machine's: %v\n", met.InAll.Round(10*time.Microsecond), met)
	}
	if s := t.session; s != nil {
		fmt.Fprintf(b, "  session %s, closed %s, %d B sent, %d B received\n", s.SessionID, s.ConnectionCloseReason, s.BytesSent, s.BytesReceived)
	} else {
		fmt.Fprintf(b, "  no session was recorded for it\n")
	}
	if t.run.Run.Partial {
		fmt.Fprintf(b, "  The run did not finish: the story may end early.\n")
	}
}
