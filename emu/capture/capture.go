// Package capture records the packets of a whole lab into one pcapng file.
//
// It listens with packet sockets at chosen interfaces, both directions, and
// keeps the last packets in bounded memory until somebody wants a file. It
// decodes nothing and changes nothing: a lab behaves the same with it, but for
// the time that copying a header takes. Packet sockets see what programs
// redirect only where it passes a router's own interface, so that is where
// Points listens.
//
// The law: what is missing is counted. Packets that the kernel could not
// queue, and packets that newer ones displaced, are in Stats.
package capture

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

const (
	// DefaultSnap is how many bytes of a packet are kept: enough for tunnel,
	// inner headers and options.
	DefaultSnap = 192
	// DefaultMemory is how many bytes of packets a capture keeps.
	DefaultMemory = 32 << 20
	// maxSnap is the largest packet that a veth carries.
	maxSnap = 1 << 16
)

// ErrClosed is returned for what is asked of a closed capture.
var ErrClosed = errors.New("capture is closed")

// Spaces knows the namespaces of a lab by node id: emu/keeper's Lab.
type Spaces interface {
	NS(node string) *netns.NS
}

// Point is an interface to listen at.
type Point struct {
	Node      string
	Interface string
	Name      string // in the file; empty means "node/interface"
}

// Stats of a point.
type Stats struct {
	Name string
	// Received are the packets that passed, Dropped those of them that the
	// kernel could not queue for us.
	Received, Dropped uint64
}

// Capture is a running capture.
type Capture struct {
	points []Point
	snap   int
	start  time.Time
	rings  []*ring
	filter []unix.SockFilter // nil takes every packet
	store  *store            // nil of a stream
	take   func(point int, packets []packet)

	mu     sync.Mutex
	closed bool

	adding sync.Mutex // taken after mu
	beside []beside
}

// beside is a ring on an interface by which a point's own sends.
type beside struct {
	point int
	*ring
}

// Start listens at the points until Close, keeping snap bytes of each packet (0
// means DefaultSnap) and DefaultMemory bytes of packets. Close it before the
// lab: its sockets hold the lab's namespaces.
func Start(lab Spaces, points []Point, snap int) (*Capture, error) {
	return StartSized(lab, points, snap, DefaultMemory)
}

// StartSized is Start with another bound on memory, in bytes.
func StartSized(lab Spaces, points []Point, snap, memory int) (*Capture, error) {
	if len(points) == 0 {
		return nil, errors.New("capture: no point to listen at")
	}
	if snap == 0 {
		snap = DefaultSnap
	}
	if snap < 0 || snap > maxSnap {
		return nil, fmt.Errorf("capture: snap length %d: want 1 to %d", snap, maxSnap)
	}
	kept := newStore(memory)
	c := &Capture{points: points, snap: snap, start: time.Now(), store: kept, take: kept.add}
	if err := c.listen(lab); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// listen opens all points at once: each opening and closing of a ring waits for
// the kernel's other processors.
func (c *Capture) listen(lab Spaces) error {
	rings := make([]*ring, len(c.points))
	errs := make([]error, len(c.points))
	var wait sync.WaitGroup
	for i, p := range c.points {
		wait.Go(func() {
			r, err := open(lab, p, c.snap, len(c.points), c.filter)
			if err != nil {
				errs[i] = fmt.Errorf("capture at %s: %w", p.name(), err)
				return
			}
			rings[i] = r
			go r.follow(func(packets []packet) { c.take(i, packets) })
		})
	}
	wait.Wait()
	c.rings = slices.DeleteFunc(rings, func(r *ring) bool { return r == nil })
	return errors.Join(errs...)
}

// Beside has every point of a node's interface see what leaves by another one,
// too: from now on the interface sends by it. What arrives there is not seen: it
// arrives at the point as well.
func (c *Capture) Beside(lab Spaces, node, iface, other string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.points {
		if p.Node != node || p.Interface != iface || c.closed {
			continue
		}
		r, err := open(lab, Point{Node: node, Interface: other}, c.snap, len(c.points), c.filter)
		if err != nil {
			return fmt.Errorf("capture at %s: %w", p.name(), err)
		}
		c.adding.Lock()
		c.beside = append(c.beside, beside{i, r})
		c.adding.Unlock()
		go r.follow(func(packets []packet) {
			c.take(i, slices.DeleteFunc(packets, func(p packet) bool { return !p.leaving }))
		})
	}
	return nil
}

// all are the rings of points, then those beside them.
func (c *Capture) all() []*ring {
	c.adding.Lock()
	defer c.adding.Unlock()
	all := slices.Clone(c.rings)
	for _, b := range c.beside {
		all = append(all, b.ring)
	}
	return all
}

func (p Point) name() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Node + "/" + p.Interface
}

// open opens a point's ring in its namespace.
func open(lab Spaces, p Point, snap, points int, filter []unix.SockFilter) (r *ring, err error) {
	ns := lab.NS(p.Node)
	if ns == nil {
		return nil, fmt.Errorf("no node %q", p.Node)
	}
	err = ns.Do(func() error {
		index, err := netns.Index(p.Interface)
		if err != nil {
			return err
		}
		r, err = newRing(index, snap, points, filter)
		return err
	})
	return r, err
}

// Stats are the counts of each point so far, and displaced the packets that
// were recorded but gave way to newer ones.
func (c *Capture) Stats() (points []Stats, displaced uint64) {
	c.adding.Lock()
	defer c.adding.Unlock()
	for i, r := range c.rings {
		received, dropped := r.stats()
		points = append(points, Stats{c.points[i].name(), received, dropped})
	}
	for _, b := range c.beside {
		received, dropped := b.stats()
		points[b.point].Received += received
		points[b.point].Dropped += dropped
	}
	if c.store != nil {
		displaced = c.store.displaced()
	}
	return points, displaced
}

// Close stops listening and lets go of every namespace and all memory of the
// kernel's. What was recorded can still be written. It is idempotent.
func (c *Capture) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.flush()
	all := c.all()
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, r := range all {
		wait.Go(func() { errs[i] = r.close() })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// flushPatience bounds the wait for packets on their way through the kernel's
// queue, where they stay for up to blockTimeout.
const flushPatience = 20 * blockTimeout

// flush waits until what has passed so far is recorded.
func (c *Capture) flush() {
	deadline := time.Now().Add(flushPatience)
	for _, r := range c.all() {
		for r.pending() && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
}
