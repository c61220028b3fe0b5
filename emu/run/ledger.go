package run

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// ledger keeps what servers and origins said until clients and taps have
// spoken too, and hands it on to the sink as it comes. Safe for concurrent use.
type ledger struct {
	run *runner
	key host.Key

	mu       sync.Mutex
	sessions map[string]*entry // by on-ramp and tuple: the flow's own session
	tuples   map[string]*entry // by datacenter and tuple: a session that the flow joined (flow_key: tuple)
	origins  map[uint64]asked  // by nonce: who was asked first
	left     map[string]int    // by server: flows that leave by its own egress ports
	drops    map[string]string // on-ramp and inner tuple, or a reply's outside tuple → last reason
}

// asked is a host that saw a flow's request, and from whom.
type asked struct {
	node string
	peer netip.AddrPort
}

// entry is what is known of one session.
type entry struct {
	id, server, returned string
	session              hub.Session
	refused              string // why there is no flow; empty if there is one
	over                 bool   // it has ended, or there never was a flow
}

func newLedger(r *runner) *ledger {
	return &ledger{
		run: r, key: host.NewKey(),
		sessions: map[string]*entry{}, tuples: map[string]*entry{},
		origins: map[uint64]asked{}, left: map[string]int{}, drops: map[string]string{},
	}
}

// hub takes an event of a server, from that server's reader.
func (l *ledger) hub(e agent.Event) {
	ev := record.Event{AtNs: int64(e.At), Node: e.Node, Flow: text(e.Tuple), OnRamp: l.run.names.OnRamps[e.OnRamp], Reason: e.Why}
	if e.Session != nil {
		ev.SessionID, ev.Flow = sessionID(e.Session), text(e.Session.Tuple)
	}
	switch e.Kind {
	case hub.FlowStart:
		ev.Kind = "flow_start"
		ev.Text = "leaves as " + e.Session.Egress.String()
		l.start(e)
	case hub.FlowEnd, hub.FlowRefused:
		ev.Kind = "flow_end"
		if e.Kind == hub.FlowRefused {
			ev.Kind, ev.Reason = "flow_refused", e.Session.Refused.String()
			l.drop(ev.OnRamp, ev.Flow, ev.Reason)
			l.refuse(e)
		}
		l.over(e.Session)
		l.run.sink.Session(l.run.names.sessionRecord(e.Node, e.Session, l.run.start))
	case hub.Handover:
		ev.Kind, ev.Peer = "handover", l.run.names.Servers[e.Peer]
	case hub.Attached:
		ev.Kind, ev.Text = "attached", "at "+e.Node
		if vnet := l.run.names.vnet(e.OnRamp, e.VNet); vnet != "" {
			ev.Text += " in virtual network " + vnet
		}
	case hub.Detached:
		ev.Kind, ev.Text = "detached", "from "+e.Node
	case hub.Returned:
		ev.Kind = "returned"
		l.returned(e)
	case hub.Dropped:
		ev.Kind, ev.Reason, ev.Count = "drop", e.Reason.String(), 1
		l.drop(ev.OnRamp, ev.Flow, ev.Reason)
	case hub.HealthChanged:
		ev.Kind = "health"
		ev.Text = fmt.Sprintf("to this server the tunnel is %s", e.Why)
	case hub.Moved:
		ev.Kind = "moved"
		ev.Text = "replies leave by " + ev.OnRamp
	default:
		ev.Kind = "error"
	}
	l.run.sink.Event(ev)
}

func (l *ledger) start(e agent.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tuple := text(e.Session.Tuple)
	at := &entry{id: sessionID(e.Session), server: e.Node, session: *e.Session}
	l.sessions[sessionKey(l.run.names.OnRamps[e.Session.OnRamp], tuple)] = at
	if e.Session.OffRamp == 0 && l.run.names.owns(e.Node, e.Session.Egress) {
		l.left[e.Node]++
	}
	if joinable := sessionKey(l.run.names.datacenter[e.Node], tuple); l.tuples[joinable] == nil {
		l.tuples[joinable] = at
	}
}

// leftBy is how many flows left for the Internet by a server's own ports.
func (l *ledger) leftBy(server string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left[server]
}

// refuse notes a flow that was not set up, unless it was at another attempt: why
// is the session's close reason, or the drop reason where there is no word for it.
func (l *ledger) refuse(e agent.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := sessionKey(l.run.names.OnRamps[e.Session.OnRamp], text(e.Session.Tuple))
	if l.sessions[key] != nil {
		return
	}
	why := e.Session.Refused.String()
	if e.Session.Close != hub.CloseUnknown {
		why = e.Session.Close.String()
	}
	l.sessions[key] = &entry{id: sessionID(e.Session), server: e.Node, session: *e.Session, refused: why, over: true}
}

func (l *ledger) drop(onramp, tuple, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops[sessionKey(onramp, tuple)] = why
}

// returned notes the on-ramp of a flow's first reply. The event's tuple is the
// flow's; two sites may share it, so the session tells which flow it was.
func (l *ledger) returned(e agent.Event) {
	if e.Session == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.sessions[sessionKey(l.run.names.OnRamps[e.Session.OnRamp], text(e.Session.Tuple))]; at != nil && at.returned == "" {
		at.returned = l.run.names.OnRamps[e.OnRamp]
	}
}

func sessionKey(where, tuple string) string { return where + " " + tuple }

// seen takes what an origin saw.
func (l *ledger) seen(s host.Seen) {
	l.mu.Lock()
	first := l.origins[s.Nonce].node == ""
	if first {
		l.origins[s.Nonce] = asked{s.Node, s.Peer}
	}
	l.mu.Unlock()
	if first {
		l.run.event(record.Event{AtNs: l.run.since(s.At), Node: s.Node, Kind: "origin", Flow: l.flowOf(s.Nonce), Text: "asked by " + s.Peer.String()})
	}
}

// elsewhere is the host that a flow's request reached, if that is not the one
// that was meant: private networks have equal addresses too.
func (l *ledger) elsewhere(f *plan.Flow) (node string, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.origins[f.Nonce].node
	return at, at != "" && at != f.Server
}

// flowOf is the tuple of the flow with the nonce, as its client sees it.
func (l *ledger) flowOf(nonce uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.run.byNonce[nonce]; f != nil {
		return planText(f)
	}
	return ""
}

func planText(f *plan.Flow) string { return flowText(string(f.Proto), f.Src.String(), f.Dst.String()) }

// of finds the session that carried a flow: its own, or the one it joined.
func (l *ledger) of(f *plan.Flow) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, onramp := range append([]string{f.OnRamp}, l.run.names.siblings[f.OnRamp]...) {
		if at := l.sessions[sessionKey(onramp, planText(f))]; at != nil {
			return at
		}
	}
	if !l.run.joins {
		return nil
	}
	return l.tuples[sessionKey(f.Ingress, planText(f))]
}

// dropped is why packets of a flow were dropped last: its own, or the replies
// to its egress address; empty if none was.
func (l *ledger) dropped(f *plan.Flow, egress netip.AddrPort) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why := l.drops[sessionKey(f.OnRamp, planText(f))]; why != "" {
		return why
	}
	return l.drops[sessionKey("", flowText(string(f.Proto), f.Dst.String(), egress.String()))]
}

// over notes that a session has ended.
func (l *ledger) over(s *hub.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.sessions[sessionKey(l.run.names.OnRamps[s.OnRamp], text(s.Tuple))]; at != nil && at.id == sessionID(s) {
		at.over = true
	}
}

// begin forgets what earlier rounds left that cannot be of the flows to come:
// sessions that are over, drops, and who asked. A session that lives on may
// carry the next round's flow of the same tuple.
func (l *ledger) begin(flows []plan.Flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := func(_ string, at *entry) bool { return at.over }
	maps.DeleteFunc(l.sessions, gone)
	maps.DeleteFunc(l.tuples, gone)
	clear(l.drops)
	clear(l.origins)
	clear(l.run.byNonce)
	for i := range flows {
		l.run.byNonce[flows[i].Nonce] = &flows[i]
	}
}
