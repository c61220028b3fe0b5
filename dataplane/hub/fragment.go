package hub

import (
	"cmp"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// join decides a fragment: to the server that puts its datagram together, or
// into it. It reports whether w is the whole now, to be decided like any packet.
//
// What was handed over is put together where it arrives: it is on its way to
// the datagram's home, or as part of a whole on its way to the flow's.
func (h *Hub) join(now vt.Instant, w *work, out *Out) bool {
	if w.off != (pkt.Offload{}) {
		h.dropped(now, w, drop.Unsupported, out) // a fragment has nothing to be left undone
		return false
	}
	key, ok := h.fragmentKey(w)
	if !ok {
		h.dropped(now, w, drop.Malformed, out)
		return false
	}
	if w.hops == 0 {
		switch home := h.fragmentHome(w, &key); home {
		case h.v.cfg.Self:
		case 0:
			h.dropped(now, w, drop.NoOwner, out)
			return false
		default:
			h.handOver(now, w, home, steer.Context{OnRamp: w.rampID()}, "fragment", out)
			return false
		}
	}
	h.count.ReassemblyTimeouts += h.fragments.Expire(now)
	whole, result := h.fragments.Add(now, key, w.data)
	switch reason := result.Reason(); {
	case reason != drop.None:
		h.dropped(now, w, reason, out)
		return false
	case result != fragment.Complete:
		h.count.Held++
		return false
	}
	start := len(out.arena)
	out.arena = append(out.arena, whole...) // the next fragment overwrites it
	w.data, w.joined = out.made(start), true
	h.receiveInner(w)
	if w.meta.Version == 6 {
		w.meta.FragID = key.ID // which an IPv4 header keeps by itself: where it is cut again, whoever puts it together must not mix it with another
	}
	return true
}

// fragmentKey names the datagram of a fragment. The scope is the on-ramp's own
// even where flow keys leave it out: identifications of two sites mean nothing
// to each other.
func (h *Hub) fragmentKey(w *work) (fragment.Key, bool) {
	if r := w.ramp; r != nil {
		return fragment.KeyOf(r.Tenant, r.Scope, r.VNet, w.data)
	}
	return fragment.KeyOf(0, 0, 0, w.data)
}

// fragmentHome is the server that puts a datagram together: the one whose bucket
// its addresses and protocol are in. Fragments from the Internet name no slice,
// so each pair of addresses has a handler among the live servers of the egress
// address's datacenter (SEMANTICS 5.2). 0 if no server is live.
func (h *Hub) fragmentHome(w *work, key *fragment.Key) ident.Server {
	hash := key.Hash(h.v.cfg.Seed)
	switch {
	case w.ramp == nil:
	case w.ramp.connected():
		return h.v.cfg.Self // all of them come here, and here is known who expects the answer
	default:
		return h.v.buckets.Home(hash)
	}
	a := h.v.directory.Lookup(w.meta.Dst)
	if a == nil {
		return 0
	}
	if a.Addr.Is6() { // one server's own: no forwarding hop (SEMANTICS 5.1)
		return cmp.Or(a.OwnerOf(egress.SliceSize), a.WasOf(egress.SliceSize))
	}
	live := h.v.live[a.Datacenter]
	if len(live) == 0 {
		return 0
	}
	return live[hash%uint64(len(live))]
}

// identification is one for a datagram that may leave in fragments from a port
// of this server. Clients choose theirs each for itself, and all of them and
// other servers share an address: two datagrams of one identification would be
// mixed up at the origin (RFC 6864). So every server counts, within the part of
// the numbers that its slice is of the ports.
func (h *Hub) identification(port uint16) uint32 {
	h.ids++
	return uint32(port)&^(egress.SliceSize-1) | h.ids%egress.SliceSize
}

// privateIdentification is the same for one to a private host, to which clients
// of overlapping sites may have one address: as each other by several servers, or
// the network's. No part of the numbers is a server's, so each counts from far
// away of the others.
func (h *Hub) privateIdentification() uint32 {
	const apart = 0x9e37 // of 65,536 the golden section: multiples of it are far from each other
	h.ids++
	return uint32(h.v.cfg.Self)*apart + h.ids
}
