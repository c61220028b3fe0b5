package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Flow is what the fast path has to know of a flow to carry it: one to the
// Internet whose replies go into a stored on-ramp (flow.Flow.Steady, ARR).
type Flow struct {
	// Key is the forward key.
	Key flow.Key
	// Egress is the address and port the outside sees; for ICMP echo the id.
	Egress netip.AddrPort
	// OnRamp is where replies leave by, and its client is expected.
	OnRamp ident.OnRamp
	// Timeout is the silence after which it ends, and Progress how far it is.
	Timeout  time.Duration
	Progress flow.Progress
	// Tag is the caller's own number for it, for All.
	Tag uint32
}

// Carried is how a flow has fared.
type Carried struct {
	Tag      uint32
	Progress flow.Progress
	// Up and Down count packets of the client and of the remote end, modulo 2^32.
	Up, Down uint32
	// Seen is when the client was last heard; 0 is never.
	Seen vt.Instant
	// Closing says that a FIN or RST went by, and all that follows is the hub's.
	Closing bool
}

var (
	// ErrFull is wrapped by Install at the bound of flows.
	ErrFull = errors.New("the fast path is full")
	// ErrTaken is wrapped by Install for a flow whose reverse key another has.
	ErrTaken = errors.New("another flow has its egress port and remote endpoint")
)

// slotFurther is the C constant: the flow is not in returns.
const slotFurther = 1<<32 - 1

// Install lets the fast path carry a flow: the way back first, then the way
// there, so that no packet is carried whose answer is not.
func (d *Dataplane) Install(f *Flow) error {
	err := d.install(f)
	if err != nil {
		err = fmt.Errorf("install %v > %v: %w", f.Egress, f.Key.Destination(), err)
	}
	return err
}

func (d *Dataplane) install(f *Flow) error {
	if d.installed >= d.spec.Flows {
		return ErrFull
	}
	if d.serial++; d.serial == 0 {
		d.serial = 1
	}
	slot, err := d.installReturn(f)
	if err != nil {
		return err
	}
	d.installed++
	if slot != slotFurther && d.index.insert(d.hash(f), slot) {
		return nil
	}
	key, to := forwardKey(&f.Key), dataplaneForward{
		Egress: address(f.Egress.Addr()), EgressPort: f.Egress.Port(), Serial: d.serial, Slot: slot,
	}
	if err := d.objects.Forwards.Put(&key, &to); err != nil {
		d.Remove(f)
		return full(err)
	}
	return nil
}

func (d *Dataplane) hash(f *Flow) uint64 { return flow.Hash(d.spec.Config.Seed, &f.Key) }

// full tells the bound from other errors: E2BIG, or ENOMEM while memory is short.
func full(err error) error {
	if errors.Is(err, ebpf.ErrKeyExist) {
		return ErrTaken
	}
	return fmt.Errorf("%w: %w", ErrFull, err)
}

func (d *Dataplane) installReturn(f *Flow) (slot uint32, err error) {
	e := d.entry(f)
	if at, slot := d.slot(f.Egress); at != nil {
		switch {
		case atomic.LoadUint32(&at.Serial) == 0:
			serial := e.Serial
			e.Serial = 0
			*at = e
			atomic.StoreUint32(&at.Serial, serial) // from here on it is found
			return slot, nil
		case at.is(f):
			return 0, ErrTaken
		}
	}
	key := furtherKey(f)
	if err := d.objects.Further.Update(&key, &e, ebpf.UpdateNoExist); err != nil {
		return 0, full(err)
	}
	return slotFurther, nil
}

// entry is f as its replies find it.
func (d *Dataplane) entry(f *Flow) dataplaneFlow {
	p := &f.Progress
	return dataplaneFlow{
		Remote: address(f.Key.Destination().Addr()), Client: address(f.Key.Source().Addr()),
		EgressPort: f.Egress.Port(), RemotePort: f.Key.DstPort, ClientPort: f.Key.SrcPort, Proto: f.Key.Proto,
		Scope: uint32(f.Key.Scope), Tenant: uint16(f.Key.Tenant), Vnet: uint16(f.Key.VNet),
		Serial: d.serial, Onramp: uint32(f.OnRamp), Timeout: uint64(f.Timeout), Tag: f.Tag,
		Deadline: d.monotonic(p.Deadline), UpBytes: p.Sent, DownBytes: p.Received,
		ClientAcked: p.ClientAcked, ClientEnd: p.ClientEnd, OriginAcked: p.OriginAcked, OriginEnd: p.OriginEnd,
	}
}

// monotonic is an instant of the hub as the kernel's clock has it.
func (d *Dataplane) monotonic(t vt.Instant) uint64 {
	if t == vt.Never {
		return 1<<63 - 1
	}
	return uint64(max(int64(t)+d.spec.Base, 0))
}

func (d *Dataplane) instant(ns uint64) vt.Instant { return vt.Instant(int64(ns) - d.spec.Base) }

// slot is the place that a port of an egress address has among returns; nil if
// it has none.
func (d *Dataplane) slot(egress netip.AddrPort) (*dataplaneFlow, uint32) {
	base, ok := d.network.slots[egress.Addr()]
	if !ok {
		return nil, 0
	}
	i := base + uint32(egress.Port())&uint32(d.spec.PortSlots-1)
	return &d.flows[i], i
}

// is reports whether the entry is f's.
func (e *dataplaneFlow) is(f *Flow) bool {
	return e.EgressPort == f.Egress.Port() && e.RemotePort == f.Key.DstPort && e.Proto == f.Key.Proto && e.Remote == address(f.Key.Destination().Addr())
}

func furtherKey(f *Flow) dataplaneFurtherKey {
	return dataplaneFurtherKey{
		Egress: address(f.Egress.Addr()), Remote: address(f.Key.Destination().Addr()),
		EgressPort: f.Egress.Port(), RemotePort: f.Key.DstPort, Proto: f.Key.Proto,
	}
}

func forwardKey(k *flow.Key) dataplaneFlowKey {
	return dataplaneFlowKey{
		Src: address(k.Source().Addr()), Dst: address(k.Destination().Addr()), Scope: uint32(k.Scope), Tenant: uint16(k.Tenant),
		Vnet: uint16(k.VNet), SrcPort: k.SrcPort, DstPort: k.DstPort, Proto: k.Proto, Side: uint8(k.Side),
	}
}

// Remove ends the carrying of a flow, the way there first, and says how it fared;
// ok is false if it was not installed. Of f Key and Egress count.
func (d *Dataplane) Remove(f *Flow) (c Carried, ok bool) {
	at, slot := d.first(f)
	if at != nil {
		closing := at.Closing
		at.Closing = 1 // from here on its packets are left
		if !d.index.remove(d.hash(f), slot) {
			d.forget(f)
		}
		settle(at)
		c, ok = d.carried(at), true
		c.Closing = closing != 0
		atomic.StoreUint32(&at.Serial, 0)
	} else {
		d.forget(f)
		var e dataplaneFlow
		key := furtherKey(f)
		ok = d.objects.Further.LookupAndDelete(&key, &e) == nil
		if ok {
			c = d.carried(&e)
		}
	}
	if ok {
		d.installed--
	}
	return c, ok
}

// forget ends the way there of a flow that is not in index.
func (d *Dataplane) forget(f *Flow) {
	key := forwardKey(&f.Key)
	d.objects.Forwards.Delete(&key) // fails only if it is not there
}

// settleTurns take about a microsecond.
const settleTurns = 1000

// settle waits until packets that are in the program just now have been counted:
// it runs without interruption, in a fraction of that time. Of TCP the next
// acknowledgement says all again.
func settle(e *dataplaneFlow) {
	if e.Proto == pkt.ProtoTCP {
		return
	}
	for range settleTurns {
		atomic.LoadUint64(&e.Deadline)
	}
}

// first is f's entry, and its place, if it is the first remote endpoint of its
// port; nil if not.
func (d *Dataplane) first(f *Flow) (*dataplaneFlow, uint32) {
	if at, slot := d.slot(f.Egress); at != nil && atomic.LoadUint32(&at.Serial) != 0 && at.is(f) {
		return at, slot
	}
	return nil, 0
}

// Look says how a flow fares; ok is false if it is not installed. For the first
// remote endpoint of a port it costs no system call. Of f Key and Egress count.
func (d *Dataplane) Look(f *Flow) (c Carried, ok bool) {
	if at, _ := d.first(f); at != nil {
		return d.carried(at), true
	}
	var e dataplaneFlow
	key := furtherKey(f)
	if d.objects.Further.Lookup(&key, &e) != nil {
		return Carried{}, false
	}
	return d.carried(&e), true
}

func (d *Dataplane) carried(e *dataplaneFlow) Carried {
	c := Carried{
		Tag: e.Tag, Up: e.UpPackets, Down: e.DownPackets, Closing: e.Closing != 0,
		Progress: flow.Progress{
			Deadline: d.instant(atomic.LoadUint64(&e.Deadline)),
			Sent:     atomic.LoadUint64(&e.UpBytes), Received: atomic.LoadUint64(&e.DownBytes),
			ClientAcked: e.ClientAcked, ClientEnd: e.ClientEnd, OriginAcked: e.OriginAcked, OriginEnd: e.OriginEnd,
		},
	}
	if e.UpSeen != 0 {
		c.Seen = d.instant(e.UpSeen)
	}
	return c
}

// Pass has the packets of a TCP connection that is not here handed to another
// server, which keeps them: the bucket's second hop. SYN is the hub's. Of server
// 0 it ends that. When there is no room, the one that was passed least lately is
// the hub's again.
func (d *Dataplane) Pass(key *flow.Key, to ident.Server) error {
	k := forwardKey(key)
	if to == 0 {
		if err := d.objects.Passed.Delete(&k); !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	}
	d.passing = true
	return put(d.objects.Passed, &k, uint32(to))
}

// PassNone ends it for all.
func (d *Dataplane) PassNone() error {
	if !d.passing {
		return nil
	}
	d.passing = false
	return clearMap[dataplaneFlowKey, uint32](d.objects.Passed)
}

// Clear ends the carrying of all flows.
func (d *Dataplane) Clear() error {
	errs := []error{clearMap[dataplaneFlowKey, dataplaneForward](d.objects.Forwards)}
	for i := range d.flows {
		if d.flows[i].Serial != 0 {
			atomic.StoreUint32(&d.flows[i].Serial, 0)
		}
	}
	clear(d.index)
	d.installed = 0
	return errors.Join(append(errs, clearMap[dataplaneFurtherKey, dataplaneFlow](d.objects.Further))...)
}

// batch is how many entries of a hash one system call reads.
const batch = 4096

func clearMap[K, V any](m *ebpf.Map) error {
	keys, values := make([]K, batch), make([]V, batch)
	var at ebpf.MapBatchCursor
	for {
		_, err := m.BatchLookupAndDelete(&at, keys, values, nil)
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("%v: clear: %w", m, err)
		}
	}
}

// All yields how all flows fare, in no order. Flows that come or go meanwhile may
// be missed; those that stay are not.
func (d *Dataplane) All(yield func(Carried) bool) {
	for i := range d.flows {
		if atomic.LoadUint32(&d.flows[i].Serial) != 0 && !yield(d.carried(&d.flows[i])) {
			return
		}
	}
	keys, values := make([]dataplaneFurtherKey, batch), make([]dataplaneFlow, batch)
	var at ebpf.MapBatchCursor
	for {
		n, err := d.objects.Further.BatchLookup(&at, keys, values, nil)
		for i := range n {
			if !yield(d.carried(&values[i])) {
				return
			}
		}
		if err != nil {
			return // ErrKeyNotExist is the end
		}
	}
}
