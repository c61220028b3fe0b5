package hub

import (
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Flows to private networks: a device, what is behind a connector, or a site
// that one of these asks (SEMANTICS 1.3, 1.7). They have state at their home as
// flows to the Internet have, and an off-ramp instead of an egress address.

// tracked reports whether a packet from w's on-ramp to off is of a flow: unless
// both are WAN connections, between which every packet is routed by itself
// (ARR-8). Both ends are private then, so that a reply finds the same home.
func (h *Hub) tracked(w *work, off *onRamp) bool {
	return w.private && (w.ramp.connected() || off.connected())
}

// openPrivate makes a flow to an off-ramp.
func (h *Hub) openPrivate(now vt.Instant, w *work, off *onRamp, out *Out) {
	if h.flows.Full() {
		h.sweep(now, out)
	}
	if h.flows.Full() {
		h.refuse(now, w, drop.TableFull, out)
		return
	}
	source, reason := h.privateSource(now, w, off, out)
	if reason != drop.None {
		h.refuse(now, w, reason, out)
		return
	}
	i, f := h.flows.Insert(now, w.key, source)
	if source != w.key.Source() {
		h.sources.Took(w.key.Proto, source, w.key.Destination())
	}
	h.leads(i, off.ID)
	h.start(now, w, i, f, out)
}

// privateSource is what the private host sees as the client: the client itself,
// or a source of the network where that cannot be (SEMANTICS 1.5).
func (h *Hub) privateSource(now vt.Instant, w *work, off *onRamp, out *Out) (netip.AddrPort, drop.Reason) {
	client := w.key.Source()
	if !off.Translate {
		key := w.key.Answer(client)
		i, other := h.flows.Reverse(&key, flow.Hash(h.v.cfg.Seed, &key))
		if other != nil && (other.Over() || other.Deadline <= now || other.OnRamp == w.ramp.ID) {
			// Behind us, or the client's own from another virtual network.
			h.end(now, i, other, out)
			other = nil
		}
		switch {
		case other == nil:
			return client, drop.None
		case w.ramp.tenant.Collision != CollisionSNAT:
			return client, drop.ReverseCollision
		}
	}
	source, ok := h.sources.Allocate(h.flows, &w.key, egress.Pool)
	if !ok {
		h.sweep(now, out)
		source, ok = h.sources.Allocate(h.flows, &w.key, egress.Pool)
	}
	if !ok {
		return client, drop.PortsExhausted
	}
	return source, drop.None
}

// leads notes the off-ramp of a flow, and offRamp finds it again: nil is the
// Internet, where nearly all flows go.
func (h *Hub) leads(i flow.Index, to ident.OnRamp) {
	if int(i) >= len(h.offRamps) {
		if to == 0 {
			return
		}
		h.offRamps = append(h.offRamps, make([]ident.OnRamp, int(i)+1-len(h.offRamps))...)
	}
	h.offRamps[i] = to
}

func (h *Hub) offRamp(i flow.Index) *onRamp {
	if to := h.leadsTo(i); to != 0 {
		return h.v.ramps[to]
	}
	return nil
}

// leadsTo is the off-ramp's number; 0 is the Internet.
func (h *Hub) leadsTo(i flow.Index) ident.OnRamp {
	if int(i) >= len(h.offRamps) {
		return 0
	}
	return h.offRamps[i]
}
