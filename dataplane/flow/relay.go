package flow

import (
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Relays remember flows that another server holds, by forward key. Only the
// client's packets are seen here, and they are enough: a client acknowledges
// what it gets. So a relay lives at least as long as its flow, unless that was
// reset, or the client sent a FIN out of sequence, which is not followed here.
// Use NewRelays. Not safe for concurrent use.
type Relays struct {
	bound    int
	timeouts Timeouts
	at       map[Key]Index
	all      []relay
	free     []Index
	wheel    wheel
}

// relay is one flow; to is 0 in a place that is free.
type relay struct {
	key      Key
	deadline vt.Instant
	to       ident.Server
	state    State
}

// NewRelays returns room for at most bound relays.
func NewRelays(bound int, timeouts Timeouts) *Relays {
	r := &Relays{bound: bound, timeouts: timeouts, at: make(map[Key]Index)}
	r.wheel.init()
	return r
}

// Configure changes bound and timeouts, and forgets what is with a server that
// is not among those to keep.
func (r *Relays) Configure(bound int, timeouts Timeouts, keep func(ident.Server) bool) {
	r.bound, r.timeouts = bound, timeouts
	for i := range r.all {
		if to := r.all[i].to; to != 0 && !keep(to) {
			r.remove(Index(i))
		}
	}
}

// Len is how many relays there are.
func (r *Relays) Len() int { return len(r.at) }

// Add remembers that the flow of k is opened by to. It reports false at the
// bound, and for a key that is there already.
func (r *Relays) Add(now vt.Instant, k *Key, to ident.Server) bool {
	if _, twice := r.at[*k]; twice || len(r.at) >= r.bound {
		return false
	}
	var i Index
	if n := len(r.free); n > 0 {
		i, r.free = r.free[n-1], r.free[:n-1]
	} else {
		i = Index(len(r.all))
		r.all = append(r.all, relay{})
		r.wheel.grow(len(r.all))
	}
	state := initial(k)
	r.all[i] = relay{key: *k, deadline: now.Add(r.timeouts[state]), to: to, state: state}
	r.at[*k] = i
	r.wheel.arm(i, r.all[i].deadline)
	return true
}

// Find is the server that has the flow of k, 0 if none is known. The client's
// packet m restarts the timer.
func (r *Relays) Find(now vt.Instant, k *Key, m *pkt.Meta) ident.Server {
	if len(r.at) == 0 {
		return 0
	}
	i, ok := r.at[*k]
	if !ok {
		return 0
	}
	l := &r.all[i]
	if l.deadline <= now {
		r.remove(i)
		return 0
	}
	to := l.to
	r.follow(now, i, l, m)
	return to
}

// Claim is Find and Add for a packet m on its way to the flow's other server: it
// reports whether the flow of k is with to from now on. It is not if another
// server has it, and at the bound. A flow that closes gives way to a new one,
// and with take any flow does.
func (r *Relays) Claim(now vt.Instant, k *Key, m *pkt.Meta, to ident.Server, take bool) bool {
	if i, ok := r.at[*k]; ok {
		if l := &r.all[i]; l.to != to && (take || m.Opens() && (l.state == Closing || l.state == Reset)) {
			r.remove(i)
		}
	}
	if had := r.Find(now, k, m); had != 0 {
		return had == to
	}
	return r.Add(now, k, to)
}

// follow moves the state as the flow's own moves, but for what only the origin's
// packets tell; then the timer is the longer one.
func (r *Relays) follow(now vt.Instant, i Index, l *relay, m *pkt.Meta) {
	switch {
	case m.Kind == pkt.ICMPError:
		return // not the client's turn to speak
	case m.Kind != pkt.TCP:
	case m.Flags&pkt.RST != 0:
		l.state = Reset
	case m.Flags&pkt.SYN != 0:
		if l.state != HalfOpen { // the session before is over, or this is a stray
			l.deadline = max(l.deadline, now.Add(r.timeouts[HalfOpen]))
		}
		return
	case m.Flags&pkt.FIN != 0 || l.state == Closing:
		l.state = Closing
	default:
		l.state = Established
	}
	old := l.deadline
	l.deadline = now.Add(r.timeouts[l.state])
	if l.deadline < old {
		r.wheel.arm(i, l.deadline)
	}
}

func (r *Relays) remove(i Index) {
	delete(r.at, r.all[i].key)
	r.all[i] = relay{}
	r.wheel.disarm(i)
	r.free = append(r.free, i)
}

// Expire forgets what has run out.
func (r *Relays) Expire(now vt.Instant) {
	r.wheel.advance(now, func(i Index) {
		if d := r.all[i].deadline; d > now {
			r.wheel.arm(i, d)
			return
		}
		r.remove(i)
	})
}

// NextWake is when Expire has something to look at; vt.Never if nothing is
// armed. It may be early.
func (r *Relays) NextWake() vt.Instant { return r.wheel.next() }
