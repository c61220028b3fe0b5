package hub_test

import (
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
)

// What a history's packets and events are judged by: the book-keeping that they
// must agree with (SEMANTICS 9).

// read follows the events: invariant 4, and the second half of 2.
func (h *history) read() {
	for ; h.seen < len(h.n.Events); h.seen++ {
		e := h.n.Events[h.seen]
		if e.Session == nil || e.Kind == hub.Returned {
			continue
		}
		s := *e.Session
		at := reverse{s.Tuple.Proto, s.Egress, s.Tuple.Dst}
		switch e.Kind {
		case hub.FlowStart:
			if h.ids[s.ID] {
				h.Fatalf("session %x started twice", s.ID)
			}
			h.ids[s.ID] = true
			policed := s.Tenant == 1 && h.n.Config.Tenants[0].Policies.Firewall != nil
			if policed && (blocked(&s) || s.Rules.Egress.ID != "any") || !policed && s.Rules != (hub.Rules{}) {
				h.Fatalf("session %+v started, policies in force: %v", s, policed)
			}
			if b := h.live[at]; b != nil {
				h.Fatalf("%+v shares its reverse key with the live %+v", s, b.s)
			}
			b := &book{s: s, server: h.owner(s.Egress)}
			h.live[at], h.all = b, append(h.all, b)
			delete(h.over, at)
		case hub.FlowEnd:
			b := h.live[at]
			if b == nil || b.s.ID != s.ID || h.ended[s.ID] {
				h.Fatalf("session %+v ended, live there: %+v", s, b)
			}
			if s.Rules != b.s.Rules {
				h.Fatalf("session ended under %+v, started under %+v", s.Rules, b.s.Rules)
			}
			h.ended[s.ID] = true
			if s.End < s.Start || s.End > h.n.Now {
				h.Fatalf("session ended at %v, started %v, now %v", s.End, s.Start, h.n.Now)
			}
			if s.Tuple.Proto != 6 && !h.egress(s.Tuple.Dst.Addr()) && (s.BytesSent != b.sent || s.BytesReceived != b.recved) {
				h.Fatalf("session %+v counts %d and %d bytes, %d and %d crossed", s.Tuple, s.BytesSent, s.BytesReceived, b.sent, b.recved)
			}
			delete(h.live, at)
			h.over[at] = b
		case hub.FlowRefused:
			if s.Refused == drop.None || h.ids[s.ID] {
				h.Fatalf("refusal %+v", s)
			}
			if s.Refused == drop.PolicyDenied && (s.Tenant != 1 || !blocked(&s)) {
				h.Fatalf("denied %+v", s)
			}
			h.ids[s.ID] = true
		}
	}
}

// egress says whether an address is the network's own: what is sent to it comes
// back to the network, and is not seen to cross.
func (h *history) egress(a netip.Addr) bool {
	return slices.ContainsFunc(h.n.Config.Egress, func(e egress.Address) bool { return e.Addr == a })
}

func (h *history) owner(at netip.AddrPort) ident.Server {
	for _, a := range h.n.Config.Egress {
		if a.Addr == at.Addr() {
			return a.Owner[egress.Slice(at.Port())]
		}
	}
	return 0
}

// find is the session of a translated packet, live or holding its port.
func (h *history) find(at reverse) *book {
	if b := h.live[at]; b != nil {
		return b
	}
	return h.over[at]
}

// check judges the packets that left, and the counters: invariants 1, 2, 3, 5.
func (h *history) check(arrived []hubtest.Arrival) {
	h.Helper()
	// A flow may end and the port pass on within one step: what a packet of the
	// step crossed for is looked up by what was there before and what is now.
	before := make(map[reverse]*book, len(h.live))
	for k, b := range h.live {
		before[k] = b
	}
	for _, e := range h.n.Events[h.seen:] {
		if e.Kind == hub.FlowStart {
			b := &book{s: *e.Session}
			before[reverse{b.s.Tuple.Proto, b.s.Egress, b.s.Tuple.Dst}] = b
		}
	}
	for _, a := range arrived {
		v := hubtest.Decode(a.Packet)
		fragment := v.IP != nil && (v.IP.FragOffset != 0 || v.IP.Flags != 0 && v.IP.Flags != 2)
		if !v.Sound && !fragment {
			continue // junk whose payload was damaged on the way in
		}
		if a.Site == 0 {
			h.leaves(a, v, before)
		} else if !fragment {
			h.comesHome(a, v)
		}
	}
	h.read()
	h.count(arrived)
	h.add()
}

// leaves judges a packet to the Internet.
func (h *history) leaves(a hubtest.Arrival, v hubtest.View, known map[reverse]*book) {
	if v.Error() {
		return
	}
	if owner := h.owner(v.Src); owner != a.Server {
		h.Fatalf("%v left server %d, its port belongs to server %d", v.Src, a.Server, owner)
	}
	at := reverse{uint8(v.Proto), v.Src, v.Dst}
	if known[at] == nil && h.over[at] == nil {
		h.Fatalf("%v to %v left without a session", v.Src, v.Dst)
	}
}

// comesHome judges a packet into a tunnel.
func (h *history) comesHome(a hubtest.Arrival, v hubtest.View) {
	ramp := h.ramp(a.Site)
	if ramp == nil {
		h.Fatalf("a packet went into on-ramp %d, which does not exist", a.Site)
	}
	if v.TCP != nil && v.TCP.RST || v.Error() {
		return // made by the hub for the packet that came by this on-ramp
	}
	for _, b := range h.all {
		if b.s.Tuple.Proto != uint8(v.Proto) || b.s.Tuple.Dst != v.Src || b.s.Tuple.Src != v.Dst {
			continue
		}
		// One of these sessions is the packet's: it is right if any would send it
		// here. Where routes decide, a miss may fall back to the WAN routes of
		// the tenant's default network, vnet 1 (SEMANTICS 3.1).
		byRoute := b.s.Return == 0 && (b.s.VNet == ramp.VNet || ramp.VNet == 1)
		if b.s.Tenant == ramp.Tenant && (byRoute || b.s.Return == a.Site) {
			return
		}
	}
	// Site to site traffic has no session: the source is a site of the same
	// tenant and network, by route.
	for _, f := range hubtest.Families() {
		if f.LAN.Contains(v.Dst.Addr()) && f.LAN.Contains(v.Src.Addr()) && h.routed(a.Site) {
			return
		}
	}
	h.Fatalf("%v to %v came to site %d of tenant %d, vnet %d; no session of theirs", v.Src, v.Dst, a.Site, ramp.Tenant, ramp.VNet)
}

func (h *history) ramp(id ident.OnRamp) *hub.OnRamp {
	for i := range h.n.Config.OnRamps {
		if h.n.Config.OnRamps[i].ID == id {
			return &h.n.Config.OnRamps[i]
		}
	}
	return nil
}

func (h *history) routed(site ident.OnRamp) bool {
	return slices.ContainsFunc(h.n.Config.Routes, func(r route.Route) bool { return r.NextHop == site })
}

// count adds to the books what crossed; the hub's own count is compared when a
// session ends.
func (h *history) count(arrived []hubtest.Arrival) {
	for _, a := range arrived {
		v := hubtest.Decode(a.Packet)
		if v.Proto == 6 || v.Error() {
			continue
		}
		if a.Site == 0 {
			if b := h.find(reverse{uint8(v.Proto), v.Src, v.Dst}); b != nil {
				b.sent += uint64(len(v.Payload))
			}
		}
	}
}

// add checks that every hub's counters add up.
func (h *history) add() {
	for id, hb := range h.n.Hubs {
		c := hb.Counters()
		sum := accounted(&c)
		sessions := 0
		for range hb.Sessions() {
			sessions++
		}
		if sum != c.Packets || c.Drops[drop.None] != 0 || c.Flows != uint64(sessions) || c.FlowsStarted-c.FlowsEnded != c.Flows {
			h.Fatalf("server %d: %d packets, %d accounted for; %d flows, %d sessions, %d started, %d ended", id, c.Packets, sum, c.Flows, sessions, c.FlowsStarted, c.FlowsEnded)
		}
	}
}
