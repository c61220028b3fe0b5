package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

const (
	// tapRing holds 4,096 packets between two looks.
	tapRing = 1 << 20
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
	Node  string
	pump  *pump
	seen  map[sight]*Observation
	order []*Observation
	over  int64
}

// Start taps an interface ("eth0") of a node's namespace. What passes after
// its return is seen, in both directions.
func Start(node string, ns *netns.NS, iface string) (*Tap, error) {
	r, err := openRing(ns, iface, markFilter(), tapRing)
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
	t.pump.locked(func() {
		rep.Dropped = t.pump.drops + t.over
		rep.Observations = make([]Observation, len(t.order))
		for i, o := range t.order {
			rep.Observations[i] = *o
		}
	})
	return rep
}

// Close ends the tap; what it saw stays. It is idempotent.
func (t *Tap) Close() error { return t.pump.close() }

func (t *Tap) see(f frame) {
	s, ok := parse(f.data)
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

// parse reads the headers of an Ethernet frame that passed the filter.
func parse(b []byte) (s sight, ok bool) {
	if len(b) < eth+20 {
		return s, false
	}
	ip := b[eth:]
	h := int(ip[0]&15) * 4
	if h < 20 || len(ip) < h+8 {
		return s, false
	}
	l4 := ip[h:]
	src, dst := netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	s.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4))
	s.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:]))
	if ip[9] == unix.IPPROTO_TCP {
		return s.tcp(l4)
	}
	m, ok := host.ParseMark(l4[8:])
	s.mark, s.answer = m.Nonce, m.Answer
	s.proto = plan.UDP
	if ip[9] == unix.IPPROTO_ICMP {
		id := binary.BigEndian.Uint16(l4[4:])
		s.proto, s.answer = plan.ICMP, l4[0] == 0
		s.src, s.dst = netip.AddrPortFrom(src, id), netip.AddrPortFrom(dst, 0)
		if s.answer {
			s.src, s.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, id)
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
