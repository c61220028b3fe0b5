package bgp

import "net/netip"

// Network is routers and their sessions where every update arrives at once: what
// remains when it is quiet is what real speakers must come to.
type Network struct {
	routers []*Router
	peers   [][]end // by router and its neighbour
	queue   []letter
}

// end is one end of a session.
type end struct{ router, neighbor int }

// letter is an update on its way.
type letter struct {
	to end
	Update
}

// Add adds a router and returns its number.
func (w *Network) Add(r *Router) int {
	w.routers = append(w.routers, r)
	w.peers = append(w.peers, make([]end, len(r.neighbors)))
	return len(w.routers) - 1
}

// Connect brings up the session between a neighbour of one router and one of
// another.
func (w *Network) Connect(a, neighborOfA, b, neighborOfB int) {
	w.peers[a][neighborOfA] = end{b, neighborOfB}
	w.peers[b][neighborOfB] = end{a, neighborOfA}
	// Both first: what one says must find the other listening.
	for _, e := range []end{{a, neighborOfA}, {b, neighborOfB}} {
		w.do(e.router, func(r *Router, out *Out) { r.Up(e.neighbor, out) })
	}
}

// Disconnect ends the session of a router's neighbour, at both ends.
func (w *Network) Disconnect(a, neighborOfA int) {
	far := w.peers[a][neighborOfA]
	w.do(a, func(r *Router, out *Out) { r.Down(neighborOfA, out) })
	w.do(far.router, func(r *Router, out *Out) { r.Down(far.neighbor, out) })
}

// Announce is Router.Announce.
func (w *Network) Announce(router int, p netip.Prefix, own []Origin) {
	w.do(router, func(r *Router, out *Out) { r.Announce(p, own, out) })
}

func (w *Network) do(router int, f func(r *Router, out *Out)) {
	var out Out
	f(w.routers[router], &out)
	for _, m := range out.Messages {
		w.queue = append(w.queue, letter{w.peers[router][m.To], m.Update})
	}
}

// Settle delivers updates until there are none, in the order in which they were
// sent. False after so many that the network will never be quiet.
func (w *Network) Settle(most int) bool {
	for n := 0; len(w.queue) > 0; n++ {
		if n == most {
			return false
		}
		l := w.queue[0]
		w.queue = w.queue[1:]
		w.do(l.to.router, func(r *Router, out *Out) { r.Receive(l.to.neighbor, l.Update, out) })
	}
	return true
}

// Catchment is the router that announces a prefix where packets for it end that
// enter at a router; false if they end nowhere.
func (w *Network) Catchment(router int, p netip.Prefix) (int, bool) {
	for range w.routers {
		switch n := w.routers[router].Best(p); n {
		case Own:
			return router, true
		case None:
			return 0, false
		default:
			router = w.peers[router][n].router
		}
	}
	return 0, false
}
