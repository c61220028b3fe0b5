// Package conform is what every implementation of an edge server's decisions must
// pass: a network with all that makes decisions differ, a source of packets that
// is drawn to the edges of them, and the comparison with the hub, which is the
// law.
//
// It knows no implementation but the hub. Its law: two servers that got the same
// packets have sent the same bytes, counted the same reasons and told the same
// sessions, or Run says where they parted.
package conform

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Server is an implementation: all of one edge server.
type Server interface {
	// Handle takes a packet that arrived, complete or with what the sender's
	// kernel left undone. It must not keep p.
	Handle(now vt.Instant, p []byte, off pkt.Offload) (Result, error)
	// Sessions are the live ones.
	Sessions() []hub.Session
}

// Sent is a packet that left, with its outer header.
type Sent struct {
	Data    []byte
	Offload pkt.Offload
}

// Count is what a hub counts, as far as it does not depend on which part of a
// server decided.
type Count struct {
	Forwarded, Returned, HandedOver, Routed, Answered, Held, Failovers, Relayed, Started, Ended uint64
	Drops                                                                                       [drop.Count]uint64
}

// Result is all that becomes of a packet.
type Result struct {
	Sent []Sent
	// Count is by how much the counters grew.
	Count Count
	// Events are what was told.
	Events []hub.Event
	// Fast says that no hub was asked. It is not compared.
	Fast bool
}

// CountOf is what is compared of a hub's counters.
func CountOf(c hub.Counters) Count {
	return Count{
		Forwarded: c.Forwarded, Returned: c.Returned, HandedOver: c.HandedOver, Routed: c.Routed, Answered: c.Answered,
		Held: c.Held, Failovers: c.Failovers, Relayed: c.Relayed, Started: c.FlowsStarted, Ended: c.FlowsEnded, Drops: c.Drops,
	}
}

// Minus is the difference to an earlier count.
func (c Count) Minus(old Count) Count {
	d := Count{
		Forwarded: c.Forwarded - old.Forwarded, Returned: c.Returned - old.Returned, HandedOver: c.HandedOver - old.HandedOver,
		Routed: c.Routed - old.Routed, Answered: c.Answered - old.Answered, Held: c.Held - old.Held,
		Failovers: c.Failovers - old.Failovers, Relayed: c.Relayed - old.Relayed, Started: c.Started - old.Started, Ended: c.Ended - old.Ended,
	}
	for i := range d.Drops {
		d.Drops[i] = c.Drops[i] - old.Drops[i]
	}
	return d
}

// String lists what is not zero.
func (c Count) String() string {
	var b bytes.Buffer
	add := func(name string, n uint64) {
		if n != 0 {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	add("forwarded", c.Forwarded)
	add("returned", c.Returned)
	add("handed_over", c.HandedOver)
	add("routed", c.Routed)
	add("answered", c.Answered)
	add("held", c.Held)
	add("failovers", c.Failovers)
	add("relayed", c.Relayed)
	add("started", c.Started)
	add("ended", c.Ended)
	for i, n := range c.Drops {
		add(drop.Reason(i).String(), n)
	}
	return b.String()
}

// Seen is what a comparison covered.
type Seen struct {
	// Packets that were compared, Fast those of them that no hub saw.
	Packets, Fast int
	// Count is the sum over the law.
	Count Count
	// Cases are how often each kind of packet came, and each way to spoil one, by
	// name; FastCases how many of the kind were fast.
	Cases, FastCases map[string]int
}

// Chance is where packets are drawn from; the same numbers, the same packets.
type Chance interface {
	Uint32() uint32
	// IntN is from 0 to n-1.
	IntN(n int) int
}

// Run gives the same n packets to the law and to other. The error says at which
// packet they parted.
func Run(chance Chance, n int, w *World, law, other Server, clock func() vt.Instant) (Seen, error) {
	seen := Seen{Cases: make(map[string]int), FastCases: make(map[string]int)}
	g := newTraffic(w, chance)
	for i := range n {
		c := g.next()
		now := clock()
		want, err := law.Handle(now, c.packet, c.offload)
		if err != nil {
			return seen, err
		}
		got, err := other.Handle(now, c.packet, c.offload)
		if err == nil {
			err = same(&want, &got)
		}
		if err != nil {
			return seen, fmt.Errorf("packet %d, %s, offload %+v:\n%x\n%w", i, strings.Join(c.names, ", "), c.offload, c.packet, err)
		}
		g.learn(&c, &want)
		seen.Packets++
		for _, name := range c.names {
			seen.Cases[name]++
		}
		if got.Fast {
			seen.Fast++
			seen.FastCases[c.names[0]]++
		}
		seen.Count = seen.Count.plus(want.Count)
		if i%sessionsEvery == sessionsEvery-1 || i == n-1 {
			if err := sameSessions(law.Sessions(), other.Sessions()); err != nil {
				return seen, fmt.Errorf("after packet %d: %w", i, err)
			}
		}
	}
	return seen, nil
}

// Cases are the names of all kinds of packets and of all ways to spoil one.
func Cases() []string {
	names := []string{"syn up", "syn-ack down", "tcp up", "tcp down", "odd tcp up", "odd tcp down", "udp up", "udp down", "echo up", "echo down", "other transport down", "other remote down", "edge address up", "edge port down"}
	for i := range 16 {
		if inner, outer := i/4, i%4; inner != outer {
			names = append(names, fmt.Sprintf("ECN %d in %d", inner, outer))
		}
	}
	for i := range innerSpoils {
		names = append(names, innerSpoils[i].name)
	}
	for i := range outerSpoils {
		names = append(names, "outer "+outerSpoils[i].name)
	}
	return names
}

// sessionsEvery is how many packets pass between comparisons of all sessions,
// which take a while.
const sessionsEvery = 250

func (c Count) plus(d Count) Count {
	var zero Count
	return c.Minus(zero.Minus(d))
}

// same compares what became of one packet.
func same(want, got *Result) error {
	if len(want.Sent) != len(got.Sent) {
		return fmt.Errorf("sent %d packets, want %d; counted%v, want%v", len(got.Sent), len(want.Sent), got.Count, want.Count)
	}
	for i := range want.Sent {
		if w, g := &want.Sent[i], &got.Sent[i]; !bytes.Equal(w.Data, g.Data) || w.Offload != g.Offload {
			return fmt.Errorf("sent %+v\n%x, want %+v\n%x", g.Offload, g.Data, w.Offload, w.Data)
		}
	}
	if want.Count != got.Count {
		return fmt.Errorf("counted%v, want%v", got.Count, want.Count)
	}
	if len(want.Events) != len(got.Events) {
		return fmt.Errorf("told %d events, want %d", len(got.Events), len(want.Events))
	}
	for i := range want.Events {
		if w, g := &want.Events[i], &got.Events[i]; w.Kind != g.Kind || w.Tuple != g.Tuple || w.OnRamp != g.OnRamp || w.Peer != g.Peer || w.Reason != g.Reason {
			return fmt.Errorf("told %+v, want %+v", *g, *w)
		}
		if w, g := want.Events[i].Session, got.Events[i].Session; w != nil && g != nil && !sameSession(w, g) {
			return fmt.Errorf("told of session %+v, want %+v", *g, *w)
		}
	}
	return nil
}

func sameSession(a, b *hub.Session) bool {
	return a.ID == b.ID && a.Tuple == b.Tuple && a.Egress == b.Egress && a.Return == b.Return && a.Close == b.Close &&
		a.BytesSent == b.BytesSent && a.BytesReceived == b.BytesReceived
}

func sameSessions(want, got []hub.Session) error {
	order := func(a, b hub.Session) int { return cmp.Or(bytes.Compare(a.ID[:], b.ID[:])) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if len(want) != len(got) {
		return fmt.Errorf("has %d sessions, want %d", len(got), len(want))
	}
	for i := range want {
		if !sameSession(&want[i], &got[i]) {
			return fmt.Errorf("session is %+v, want %+v", got[i], want[i])
		}
	}
	return nil
}
