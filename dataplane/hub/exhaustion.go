package hub

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// What a flow gets whose egress address has no free port left (SEMANTICS 5.5).
//
// With another_server its home hands the opening packet on. All live servers of
// the datacenter that own ports of the family stand in a ring, the same on each
// of them, in which the flow's hash names the start; who has no port either
// hands on to the next. Each is asked once, until one opens the flow, or the
// ring or the hop cap ends and the last refuses it.
//
// Who hands on remembers to whom, so that the flow's later packets find it
// (flow.Relays): the home cannot tell a UDP flow that is elsewhere from a new
// one. Replies need none of this, because the port belongs to who opened the
// flow. Nobody is told of a refusal at the end of the ring: until the relays
// are forgotten, 30 s later for TCP, the same tuple is tried there alone.

// addSpare lists the servers that flows may be handed to.
func (v *view) addSpare() {
	for i := range v.cfg.Egress {
		a := &v.cfg.Egress[i]
		if a.Datacenter != v.dc || a.Tenant != 0 || a.Closed {
			continue
		}
		spare := &v.spare[family(a.Addr)]
		for _, owner := range a.Owner {
			if p := v.peers[owner]; p != nil && p.Live && !slices.Contains(*spare, owner) {
				*spare = append(*spare, owner)
			}
		}
	}
	for i := range v.spare {
		slices.Sort(v.spare[i])
	}
}

// family indexes view.spare.
func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}

// opens reports whether a packet may open a flow here. One that this server must
// keep may not, unless its home may have asked this server to.
func (h *Hub) opens(w *work) bool {
	return w.meta.Opens() && (!w.kept || w.ramp.tenant.OnExhaustion == ExhaustionAnotherServer || h.ports.Bounded(w.ramp.Tenant))
}

// allocate finds a port for a flow, of this server.
func (h *Hub) allocate(w *work, from egress.From) (netip.AddrPort, bool) {
	reach := egress.Pool
	if w.ramp.tenant.OnExhaustion == ExhaustionRefuse {
		reach = egress.OneAddress
	}
	return h.ports.Allocate(h.flows, &w.key, from, reach)
}

// exhausted decides a packet that would open a flow for which there is no port, or
// that this server's share of an address has no room for.
func (h *Hub) exhausted(now vt.Instant, w *work, from egress.From, out *Out) {
	to, why := h.roomier(w, from, h.v.buckets.Home(w.hash)), "share"
	if to == 0 && w.ramp.tenant.OnExhaustion == ExhaustionAnotherServer && w.hops < steer.MaxHops {
		to, why = h.next(w), "ports"
	}
	switch {
	case to == 0:
		h.refuse(now, w, drop.PortsExhausted, out)
		return
	case !h.relays.Add(now, &w.key, to):
		h.refuse(now, w, drop.TableFull, out)
		return
	}
	h.count.Relayed++
	h.handOver(now, w, to, steer.Context{OnRamp: w.ramp.ID, SecondHop: true}, why, out)
}

// relayed hands a packet to the server that was asked to open its flow, if one
// was.
func (h *Hub) relayed(now vt.Instant, w *work, out *Out) bool {
	to := h.relays.Find(now, &w.key, &w.meta)
	if to == 0 {
		return false
	}
	h.handOver(now, w, to, steer.Context{OnRamp: w.ramp.ID, SecondHop: true}, "relay", out)
	return true
}

// roomier is a server of the datacenter that has room for a flow by an address of
// which this one has its share (SEMANTICS EG-7); 0 is none. The flow's home hands on,
// and once more who was handed it, but not back: then later packets, which may land
// beside the home, stay within the hop cap. A guest, whose later packets come straight
// from another server, has no home here: 0.
func (h *Hub) roomier(w *work, from egress.From, home ident.Server) ident.Server {
	if w.hops >= steer.MaxHops || home != 0 && home != h.v.cfg.Self && home != w.host && home != w.from {
		return 0
	}
	return h.ports.Elsewhere(&w.key, from, func(s ident.Server) bool {
		p := h.v.peers[s]
		return p != nil && p.Live && s != home
	})
}

// next is the server to ask after this one; 0 at the end of the ring.
func (h *Hub) next(w *work) ident.Server {
	return steer.Next(h.v.spare[family(w.meta.Dst)], h.v.buckets.Home(w.hash), h.v.cfg.Self, w.hash)
}
