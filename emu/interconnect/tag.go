package interconnect

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/loop"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Trunk is the site's end of a link with a tag: it puts the tag on what the
// router sends into its interface, and takes it off what comes for the router.
type Trunk struct {
	tagger *tagger
	loop   *loop.Loop
	finish func() error
}

// Tag brings the tag of a link to life in the namespace of its end A, where
// emu/wire made an interface beside the link. Close, or the death of the
// process, ends it.
func Tag(ns *netns.NS, l plan.Link) (*Trunk, error) {
	t := &tagger{}
	err := ns.Do(func() error { return t.open(l) })
	var run *loop.Loop
	if err == nil {
		run, err = loop.Start(t)
	}
	if err != nil {
		return nil, fmt.Errorf("VLAN %d of %s: %w", l.VLAN, l.ID, errors.Join(err, t.release()))
	}
	return &Trunk{tagger: t, loop: run, finish: sync.OnceValue(func() error { return errors.Join(run.Stop(), t.release()) })}, nil
}

// Watch has a log told when the trunk came late to packets (loop.Loop.Watch).
func (t *Trunk) Watch(log *late.Log, zero time.Time) { t.loop.Watch(log, zero) }

// Lost is how many packets were dropped, for whatever reason.
func (t *Trunk) Lost() uint64 { return t.tagger.lost.Load() }

// Close ends it and returns the error that had ended it before, if one did. It
// is idempotent.
func (t *Trunk) Close() error { return t.finish() }

// tagger moves packets between a router's interface and its link.
type tagger struct {
	inside, trunk end
	lost          atomic.Uint64
	unread        uint64
}

// end is one of a tagger's two.
type end struct {
	socket *afpacket.Socket
	rx     *afpacket.Receiver
	tx     *afpacket.Sender
}

func (t *tagger) open(l plan.Link) error {
	a := &l.A
	if err := t.inside.open(a.Interface+wire.PeerSuffix, 0, a.NeighborMAC, a.MAC); err != nil {
		return err
	}
	return t.trunk.open(a.Interface+wire.TrunkSuffix, l.VLAN, a.MAC, a.NeighborMAC)
}

func (e *end) open(name string, vlan int, from, to net.HardwareAddr) error {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	if e.socket, err = afpacket.ListenTagged(iface.Index, vlan); err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	e.rx = afpacket.NewReceiver(e.socket)
	e.tx = afpacket.NewTaggedSender(e.socket, from, to, vlan)
	return nil
}

// Descriptors implements loop.Worker.
func (t *tagger) Descriptors(fds []int) []int {
	return append(fds, t.inside.socket.Fd(), t.trunk.socket.Fd())
}

// Patience implements loop.Worker: nothing is ever due.
func (t *tagger) Patience() time.Duration { return -1 }

// Turn implements loop.Worker.
func (t *tagger) Turn() error {
	err := errors.Join(t.move(&t.inside, &t.trunk), t.move(&t.trunk, &t.inside))
	t.lost.Store(t.unread + t.inside.tx.Sent().Lost() + t.trunk.tx.Sent().Lost())
	return err
}

// move takes one batch from one end to the other, superpackets whole.
func (t *tagger) move(from, to *end) error {
	n, err := from.rx.Receive()
	for i := range n {
		frame, h := from.rx.Frame(i)
		if !afpacket.IsIP(frame) {
			continue // the kernel's own noise: neighbours are known for good
		}
		packet := frame[afpacket.EthernetHeader:]
		off, err := h.Offload(packet)
		if err != nil {
			t.unread++
			continue
		}
		to.tx.Whole(packet, off, 0)
	}
	to.tx.Flush()
	if err != nil {
		return err
	}
	overflow, err := from.socket.Overflows()
	t.unread += overflow
	return err
}

func (t *tagger) release() error {
	var errs []error
	for _, e := range []*end{&t.inside, &t.trunk} {
		if e.socket != nil {
			errs = append(errs, e.socket.Close())
		}
	}
	return errors.Join(errs...)
}
