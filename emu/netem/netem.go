// Package netem has the kernel's own network emulator (tc-netem(8)) do what links
// are asked to, instead of emu/pump.
//
// Both halves of a cut link meet in the namespace wire.Middle. What arrives at one
// is redirected to the other, where a netem queue holds it, so that the link's own
// ends are as with the pump, and the same meter measures both.
//
// Its law: netem does what impair.Line does, or it refuses by name (Refused). What
// it cannot promise is the pump's to give: the same packets lost for the same seed
// on every kernel.
package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Feature is what netem needs of the kernel.
const Feature = "CONFIG_NET_SCH_NETEM (sch_netem)"

// Possible tries it in a fresh namespace; a kernel without netem is a
// *wire.LackError.
func Possible() error {
	ns, err := netns.New()
	if err != nil {
		return err
	}
	const lo = 1
	o, err := Translate(impair.Config{}, 0)
	if err == nil {
		err = ns.Do(func() error { return queue(lo, o) })
	}
	return errors.Join(err, ns.Close())
}

// Refuses says which impaired links of a plan netem cannot do.
func Refuses(p *plan.Plan) error {
	var errs []error
	for _, c := range wire.Cuts(p) {
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			if err := Refused(c.Link.Impair(d)); err != nil {
				errs = append(errs, fmt.Errorf("link %s: %w", c.Link.ID, err))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// Wires are links that netem carries. Its methods are safe for concurrent use.
type Wires struct {
	space *netns.NS
	seed  uint64

	mu    sync.Mutex
	links map[string]*[2]way
	order []string
}

// way is one direction of a link.
type way struct {
	leaves int // the interface whose queue it is
	asked  impair.Config
}

// Start has netem carry these cut links of a plan, of which there may be none
// yet; middle is the namespace wire.Middle.
func Start(middle *netns.NS, p *plan.Plan, cuts []wire.Cut) (*Wires, error) {
	w := &Wires{space: middle, seed: p.Seed, links: map[string]*[2]way{}}
	for _, c := range cuts {
		if err := w.Add(c); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Add has netem carry another link.
func (w *Wires) Add(c wire.Cut) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := c.Link.ID
	w.links[id] = &[2]way{{leaves: c.B}, {leaves: c.A}}
	w.order = append(w.order, id)
	for _, d := range []impair.Direction{impair.AB, impair.BA} {
		if err := w.set(id, d, c.Link.Impair(d)); err != nil {
			return err
		}
	}
	for _, ends := range [2][2]int{{c.A, c.B}, {c.B, c.A}} {
		if err := wire.Join(w.space, ends[0], ends[1]); err != nil {
			return fmt.Errorf("join the halves of link %s: %w", id, err)
		}
	}
	return nil
}

// Set changes what one direction does to packets that come from now on.
func (w *Wires) Set(link string, d impair.Direction, c impair.Config) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set(link, d, c)
}

func (w *Wires) set(link string, d impair.Direction, c impair.Config) error {
	pair := w.links[link]
	if pair == nil {
		return fmt.Errorf("impair %s %s: netem does not carry it", link, d)
	}
	s := impair.NewStream(w.seed, link, d)
	o, err := Translate(c, uint64(s[0])<<32|uint64(s[1]))
	if err == nil {
		err = w.space.Do(func() error { return queue(pair[d].leaves, o) })
	}
	if err != nil {
		return fmt.Errorf("impair %s %s: %w", link, d, err)
	}
	pair[d].asked = c
	return nil
}

// Counts are the kernel's totals of every direction. It tells no loss that was
// asked for from a full queue, and nothing of copies, damage and order.
func (w *Wires) Counts() ([]pump.Count, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []pump.Count
	err := w.space.Do(func() error {
		totals, err := totals()
		for _, id := range w.order {
			for d := range w.links[id] {
				way := &w.links[id][d]
				t := totals[way.leaves]
				c := pump.Count{Link: id, Direction: impair.Direction(d), Sent: t.sent, Asked: asked(way.asked, t.sent)}
				c.Model.Packets, c.Model.Lost = t.sent+t.dropped, t.dropped
				all = append(all, c)
			}
		}
		return err
	})
	return all, err
}

// asked is how long packets were to take, where that does not depend on others.
func asked(c impair.Config, n uint64) pump.Spread {
	if c.Rate > 0 || c.Reorder > 0 {
		return pump.Spread{}
	}
	at := func(share float64) time.Duration {
		return max(c.Delay+time.Duration(float64(c.Jitter)*c.Distribution.Quantile(share)), 0)
	}
	return pump.Spread{N: int64(n), P50: at(0.5), P99: at(0.99), Max: at(1 - 1e-9)}
}

// Feature says how packets are carried.
func (w *Wires) Feature() string { return "the kernel (netem)" }

// Stop does nothing: the queues go with their namespace.
func (w *Wires) Stop() error { return nil }

const (
	handle = 1 << 16 // 1:
	root   = 1<<32 - 1
)

// queue makes or changes the queue of an interface of the calling thread's
// namespace.
func queue(index int, o Options) error {
	m := &nl.TcMsg{Family: unix.AF_UNSPEC, Ifindex: int32(index), Handle: handle, Parent: root}
	req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(m)
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("netem")))
	req.AddData(o.attribute())
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return wire.Needs(Feature, err)
}

// total is what a queue has let through and dropped.
type total struct{ sent, dropped uint64 }

// totals are those of all netem queues of the calling thread's namespace, by interface.
func totals() (map[int]total, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_DUMP)
	req.AddData(&nl.TcMsg{Family: unix.AF_UNSPEC})
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if err != nil {
		return nil, fmt.Errorf("totals of netem: %w", err)
	}
	all := map[int]total{}
	for _, b := range msgs {
		m := nl.DeserializeTcMsg(b)
		attrs, err := nl.ParseRouteAttr(b[nl.SizeofTcMsg:])
		if err != nil {
			return nil, fmt.Errorf("totals of netem: %w", err)
		}
		for _, a := range attrs { // struct tc_stats: bytes, packets, drops, …
			if m.Handle == handle && a.Attr.Type == nl.TCA_STATS && len(a.Value) >= 16 {
				all[int(m.Ifindex)] = total{uint64(binary.NativeEndian.Uint32(a.Value[8:])), uint64(binary.NativeEndian.Uint32(a.Value[12:]))}
			}
		}
	}
	return all, nil
}
