package hub

import (
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Fast carries the packets of flows that the hub has set up, where the driver has
// something for that: programs in the kernel. The hub stays the law.
// It has a flow carried only while nothing but flow.Progress can happen to it;
// every packet of a carried flow that reaches the hub takes the flow back first,
// so that the hub decides on all that is known; and before a flow ends for want
// of traffic, it is asked whether there was some.
//
// What it answers is an input of the hub's, as packets and the time are. It is
// called by the goroutine that calls the hub.
type Fast interface {
	// Install has a flow carried; false means that it cannot be: the hub tries again
	// later.
	Install(f FastFlow) bool
	// Look says how a carried flow has fared, Remove that it is carried no longer
	// and how it has fared to the end; of f Key and Egress count. ok is false for a
	// flow that is not carried.
	Look(f FastFlow) (a Account, ok bool)
	Remove(f FastFlow) (a Account, ok bool)
	// Ask leaves replies into an on-ramp to the hub, or does not any more.
	Ask(id ident.OnRamp, ask bool)
	// AskServer leaves what is to be handed over to a server to the hub, or does
	// not any more.
	AskServer(id ident.Server, ask bool)
	// Pass has the packets of a TCP connection that is not here, but for SYN, go to
	// the server that was home before, which keeps them; 0 ends that. PassNone ends
	// it for all.
	Pass(key flow.Key, to ident.Server)
	PassNone()
}

// FastFlow is a flow as who carries it has to know it: one to the Internet whose
// replies go into a stored on-ramp.
type FastFlow struct {
	// Key is the forward key.
	Key flow.Key
	// Egress is the address and port the outside sees; for ICMP echo the id.
	Egress netip.AddrPort
	// OnRamp is where replies leave by, and its client is expected.
	OnRamp ident.OnRamp
	// Timeout is the silence after which it ends, and Progress how far it is.
	Timeout  time.Duration
	Progress flow.Progress
}

// Account is how a carried flow has fared.
type Account struct {
	Progress flow.Progress
	// Seen is when the client was last heard; 0 is never.
	Seen vt.Instant
}

// fast is the hub's side of a Fast.
type fast struct {
	Fast
	// carried says which flows are, by index; shorter than the table.
	carried []bool
	// steady are flows that may be carried when the batch is decided, so that a
	// row of packets of one flow takes it back once and gives it away once.
	steady []flow.Index
	// again is when the next may be tried after one was refused.
	again vt.Instant
}

// fastRetry is how long nothing is installed after a refusal: what is full stays
// so for a while, and to ask costs more than to decide a packet.
const fastRetry = 100 * time.Millisecond

// SetFast gives the hub something that carries flows. It is called once, before
// the first packet.
func (h *Hub) SetFast(f Fast) {
	h.fast = &fast{Fast: f}
	h.askPaths()
}

// fastFlow describes a flow to who carries it.
func (h *Hub) fastFlow(f *flow.Flow) FastFlow {
	return FastFlow{Key: f.Key, Egress: f.Egress(), OnRamp: f.Return, Timeout: h.flows.Timeout(f), Progress: f.Progress()}
}

// isCarried reports whether the flow at i is.
func (h *Hub) isCarried(i flow.Index) bool {
	return h.fast != nil && int(i) < len(h.fast.carried) && h.fast.carried[i]
}

// recall takes a flow back: what happened to it meanwhile is known then.
func (h *Hub) recall(i flow.Index, f *flow.Flow) {
	if !h.isCarried(i) {
		return
	}
	h.fast.carried[i] = false
	if a, ok := h.fast.Remove(h.fastFlow(f)); ok {
		h.credit(i, f, &a)
	}
}

// refresh learns how a flow fares that goes on being carried.
func (h *Hub) refresh(i flow.Index, f *flow.Flow) {
	if !h.isCarried(i) {
		return
	}
	if a, ok := h.fast.Look(h.fastFlow(f)); ok {
		h.credit(i, f, &a)
	}
}

func (h *Hub) credit(i flow.Index, f *flow.Flow, a *Account) {
	h.flows.Absorb(f, a.Progress)
	if r := h.v.ramps[f.Return]; r != nil && r.group != nil {
		p := h.pin(i)
		p.seen = max(p.seen, a.Seen)
	}
}

// survives reports whether a flow whose time has come was heard of after all.
func (h *Hub) survives(now vt.Instant, i flow.Index, f *flow.Flow) bool {
	if !h.isCarried(i) {
		return false
	}
	h.refresh(i, f)
	if f.Deadline <= now {
		return false
	}
	h.flows.Rearm(i)
	return true
}

// pass has the connection of a packet that took the second hop do so from now on
// without the hub. A packet that may open one ends that.
func (h *Hub) pass(w *work, to ident.Server) {
	if h.fast != nil && w.meta.Kind == pkt.TCP && !w.private {
		h.fast.Pass(w.key, to)
	}
}

// hasten notes a flow that a packet went by: it may be carried from now on.
func (h *Hub) hasten(i flow.Index, f *flow.Flow) {
	if h.fast == nil || !h.carriable(i, f) || !h.steered(f) {
		return
	}
	if h.paths.narrow && (h.v.cfg.Uplink > 0 || h.narrow(&h.v.ramps[f.Return].exit.encap)) {
		return // its replies are the hub's
	}
	h.fast.steady = append(h.fast.steady, i)
}

// carriable reports whether a flow is of the kind that is carried: to the Internet
// from here, its replies into a stored on-ramp, and with nothing ahead but
// flow.Progress.
func (h *Hub) carriable(i flow.Index, f *flow.Flow) bool {
	return f.Return != 0 && f.Steady() && h.leadsTo(i) == 0 && h.remoteOf(i) == nil
}

// install gives away the flows that were noted, as far as they still are what
// they were.
func (h *Hub) install() {
	for _, i := range h.fast.steady {
		f := h.flows.At(i)
		if h.isCarried(i) || h.now < h.fast.again || !h.carriable(i, f) {
			continue
		}
		if !h.fast.Install(h.fastFlow(f)) {
			h.fast.again = h.now.Add(fastRetry)
			continue
		}
		if int(i) >= len(h.fast.carried) {
			h.fast.carried = append(h.fast.carried, make([]bool, int(i)+1-len(h.fast.carried))...)
		}
		h.fast.carried[i] = true
	}
	h.fast.steady = h.fast.steady[:0]
}

// ask has replies come to the hub that may have to leave by another member of
// their on-ramp's group (wayBack), or may be too big for its way.
func (h *Hub) ask(id ident.OnRamp) {
	if h.fast == nil {
		return
	}
	r := h.v.ramps[id]
	down := r != nil && r.group != nil && r.group.Predictive && h.Health(id) == health.Down
	h.fast.Ask(id, down || r != nil && h.narrow(&r.exit.encap))
}

// askPaths has come to the hub what may be too big for a way that is narrow. Of a
// narrow uplink it carries no flow at all.
func (h *Hub) askPaths() {
	if h.fast == nil {
		return
	}
	for id := range h.v.ramps {
		h.ask(id)
	}
	for id, p := range h.v.peers {
		h.fast.AskServer(id, h.narrow(&p.encap))
	}
	if h.v.cfg.Uplink == 0 {
		return
	}
	for i, f := range h.flows.All() {
		h.recall(i, f)
	}
}
