package hub

import (
	"errors"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Every server probes every tunnel that asks for it by itself (SEMANTICS 2.8).
// Probes come back to the anycast address, and so to any server: the echo id
// says whose they are.

// Probing is how a tunnel is probed; a zero field means its default.
type Probing struct {
	// Request sends echo requests from our address inside the tunnel to the peer's. Otherwise the
	// probe is an echo reply from the peer's address to ours, which the customer's
	// router has but to forward back into the tunnel.
	Request bool `json:"request,omitempty"`
	// Interval between probes; 1 s. Timeout of each; 300 ms.
	Interval time.Duration `json:"interval,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	// Window is over which failures are counted; 5 min. Burst is within which
	// three failures mean down; 1 s.
	Window time.Duration `json:"window,omitempty"`
	Burst  time.Duration `json:"burst,omitempty"`
}

// Timing is how a tracker of the tunnel keeps time.
func (p *Probing) Timing() health.Timing {
	or := func(d, standard time.Duration) time.Duration {
		if d > 0 {
			return d
		}
		return standard
	}
	return health.Timing{
		Interval: or(p.Interval, time.Second), Timeout: or(p.Timeout, 300*time.Millisecond),
		Window: or(p.Window, 5*time.Minute), Burst: or(p.Burst, time.Second),
	}
}

func (o *OnRamp) checkProbing() error {
	p := o.Probing
	switch {
	case p == nil:
		return nil
	case o.connected():
		return errors.New("a connected tunnel is not probed: it is attached or not")
	case !o.Address.IsValid() || !o.Peer.IsValid() || o.Address.Is4() != o.Peer.Is4():
		return errors.New("want an address of ours and of the peer's inside the tunnel, to probe between")
	case p.Interval < 0 || p.Timeout < 0 || p.Window < 0 || p.Burst < 0:
		return errors.New("want times of probing of 0 (the default) or more")
	}
	return nil
}

// probes are the trackers of this server, and when the first has something to do.
type probes struct {
	of   map[ident.OnRamp]*health.Tracker
	wake vt.Instant
	// order is the on-ramps with trackers, so that runs are alike.
	order []ident.OnRamp
	// unwell is how many tunnels are not healthy.
	unwell int
}

// watch begins to probe what the configuration asks for and goes on with what it
// probed before. The first probes are spread over an interval.
func (h *Hub) watch(now vt.Instant) {
	old := h.probes.of
	h.probes = probes{of: make(map[ident.OnRamp]*health.Tracker)}
	for _, o := range h.v.cfg.OnRamps {
		if o.Probing == nil {
			continue
		}
		t := old[o.ID]
		if t == nil {
			timing := o.Probing.Timing()
			spread := flow.Combine(h.v.cfg.Seed, uint64(o.ID), uint64(h.v.cfg.Self)) % uint64(timing.Interval)
			t = health.New(timing, now.Add(time.Duration(spread)))
		}
		h.probes.of[o.ID] = t
		h.probes.order = append(h.probes.order, o.ID)
	}
	h.assess()
}

// assess works out what the trackers say all together.
func (h *Hub) assess() {
	h.probes.wake, h.probes.unwell = vt.Never, 0
	for _, t := range h.probes.of {
		h.probes.wake = min(h.probes.wake, t.NextWake())
		if t.State() != health.Healthy {
			h.probes.unwell++
		}
	}
}

// probe sends what is due, and notices what has failed.
func (h *Hub) probe(now vt.Instant, out *Out) {
	if now < h.probes.wake {
		return
	}
	for _, id := range h.probes.order {
		t := h.probes.of[id]
		if now < t.NextWake() {
			continue
		}
		before := t.State()
		t.Tick(now, func(seq uint16) { h.sendProbe(h.v.ramps[id], seq, out) })
		h.changed(now, id, before, t.State(), out)
	}
	h.assess()
}

func (h *Hub) sendProbe(r *onRamp, seq uint16, out *Out) {
	from, to := r.Address, r.Peer
	if !r.Probing.Request {
		from, to = to, from
	}
	start := len(out.arena)
	out.arena = pkt.AppendEcho(out.arena, from, to, !r.Probing.Request, uint16(h.v.cfg.Self), seq)
	h.count.Probes++
	r.exit.put(out, out.made(start), pkt.Offload{})
}

func (h *Hub) changed(now vt.Instant, id ident.OnRamp, before, after health.State, out *Out) {
	if before != after {
		h.ask(id)
		if h.fast != nil {
			h.fast.PassNone() // routes may be others
		}
		out.Events = append(out.Events, Event{Kind: HealthChanged, At: now, OnRamp: id, Why: after.String()})
	}
}

// local decides a packet to the hub's own address inside the tunnel it came by:
// the answer to a probe, of this server or another, or a ping. It is false for
// any other packet. Servers begin and end to probe one after the other, so that
// one which does not probe may hear an answer to another's probe.
func (h *Hub) local(now vt.Instant, w *work, out *Out) bool {
	m := &w.meta
	if m.Dst != w.ramp.router(m.Version) {
		return false
	}
	if m.Kind == pkt.EchoRequest {
		h.count.Answered++
		start := len(out.arena)
		out.arena = m.AppendEchoReply(out.arena, w.data)
		h.answer(w, start, out)
		return true
	}
	if m.Kind != pkt.EchoReply || m.Src != w.ramp.Peer {
		return false
	}
	if by := ident.Server(m.DstPort); by != h.v.cfg.Self {
		h.handOver(now, w, by, steer.Context{OnRamp: w.ramp.ID}, "probe", out)
		return true
	}
	h.count.Answered++
	if t := h.probes.of[w.ramp.ID]; t != nil {
		before := t.State()
		t.Answer(now, m.EchoSeq(w.data))
		h.changed(now, w.ramp.ID, before, t.State(), out)
		h.assess()
	}
	return true
}

// Health is what this server knows of a tunnel; one that is not probed is
// healthy.
func (h *Hub) Health(id ident.OnRamp) health.State {
	if t := h.probes.of[id]; t != nil {
		return t.State()
	}
	return health.Healthy
}

// penalties are what health adds to the priorities of routes; nil while all is
// healthy, so that the common look-up stays short.
func (h *Hub) penalties() func(ident.OnRamp) int {
	if h.probes.unwell == 0 {
		return nil
	}
	return func(id ident.OnRamp) int { return h.Health(id).Penalty() }
}
