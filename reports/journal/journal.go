// Package journal joins what servers, origins and clients say of a run into
// records: the same in every engine.
//
// It knows hubs and plans, and no engine: who drives hubs tells it their events,
// who runs hosts what they saw. Its law: every record that any engine writes of a
// flow, a session or a hub's event is made here, so that two engines differ in
// what happened and never in how they tell it.
package journal

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Journal keeps what servers and origins said until clients have spoken too, and
// hands it on to the sink as it comes. Use New. Safe for concurrent use.
type Journal struct {
	names *names
	sink  record.Sink
	wall  time.Time
	joins bool // a flow may join another site's session (flow_key: tuple)

	mu       sync.Mutex
	byNonce  map[uint64]*plan.Flow // of the round that runs
	sessions map[string]*entry     // by on-ramp and tuple: the flow's own session
	tuples   map[string]*entry     // by datacenter and tuple: a session that the flow joined (flow_key: tuple)
	origins  map[uint64]asked      // by nonce: who was asked first
	left     map[string]int        // by server: flows that leave by its own egress ports
	drops    map[string]string     // on-ramp and inner tuple, or a reply's outside tuple → last reason
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

// New returns the journal of a run. wall is instant 0 by the calendar, as the
// session log has it.
func New(p *plan.Plan, sink record.Sink, wall time.Time) *Journal {
	j := &Journal{
		names: namesOf(p), sink: sink, wall: wall, byNonce: map[uint64]*plan.Flow{},
		sessions: map[string]*entry{}, tuples: map[string]*entry{},
		origins: map[uint64]asked{}, left: map[string]int{}, drops: map[string]string{},
	}
	if len(p.Servers) > 0 { // tenants are the same on all of them
		for _, t := range p.Servers[0].Config.Tenants {
			j.joins = j.joins || t.FlowKey == hub.FlowKeyTuple
		}
	}
	return j
}

// Hub takes an event of a server.
func (j *Journal) Hub(node string, e *hub.Event) {
	ev := record.Event{AtNs: int64(e.At), Node: node, Flow: text(e.Tuple), OnRamp: j.names.OnRamps[e.OnRamp], Reason: e.Why}
	if e.Session != nil {
		ev.SessionID, ev.Flow = sessionID(e.Session), text(e.Session.Tuple)
	}
	switch e.Kind {
	case hub.FlowStart:
		ev.Kind = "flow_start"
		ev.Text = "leaves as " + e.Session.Egress.String()
		j.start(node, e.Session)
	case hub.FlowEnd, hub.FlowRefused:
		ev.Kind = "flow_end"
		if e.Kind == hub.FlowRefused {
			ev.Kind, ev.Reason = "flow_refused", e.Session.Refused.String()
			j.drop(ev.OnRamp, ev.Flow, ev.Reason)
			j.refuse(node, e.Session)
		}
		j.over(e.Session)
		j.sink.Session(j.Session(node, e.Session))
	case hub.Handover:
		ev.Kind, ev.Peer = "handover", j.names.Servers[e.Peer]
	case hub.Attached:
		ev.Kind, ev.Text = "attached", "at "+node
		if vnet := j.names.vnet(e.OnRamp, e.VNet); vnet != "" {
			ev.Text += " in virtual network " + vnet
		}
	case hub.Detached:
		ev.Kind, ev.Text = "detached", "from "+node
	case hub.Returned:
		ev.Kind = "returned"
		j.returned(e)
	case hub.Dropped:
		ev.Kind, ev.Reason, ev.Count = "drop", e.Reason.String(), 1
		j.drop(ev.OnRamp, ev.Flow, ev.Reason)
	case hub.HealthChanged:
		ev.Kind = "health"
		ev.Text = fmt.Sprintf("to this server the tunnel is %s", e.Why)
	case hub.Used:
		return // counts, for servers
	case hub.Moved:
		ev.Kind = "moved"
		ev.Text = "replies leave by " + ev.OnRamp
	case hub.PathChanged:
		ev.Kind, ev.Peer = "path", j.names.Servers[e.Peer]
		ev.Text = fmt.Sprintf("the way there passes no more than %d bytes, outer header included", e.MTU)
	default:
		ev.Kind = "error"
	}
	j.sink.Event(ev)
}

func (j *Journal) start(node string, s *hub.Session) {
	j.mu.Lock()
	defer j.mu.Unlock()
	tuple := text(s.Tuple)
	at := &entry{id: sessionID(s), server: node, session: *s}
	j.sessions[sessionKey(j.names.OnRamps[s.OnRamp], tuple)] = at
	if s.OffRamp == 0 && j.names.owns(node, s.Egress, s.Tuple.Dst.Addr()) {
		j.left[node]++
	}
	if joinable := sessionKey(j.names.datacenter[node], tuple); j.tuples[joinable] == nil {
		j.tuples[joinable] = at
	}
}

// LeftBy is how many flows left for the Internet by a server's own ports.
func (j *Journal) LeftBy(server string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left[server]
}

// refuse notes a flow that was not set up, unless it was at another attempt: why
// is the session's close reason, or the drop reason where there is no word for it.
func (j *Journal) refuse(node string, s *hub.Session) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := sessionKey(j.names.OnRamps[s.OnRamp], text(s.Tuple))
	if j.sessions[key] != nil {
		return
	}
	why := s.Refused.String()
	if s.Close != hub.CloseUnknown {
		why = s.Close.String()
	}
	j.sessions[key] = &entry{id: sessionID(s), server: node, session: *s, refused: why, over: true}
}

func (j *Journal) drop(onramp, tuple, why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drops[sessionKey(onramp, tuple)] = why
}

// returned notes the on-ramp of a flow's first reply. The event's tuple is the
// flow's; two sites may share it, so the session tells which flow it was.
func (j *Journal) returned(e *hub.Event) {
	if e.Session == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if at := j.sessions[sessionKey(j.names.OnRamps[e.Session.OnRamp], text(e.Session.Tuple))]; at != nil && at.returned == "" {
		at.returned = j.names.OnRamps[e.OnRamp]
	}
}

func sessionKey(where, tuple string) string { return where + " " + tuple }

// Asked takes what an origin saw: the request of the flow with the nonce, as it
// came from peer, at so many nanoseconds of the run. The first counts.
func (j *Journal) Asked(nonce uint64, node string, peer netip.AddrPort, atNs int64) {
	j.mu.Lock()
	first := j.origins[nonce].node == ""
	flow := ""
	if first {
		j.origins[nonce] = asked{node, peer}
		if f := j.byNonce[nonce]; f != nil {
			flow = FlowText(f.At(node))
		}
	}
	j.mu.Unlock()
	if first {
		j.sink.Event(record.Event{AtNs: atNs, Node: node, Kind: "origin", Flow: flow, Text: "asked by " + peer.String()})
	}
}

// elsewhere is the host that a flow's request reached, if that is not the one
// that was meant: private networks have equal addresses too.
func (j *Journal) elsewhere(f *plan.Flow) (node string, yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.origins[f.Nonce].node
	same := at == f.Server || j.names.replica[at] != "" && j.names.replica[at] == j.names.replica[f.Server]
	return at, at != "" && !same
}

// of finds the session that carried a flow: its own, or the one it joined.
func (j *Journal) of(f *plan.Flow) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, onramp := range append([]string{f.OnRamp}, j.names.siblings[f.OnRamp]...) {
		if at := j.sessions[sessionKey(onramp, FlowText(f))]; at != nil {
			return at
		}
	}
	if !j.joins {
		return nil
	}
	return j.tuples[sessionKey(f.Ingress, FlowText(f))]
}

// dropped is why packets of a flow were dropped last: its own, at home or where
// they were to leave for its off-ramp, or the replies to its egress address;
// empty if none was.
func (j *Journal) dropped(f *plan.Flow, offramp string, egress netip.AddrPort) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if why := j.drops[sessionKey(f.OnRamp, FlowText(f))]; why != "" {
		return why
	}
	if why := j.drops[sessionKey(offramp, FlowText(f))]; offramp != "" && why != "" {
		return why
	}
	return j.drops[sessionKey("", flowText(string(f.Proto), f.Dst.String(), egress.String()))]
}

// over notes that a session has ended.
func (j *Journal) over(s *hub.Session) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if at := j.sessions[sessionKey(j.names.OnRamps[s.OnRamp], text(s.Tuple))]; at != nil && at.id == sessionID(s) {
		at.over = true
	}
}

// Lose says that a server is gone with what it knew, at so many nanoseconds of the
// run: the records of its sessions say that they are incomplete, and why. It
// returns how many those are.
func (j *Journal) Lose(server, why string, atNs int64) int {
	j.mu.Lock()
	var gone []*entry
	for _, at := range j.sessions {
		if at.server == server && !at.over {
			at.over = true
			gone = append(gone, at)
		}
	}
	j.mu.Unlock()
	slices.SortFunc(gone, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(x.session.Start, y.session.Start), cmp.Compare(x.id, y.id))
	})
	for _, at := range gone {
		r := j.Session(server, &at.session)
		r.Incomplete, r.EndNs, r.SessionEndTime = why, 0, 0
		j.sink.Session(r)
		j.sink.Event(record.Event{AtNs: atNs, Node: server, Kind: "flow_end", Flow: text(at.session.Tuple), OnRamp: r.OnRamp, Reason: why, SessionID: at.id})
	}
	return len(gone)
}

// Begin says that these flows are sent next, and forgets what earlier ones left
// that cannot be of them: sessions that are over, drops, and who asked. A session
// that lives on may carry the next round's flow of the same tuple.
func (j *Journal) Begin(flows []plan.Flow) {
	j.mu.Lock()
	defer j.mu.Unlock()
	gone := func(_ string, at *entry) bool { return at.over }
	maps.DeleteFunc(j.sessions, gone)
	maps.DeleteFunc(j.tuples, gone)
	clear(j.drops)
	clear(j.origins)
	clear(j.byNonce)
	for i := range flows {
		j.byNonce[flows[i].Nonce] = &flows[i]
	}
}
