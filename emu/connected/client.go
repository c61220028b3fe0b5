package connected

import (
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// resend is how long the client waits for an answer to its context before it
// sends it again.
const resend = 250 * time.Millisecond

// state of a client.
type state uint8

const (
	// asking: the context was sent, or is about to be, and not answered.
	asking state = iota
	// accepted: packets may go.
	accepted
	// refused: the server will never take this context.
	refused
)

// client is the device's or connector's end of a connected tunnel, without its
// sockets (SEMANTICS 4.1): when to send the context, what an answer means, when
// the virtual network is switched. Time is an argument. It is not safe for
// concurrent use.
type client struct {
	// beginnings are the tunnel's contexts in order of time; current is the one
	// in use. Each has a socket of its own.
	beginnings []beginning
	current    int
	state      state
	// due is when the context is to be sent (again); meaningful when asking.
	due vt.Instant
	// vnet is the virtual network that the server said is in force.
	vnet ident.VNet
}

// beginning is one context and when it takes over.
type beginning struct {
	at       time.Duration // from the start of traffic
	since    vt.Instant    // the same once that is known, else vt.Never
	datagram []byte
}

func newClient(c *plan.Connect) (*client, error) {
	t := &client{}
	add := func(at time.Duration, since vt.Instant, context *tunnel.Context) error {
		datagram, err := context.Append(nil)
		if err != nil {
			return err
		}
		if last := len(t.beginnings) - 1; last >= 0 && at < t.beginnings[last].at {
			return fmt.Errorf("switch at %v comes after one at %v: want them in order of time", at, t.beginnings[last].at)
		}
		t.beginnings = append(t.beginnings, beginning{at, since, datagram})
		return nil
	}
	if err := add(0, 0, &c.Context); err != nil {
		return nil, err
	}
	for i := range c.Switch {
		if err := add(c.Switch[i].At, vt.Never, &c.Switch[i].Context); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// begin says when traffic starts, from which switches are counted.
func (t *client) begin(start vt.Instant) {
	for i := range t.beginnings[1:] {
		b := &t.beginnings[i+1]
		b.since = start.Add(b.at)
	}
}

// handleTimer does what is due: it switches to the next context, and returns
// the datagram to send through the socket of number current, or nil.
func (t *client) handleTimer(now vt.Instant) []byte {
	for t.next() <= now {
		t.current++
		t.state, t.due = asking, now
	}
	if t.state != asking || now.Before(t.due) {
		return nil
	}
	t.due = now.Add(resend)
	return t.beginnings[t.current].datagram
}

// next is when the context after the current one takes over.
func (t *client) next() vt.Instant {
	if t.current+1 < len(t.beginnings) {
		return t.beginnings[t.current+1].since
	}
	return vt.Never
}

// nextWake is when handleTimer has something to do.
func (t *client) nextWake() vt.Instant {
	if t.state == asking {
		return min(t.due, t.next())
	}
	return t.next()
}

// verdict says what a received datagram is.
type verdict uint8

const (
	junk    verdict = iota // neither a packet nor an answer
	answer                 // for the client alone
	deliver                // an IP packet for the host
)

// receive takes a datagram that came through the current socket.
func (t *client) receive(now vt.Instant, datagram []byte) verdict {
	a, vnet, ok := tunnel.ParseAnswer(datagram)
	if !ok {
		if tunnel.CheckConnected(datagram) != drop.None {
			return junk
		}
		return deliver
	}
	switch {
	case a == tunnel.Accepted && t.state == asking:
		t.state, t.vnet = accepted, vnet
	case a == tunnel.Refused && t.state == asking:
		t.state = refused
	case a == tunnel.Unknown && t.state == accepted:
		// The packets of this tunnel reach a server that has not heard its
		// context: another one than before, or one that was started anew.
		t.state, t.due = asking, now
	}
	return answer
}
