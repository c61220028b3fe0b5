package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	// tapRings is the memory that the taps of a lab share, bytes; each has at
	// least minTapRing, which holds 512 packets between two looks, and at most
	// maxTapRing, which holds 4,096.
	tapRings   = 128 << 20
	minTapRing = 128 << 10
	maxTapRing = 1 << 20
	// maxSights is how many distinct things a tap keeps; more are counted as
	// dropped.
	maxSights = 1 << 18
)

// sight is what makes two packets the same observation.
type sight struct {
	proto       plan.Proto
	out, answer bool
	src, dst    netip.AddrPort
	mark        uint64
}

// Tap watches one interface of one host.
type Tap struct {
	Node string
	pump *pump
	// beside see what leaves by other interfaces. Their locks come before pump's.
	beside []*pump
	seen   map[sight]*Observation
	order  []*Observation
	over   int64
	// missed until Forget; the ring counts from its beginning.
	missed int64
}

// Start taps an interface ("eth0") of a node's namespace, as one of so many in
// the lab. What passes after its return is seen, in both directions.
func Start(node string, ns *netns.NS, iface string, taps int) (*Tap, error) {
	size := min(max(tapRings/max(taps, 1), minTapRing), maxTapRing) / blockSize * blockSize
	r, err := openRing(ns, iface, markFilter(), size)
	if err != nil {
		return nil, err
	}
	t := &Tap{Node: node, seen: map[sight]*Observation{}}
	t.pump = startPump(r, t.see)
	return t, nil
}

// Report is what was seen up to now, in order of first sight. It can be called
// at any time, also after Close.
func (t *Tap) Report() Report {
	var rep Report
	var drops int64
	for _, p := range t.others() {
		p.locked(func() { drops += p.drops })
	}
	t.pump.locked(func() {
		rep.Dropped = drops + t.pump.drops + t.over - t.missed
		rep.Observations = make([]Observation, len(t.order))
		for i, o := range t.order {
			rep.Observations[i] = *o
		}
	})
	return rep
}

// Err says why the tap has not seen everything that passed since Err was last
// asked: its interface was down, or it has ended by itself. It is nil after Close.
func (t *Tap) Err() error { return t.pump.err() }

// Close ends the tap; what it saw stays. It is idempotent.
func (t *Tap) Close() error {
	var errs []error
	for _, p := range t.others() {
		errs = append(errs, p.close())
	}
	return errors.Join(append(errs, t.pump.close())...)
}

// Beside has the tap see what leaves by another interface, too: from now on that
// of its own may send by it.
func (t *Tap) Beside(ns *netns.NS, iface string) error {
	r, err := openRing(ns, iface, markFilter(), minTapRing)
	if err != nil {
		return err
	}
	p := startPump(r, func(f frame) {
		if f.outgoing { // what arrives there arrives at the tap's own, too
			t.pump.mu.Lock()
			defer t.pump.mu.Unlock()
			t.see(f)
		}
	})
	t.pump.mu.Lock()
	defer t.pump.mu.Unlock()
	t.beside = append(t.beside, p)
	return nil
}

func (t *Tap) others() []*pump {
	t.pump.mu.Lock()
	defer t.pump.mu.Unlock()
	return slices.Clone(t.beside)
}

func (t *Tap) see(f frame) {
	s, ok := sighted(f.data)
	if !ok {
		return
	}
	s.out = f.outgoing
	o := t.seen[s]
	if o == nil {
		if len(t.order) == maxSights {
			t.over++
			return
		}
		o = &Observation{
			Proto: s.proto, Out: s.out, Answer: s.answer, Src: s.src, Dst: s.dst, Mark: s.mark, At: f.at,
		}
		t.seen[s] = o
		t.order = append(t.order, o)
	}
	o.Count++
}

// sighted is what a frame shows; false if it is nothing that Judge needs.
func sighted(frame []byte) (s sight, ok bool) {
	p, ok := parse(frame)
	if !ok {
		return s, false
	}
	s.src = netip.AddrPortFrom(p.src, binary.BigEndian.Uint16(p.l4))
	s.dst = netip.AddrPortFrom(p.dst, binary.BigEndian.Uint16(p.l4[2:]))
	if p.proto == unix.IPPROTO_TCP {
		return s.tcp(p.l4)
	}
	m, ok := host.ParseMark(p.l4[8:])
	s.mark, s.answer = m.Nonce, m.Answer
	s.proto = plan.UDP
	if p.icmp() {
		id := binary.BigEndian.Uint16(p.l4[4:])
		s.proto, s.answer = plan.ICMP, p.l4[0] == echoReply || p.l4[0] == echoReply6
		s.src, s.dst = netip.AddrPortFrom(p.src, id), netip.AddrPortFrom(p.dst, 0)
		if s.answer {
			s.src, s.dst = netip.AddrPortFrom(p.src, 0), netip.AddrPortFrom(p.dst, id)
		}
	}
	return s, ok
}

func (s sight) tcp(l4 []byte) (sight, bool) {
	const syn, ack = 2, 16
	if len(l4) < 14 || l4[13]&syn == 0 {
		return s, false
	}
	s.proto, s.mark = plan.TCP, uint64(binary.BigEndian.Uint32(l4[4:]))
	if s.answer = l4[13]&ack != 0; s.answer {
		s.mark = uint64(binary.BigEndian.Uint32(l4[8:]) - 1)
	}
	return s, true
}
