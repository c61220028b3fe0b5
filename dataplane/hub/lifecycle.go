package hub

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Hub is one edge server. Use New. It is not safe for concurrent use.
type Hub struct {
	v     *view
	flows *flow.Table
	ports *egress.Allocator
	// relays are the flows of this home that another server has a port for.
	relays *flow.Relays
	// resting are reverse keys whose flow was ended by a configuration, until when
	// their port is held, restingKeys the same, and restUntil the first of them.
	resting     map[flow.Key]vt.Instant
	restingKeys []flow.Key
	restUntil   vt.Instant
	// fragments are the datagrams that are being put together here.
	fragments *fragment.Reassembler
	// ids counts datagrams that left in fragments.
	ids   uint32
	count Counters
	// refusals numbers refused sessions, so that each has its own id.
	refusals uint64
	// pending are events that happened outside of a call with an Out.
	pending []Event
	// rules are those of each flow's session, by index; shorter than the table,
	// and nil where no rule matched.
	rules []*Rules
	// sources hands out the ports of the network's own sources.
	sources *egress.Allocator
	// answers are the servers that expect what comes from connected tunnels here.
	answers *flow.Relays
	// offRamps are those of flows that do not go to the Internet, as rules.
	offRamps []ident.OnRamp
	// remotes are what is kept of flows that are half elsewhere.
	remotes []remote
	// lines are the connected tunnels of this server, attached is where those of
	// all servers are, hangups those that the driver must still close.
	lines    lines
	attached map[ident.OnRamp]Attachment
	hangups  []Port
	// probes are of tunnels, pins of flows of groups by index.
	probes probes
	pins   []pinned
	// fast carries flows beside the hub; nil where nothing does.
	fast  *fast
	paths paths
	// toPeer is scratch for the exit of one packet.
	toPeer  exit
	now     vt.Instant
	touched uint8
	// batch is scratch for the packets of one call.
	batch [BatchMax]work
}

// BatchMax is how many packets HandleBatch works on at once; more are taken in
// turns.
const BatchMax = 64

var (
	// ErrOldEpoch is wrapped when Reconfigure is given a configuration older
	// than the present one.
	ErrOldEpoch = errors.New("configuration is older than the one in force")
	// ErrLegacyARR is wrapped for an on-ramp with ARR whose tenant is in legacy
	// mode (SEMANTICS 1.2, ARR-9).
	ErrLegacyARR = errors.New("automatic return routing wants unified routing, and the tenant is in legacy mode")
	// ErrIdentity is wrapped when Reconfigure would make the hub another server,
	// or change the seed under which its flows are hashed.
	ErrIdentity = errors.New("a hub cannot change its server or seed")
)

// New returns a hub without flows. The error names every mistake in c;
// identical routes are a *route.DuplicateError in it.
func New(c Config) (*Hub, error) {
	v, err := newView(c)
	if err != nil {
		return nil, err
	}
	h := &Hub{
		v:         v,
		flows:     flow.New(c.Seed, v.bound, v.timeouts),
		ports:     v.newPorts(),
		resting:   make(map[flow.Key]vt.Instant),
		restUntil: vt.Never,
		relays:    flow.NewRelays(v.bound, v.timeouts),
		fragments: fragment.New(v.fragments),
		answers:   flow.NewRelays(v.bound, v.timeouts),
		sources:   egress.NewAllocator(c.Seed, v.ownSources, c.Self),
		lines:     makeLines(),
		attached:  make(map[ident.OnRamp]Attachment),
	}
	h.ports.Rest(h.resting)
	h.watch(0)
	h.assessPaths()
	return h, nil
}

// Reconfigure puts c in force and keeps the flows, except those that could not
// be served truthfully any more: whose on-ramp is gone or belongs to another
// tenant, vnet or scope, or whose egress port is no longer this server's. They
// end; their FlowEnd comes with the next call. Other bounds of fragments forget
// the datagrams in progress. On an error nothing changes.
func (h *Hub) Reconfigure(now vt.Instant, c Config) error {
	switch {
	case c.Epoch < h.v.cfg.Epoch:
		return fmt.Errorf("hub: %w: got epoch %d, have %d", ErrOldEpoch, c.Epoch, h.v.cfg.Epoch)
	case c.Self != h.v.cfg.Self || c.Seed != h.v.cfg.Seed:
		return fmt.Errorf("hub: %w", ErrIdentity)
	}
	v, err := newView(c)
	if err != nil {
		return err
	}
	h.now = max(h.now, now)
	if v.fragments != h.v.fragments {
		h.fragments = fragment.New(v.fragments)
	}
	h.v = v
	if h.fast != nil {
		h.fast.PassNone()
	}
	h.flows.Configure(v.bound, v.timeouts)
	live := func(to ident.Server) bool { return v.peers[to] != nil && v.peers[to].Live }
	ports := v.newPorts()
	ports.Succeed(h.ports)
	h.ports = ports
	h.ports.Rest(h.resting)
	h.relays.Configure(v.bound, v.timeouts, live)
	h.answers.Configure(v.bound, v.timeouts, live)
	h.sources = egress.NewAllocator(c.Seed, v.ownSources, c.Self)
	h.relearn()
	h.forgetPaths()
	h.watch(h.now)
	out := &Out{}
	for i, f := range h.flows.All() {
		if !h.servable(i, f) {
			h.rest(i, f)
			h.end(now, i, f, out)
		}
	}
	h.pending = append(h.pending, out.Events...)
	return nil
}

// rest holds the egress port of a flow that a configuration ends for as long as if
// it had ended by itself: who it spoke with may still send (SEMANTICS 5.5).
func (h *Hub) rest(i flow.Index, f *flow.Flow) {
	if r := h.remoteOf(i); r != nil && !r.guest || h.leadsTo(i) != 0 || !h.owns(f) {
		return
	}
	until := f.Deadline
	if f.Key.Proto == pkt.ProtoTCP && !f.Over() {
		until = h.now.Add(h.v.timeouts[flow.Held])
	}
	k := flow.ReverseKey(f.Key.Proto, f.Egress(), f.Key.Destination())
	if _, twice := h.resting[k]; !twice {
		h.restingKeys = append(h.restingKeys, k)
	}
	h.resting[k] = until
	h.restUntil = min(h.restUntil, until)
}

// took and freed note that a flow has an egress port, or has it no more, and tell
// the other servers what they have to know of that.
func (h *Hub) took(proto uint8, at, remote netip.AddrPort) {
	h.ports.Took(proto, at, remote)
	h.used()
}

func (h *Hub) freed(proto uint8, at, remote netip.AddrPort) {
	h.ports.Freed(proto, at, remote)
	h.used()
}

func (h *Hub) used() {
	for _, u := range h.ports.Uses() {
		h.pending = append(h.pending, Event{Kind: Used, At: h.now, Use: &u})
	}
}

// rested gives ports out again that were held for long enough.
func (h *Hub) rested(now vt.Instant) {
	if h.restUntil > now {
		return
	}
	h.restUntil = vt.Never
	h.restingKeys = slices.DeleteFunc(h.restingKeys, func(k flow.Key) bool {
		if until := h.resting[k]; until > now {
			h.restUntil = min(h.restUntil, until)
			return false
		}
		delete(h.resting, k)
		h.ports.Rested(k.Proto, k.Source(), k.Destination())
		return true
	})
}

// servable reports whether a flow still has its on-ramps, its off-ramp and its
// port.
func (h *Hub) servable(i flow.Index, f *flow.Flow) bool {
	if r := h.remoteOf(i); r != nil && r.guest {
		return h.v.peers[r.at] != nil && h.owns(f)
	}
	arrival := h.v.ramps[f.OnRamp]
	switch {
	case arrival == nil || arrival.Tenant != f.Key.Tenant || arrival.scope != f.Key.Scope:
		return false
	case arrival.connected() && arrival.network(f.Key.VNet) != f.Key.VNet || !arrival.connected() && arrival.VNet != f.Key.VNet:
		return false
	case f.Return != 0 && h.v.ramps[f.Return] == nil:
		return false
	}
	egress := f.Egress()
	if h.leadsTo(i) == 0 {
		if r := h.remoteOf(i); r != nil {
			return h.v.ownSources.Owns(h.v.cfg.Self, egress)
		}
		return h.owns(f)
	}
	off := h.offRamp(i)
	return off != nil && off.Tenant == f.Key.Tenant && (egress == f.Key.Source() && !off.Translate || h.v.ownSources.Owns(h.v.cfg.Self, egress))
}

// HandleTimer ends the flows whose time has come, and gives up datagrams that
// were not completed in time.
func (h *Hub) HandleTimer(now vt.Instant, out *Out) {
	h.begin(now, out)
	h.sweep(now, out)
	h.probe(now, out)
	if h.paths.Expire(now) {
		h.assessPaths()
	}
}

// NextWake is when HandleTimer has something to do; vt.Never if nothing is
// pending. It may come out early: deadlines are re-armed lazily.
func (h *Hub) NextWake() vt.Instant {
	if len(h.pending)+len(h.hangups) > 0 {
		return h.now
	}
	return min(h.flows.NextWake(), h.relays.NextWake(), h.answers.NextWake(), h.probes.wake, h.fragments.NextWake(), h.paths.NextWake(), h.restUntil)
}

// Close ends all live flows, one FlowEnd each, and forgets everything it held.
// The hub may be used again; closing twice does nothing more.
func (h *Hub) Close(now vt.Instant, out *Out) {
	h.begin(now, out)
	for i, f := range h.flows.All() {
		h.end(now, i, f, out)
	}
	clear(h.resting)
	h.restingKeys, h.restUntil = nil, vt.Never
	h.fragments = fragment.New(h.v.fragments)
	h.relays, h.answers = flow.NewRelays(h.v.bound, h.v.timeouts), flow.NewRelays(h.v.bound, h.v.timeouts)
	h.lines, h.attached = makeLines(), make(map[ident.OnRamp]Attachment)
	h.paths = paths{}
	h.assessPaths()
}

// Config is the configuration in force; read only.
func (h *Hub) Config() Config { return h.v.cfg }

// Counters returns the totals.
func (h *Hub) Counters() Counters {
	c := h.count
	c.Flows = c.FlowsStarted - c.FlowsEnded
	return c
}

// Sessions yields the live sessions, in the order of their places in memory.
func (h *Hub) Sessions() iter.Seq[Session] {
	return func(yield func(Session) bool) {
		for i, f := range h.flows.All() {
			h.refresh(i, f)
			if !f.Over() && !yield(*h.session(i, f)) {
				return
			}
		}
	}
}

// begin notes the time and hands out events that had to wait for an Out.
func (h *Hub) begin(now vt.Instant, out *Out) {
	h.now = max(h.now, now)
	if len(h.pending) > 0 {
		out.Events = append(out.Events, h.pending...)
		clear(h.pending)
		h.pending = h.pending[:0]
	}
	if len(h.hangups) > 0 {
		out.Hangup = append(out.Hangup, h.hangups...)
		h.hangups = h.hangups[:0]
	}
}

func (h *Hub) sweep(now vt.Instant, out *Out) {
	h.count.ReassemblyTimeouts += h.fragments.Expire(now)
	h.relays.Expire(now)
	h.answers.Expire(now)
	h.rested(now)
	h.flows.Expire(now, func(i flow.Index, f *flow.Flow) {
		if !h.survives(now, i, f) {
			h.end(now, i, f, out)
		}
	})
}

// end forgets a flow; if its session was still on, it ends.
func (h *Hub) end(now vt.Instant, i flow.Index, f *flow.Flow, out *Out) {
	h.recall(i, f)
	if !f.Over() {
		h.finish(now, i, f, out)
	}
	h.forget(i, f)
}

// forget takes a flow out of the table, whose session has ended.
func (h *Hub) forget(i flow.Index, f *flow.Flow) {
	h.remember(i, nil)
	switch r := h.remoteOf(i); {
	case r != nil && !r.guest:
		h.sources.Freed(f.Key.Proto, f.Egress(), f.Key.Destination())
	case h.leadsTo(i) == 0:
		h.freed(f.Key.Proto, f.Egress(), f.Key.Destination())
	default:
		h.sources.Freed(f.Key.Proto, f.Egress(), f.Key.Destination())
		h.leads(i, 0)
	}
	h.keepRemote(i, remote{})
	h.flows.Remove(i)
}
