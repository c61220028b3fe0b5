// Package cpe makes branch routers choose among their on-ramps, as a customer's
// equipment does: it pings the servers' address inside each tunnel, through that
// very tunnel, and keeps the kernel's default route on the first on-ramp that is
// not down, or spread over all that are not (SEMANTICS 1.8: the customer router
// chooses the path).
//
// Its rules of up and down are those of the servers (dataplane/health), so that
// both ends mean the same; what it finds is its own, and nobody tells it. It
// moves no packet: the kernel does. Its law: a way is out of use no later than
// plan.Detection after its last packet, and a router with all ways down uses
// them as if none were.
package cpe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/loop"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Router is a branch router that chooses.
type Router struct {
	Node   string
	NS     *netns.NS
	Choice *plan.Choice
}

// Switch is a change of a router's mind.
type Switch struct {
	Node string
	At   time.Time
	// Ways are the on-ramps in use from now on; Down those that are out.
	Ways, Down []string
}

// Chooser runs all routers of a lab on one thread.
type Chooser struct {
	routers  []*router
	onSwitch func(Switch)
	start    time.Time
	loop     *loop.Loop
}

// router is a Router at work.
type router struct {
	Router
	routes *wire.Routes
	ways   []*way
	inUse  []int // indices of ways, in order
}

// way is an on-ramp as its router sees it.
type way struct {
	plan.Way
	socket  int
	tracker *health.Tracker // nil: never down
	buf     []byte
}

// echoID marks the routers' own pings; servers probe with their numbers, and
// their answers do not come here.
const echoID = 0x4357

// Start has the routers choose from now on. onSwitch is called from one goroutine.
func Start(routers []Router, onSwitch func(Switch)) (*Chooser, error) {
	c := &Chooser{onSwitch: onSwitch, start: time.Now()}
	for _, r := range routers {
		one, err := open(r)
		if one != nil {
			c.routers = append(c.routers, one)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("router %s: %w", r.Node, err), c.release())
		}
	}
	var err error
	if c.loop, err = loop.Start(c); err != nil {
		return nil, errors.Join(err, c.release())
	}
	return c, nil
}

func open(r Router) (*router, error) {
	one := &router{Router: r}
	var err error
	if one.routes, err = wire.OpenRoutes(r.NS); err != nil {
		return nil, err
	}
	for i, w := range r.Choice.Ways {
		made := &way{Way: w, socket: -1}
		one.ways = append(one.ways, made)
		if w.Probing == nil {
			continue
		}
		if err := r.NS.Do(made.open); err != nil {
			return one, fmt.Errorf("probe %s: %w", w.OnRamp, err)
		}
		// Spread over an interval, so that ways are not probed at the same moment.
		t := w.Probing.Timing()
		made.tracker = health.New(t, vt.Instant(int64(t.Interval)*int64(i)/int64(len(r.Choice.Ways))))
	}
	one.inUse = one.usable()
	return one, nil
}

// open makes the socket that sees what this tunnel alone delivers.
func (w *way) open() error {
	var err error
	if w.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP); err != nil {
		return fmt.Errorf("raw ICMP socket: %w", err)
	}
	w.buf = make([]byte, 256)
	return errors.Join(
		unix.SetsockoptString(w.socket, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, w.Hop.Interface),
		unix.SetsockoptInt(w.socket, unix.IPPROTO_IP, unix.IP_HDRINCL, 1),
	)
}

func (c *Chooser) now() vt.Instant { return vt.Instant(time.Since(c.start)) }

// Descriptors implements loop.Worker.
func (c *Chooser) Descriptors(fds []int) []int {
	for _, r := range c.routers {
		for _, w := range r.ways {
			if w.socket >= 0 {
				fds = append(fds, w.socket)
			}
		}
	}
	return fds
}

// Patience implements loop.Worker.
func (c *Chooser) Patience() time.Duration {
	next := vt.Never
	for _, r := range c.routers {
		for _, w := range r.ways {
			if w.tracker != nil {
				next = min(next, w.tracker.NextWake())
			}
		}
	}
	if next == vt.Never {
		return -1
	}
	return max(next.Sub(c.now()), 0)
}

// Turn implements loop.Worker.
func (c *Chooser) Turn() error {
	for _, r := range c.routers {
		for _, w := range r.ways {
			if w.tracker != nil {
				w.answers(c.now())
				w.tracker.Tick(c.now(), w.ping)
			}
		}
		if err := c.choose(r); err != nil {
			return fmt.Errorf("router %s: %w", r.Node, err)
		}
	}
	return nil
}

// ping sends a probe. One that the kernel refuses fails like one that is lost.
func (w *way) ping(seq uint16) {
	packet := pkt.AppendEcho(w.buf[:0], w.Inner, w.Peer, false, echoID, seq)
	_ = unix.Sendto(w.socket, packet, 0, &unix.SockaddrInet4{Addr: w.Peer.As4()})
}

// answers takes what has arrived.
func (w *way) answers(now vt.Instant) {
	for {
		n, _, err := unix.Recvfrom(w.socket, w.buf, 0)
		if err != nil {
			return // nothing more, or an ICMP error that means the same as silence
		}
		var m pkt.Meta
		if m.Parse(w.buf[:n]); m.Kind == pkt.EchoReply && m.Src == w.Peer && m.DstPort == echoID {
			w.tracker.Answer(now, m.EchoSeq(w.buf[:n]))
		}
	}
}

// usable are the ways that the router should use, in order.
func (r *router) usable() []int {
	return health.Usable(len(r.ways), func(i int) *health.Tracker { return r.ways[i].tracker }, r.Choice.Select == spec.ECMP)
}

// choose changes the route if other ways are to be used.
func (c *Chooser) choose(r *router) error {
	next := r.usable()
	if slices.Equal(next, r.inUse) {
		return nil
	}
	s := Switch{Node: r.Node, At: time.Now()}
	route := plan.KernelRoute{To: r.Choice.To}
	for i, w := range r.ways {
		if slices.Contains(next, i) {
			route.Hops = append(route.Hops, w.Hop)
			s.Ways = append(s.Ways, w.OnRamp)
		}
		if w.tracker != nil && w.tracker.State() == health.Down {
			s.Down = append(s.Down, w.OnRamp)
		}
	}
	if err := r.routes.Replace(route); err != nil {
		return err
	}
	r.inUse = next
	if c.onSwitch != nil {
		c.onSwitch(s)
	}
	return nil
}

// String is the switch as a sentence for people.
func (s Switch) String() string {
	text := "sends by " + strings.Join(s.Ways, " and ")
	if len(s.Down) > 0 {
		text += ": no answer by " + strings.Join(s.Down, " and ")
	}
	return text
}

// Close ends the choosing; routes stay as they are. It is idempotent.
func (c *Chooser) Close() error {
	if c.loop == nil {
		return nil
	}
	err := c.loop.Stop()
	return errors.Join(err, c.release())
}

func (c *Chooser) release() error {
	var errs []error
	for _, r := range c.routers {
		r.routes.Close()
		for _, w := range r.ways {
			if w.socket >= 0 {
				errs = append(errs, unix.Close(w.socket))
				w.socket = -1
			}
		}
	}
	c.routers = nil
	return errors.Join(errs...)
}
