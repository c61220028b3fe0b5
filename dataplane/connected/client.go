// Package connected is a device's or connector's end of a connected tunnel,
// without its sockets (SEMANTICS 4.1): when to send the context, what an answer
// means, when the virtual network is switched.
//
// It is sans-IO, so that the lab drives it with sockets and the simulator with
// events; time is an argument. It carries no packet: its driver does, as the
// State allows. Its law: nothing goes before the server accepted the tunnel, and
// a server that does not know it hears its context again.
package connected

import (
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

const (
	// Resend is how long the client waits for an answer to its context before it
	// sends it again.
	Resend = 250 * time.Millisecond

	// Waiting is how many packets its driver lets wait for a server's answer:
	// enough for the first packets of a burst of connections, which would else
	// begin with a timeout, and too few to be worth keeping for long. The newest
	// is refused when it is full: the first ones are the SYNs.
	Waiting = 64
)

// State of a client.
type State uint8

const (
	// Asking: the context was sent, or is about to be, and not answered.
	Asking State = iota
	// Accepted: packets may go.
	Accepted
	// Refused: the server will never take this context.
	Refused
)

// Client is the outer end of one connected tunnel. Use New. It is not safe for
// concurrent use.
type Client struct {
	// beginnings are the tunnel's contexts in order of time; current is the one
	// in use. Each has a socket of its own.
	beginnings []beginning
	current    int
	state      State
	// due is when the context is to be sent (again); meaningful when asking.
	due vt.Instant
	// vnet is the virtual network that the server said is in force.
	vnet ident.VNet
}

// Switch is a later beginning: the tunnel is opened anew with another context.
type Switch struct {
	At      time.Duration // from the start of traffic
	Context *tunnel.Context
}

// beginning is one context and when it takes over.
type beginning struct {
	at       time.Duration // from the start of traffic
	since    vt.Instant    // the same once that is known, else vt.Never
	datagram []byte
}

// New returns a client that asks at instant 0, with its later beginnings in order
// of time.
func New(first *tunnel.Context, later ...Switch) (*Client, error) {
	t := &Client{}
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
	if err := add(0, 0, first); err != nil {
		return nil, err
	}
	for _, s := range later {
		if err := add(s.At, vt.Never, s.Context); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Beginnings is how many there are, one socket each.
func (t *Client) Beginnings() int { return len(t.beginnings) }

// Current is the number of the beginning in use, from 0.
func (t *Client) Current() int { return t.current }

// State is what packets may do.
func (t *Client) State() State { return t.state }

// VNet is the virtual network that the server said is in force; 0 before.
func (t *Client) VNet() ident.VNet { return t.vnet }

// Begin says when traffic starts, from which switches are counted.
func (t *Client) Begin(start vt.Instant) {
	for i := range t.beginnings[1:] {
		b := &t.beginnings[i+1]
		b.since = start.Add(b.at)
	}
}

// HandleTimer does what is due: it switches to the next context, and returns
// the datagram to send through the socket of number Current, or nil.
func (t *Client) HandleTimer(now vt.Instant) []byte {
	for t.next() <= now {
		t.current++
		t.state, t.due = Asking, now
	}
	if t.state != Asking || now.Before(t.due) {
		return nil
	}
	t.due = now.Add(Resend)
	return t.beginnings[t.current].datagram
}

// next is when the context after the current one takes over.
func (t *Client) next() vt.Instant {
	if t.current+1 < len(t.beginnings) {
		return t.beginnings[t.current+1].since
	}
	return vt.Never
}

// NextWake is when HandleTimer has something to do.
func (t *Client) NextWake() vt.Instant {
	if t.state == Asking {
		return min(t.due, t.next())
	}
	return t.next()
}

// Verdict says what a received datagram is.
type Verdict uint8

const (
	Junk    Verdict = iota // neither a packet nor an answer
	Answer                 // for the client alone
	Deliver                // an IP packet for the host
)

// Receive takes a datagram that came through the current socket.
func (t *Client) Receive(now vt.Instant, datagram []byte) Verdict {
	a, vnet, ok := tunnel.ParseAnswer(datagram)
	if !ok {
		if tunnel.CheckConnected(datagram) != drop.None {
			return Junk
		}
		return Deliver
	}
	switch {
	case a == tunnel.Accepted && t.state == Asking:
		t.state, t.vnet = Accepted, vnet
	case a == tunnel.Refused && t.state == Asking:
		t.state = Refused
	case a == tunnel.Unknown && t.state == Accepted:
		// The packets of this tunnel reach a server that has not heard its
		// context: another one than before, or one that was started anew.
		t.state, t.due = Asking, now
	}
	return Answer
}
