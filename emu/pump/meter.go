package pump

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Meter measures how long packets really take across impaired links: it notes
// when the kernel sends a packet at one end and when it receives the same one at
// the other, with the kernel's own times. It knows nothing of the pump. Of many
// packets it looks at a sample, the same at both ends, and counts each for as many as
// it stands for: else those before the sample became smaller would weigh more.
type Meter struct {
	spans []*span
	stop  chan struct{}
	done  chan struct{}
	mu    sync.Mutex
	once  func() error
}

// Measured is what a Meter saw of one direction of a link.
type Measured struct {
	Link      string
	Direction impair.Direction
	Times     Spread
	// Fresh are the times since Afresh; without that, all of them.
	Fresh Spread
}

// span is one impaired link under the meter.
type span struct {
	link     string
	tagged   bool     // IEEE 802.1Q
	ends     [2]*ring // of A and of B
	mask     uint32   // of sampling
	counted  time.Time
	seen     [2]int // since counted, at A and at B
	passages [2]passages
}

const (
	// meterSnap is what a packet is told by: its first bytes, behind Ethernet.
	meterSnap  = 128
	meterFrame = 256
	// meterMemory is shared by all rings.
	meterMemory                = 64 << 20
	minMeterRing, maxMeterRing = 256, 8192
	// meterTick is how often rings are read, and sampleRate how many packets of one
	// ring may pass in a second before the sample is halved: over rateSpan at least, for
	// a burst is no rate.
	meterTick  = 5 * time.Millisecond
	sampleRate = 8000
	rateSpan   = 250 * time.Millisecond
	// passagesMost is how many packets of a direction may be between two ends.
	passagesMost = 1 << 16
	// memoryLeast is how long a packet is remembered at least.
	memoryLeast = 5 * time.Second
)

// StartMeter measures all impaired links of a plan whose lab is up; space
// returns the namespace of a node. It sees what passes after its return.
func StartMeter(space func(node string) *netns.NS, p *plan.Plan) (*Meter, error) {
	m := &Meter{stop: make(chan struct{}), done: make(chan struct{})}
	cuts := wire.Cuts(p)
	spans := make([]*span, len(cuts))
	err := abreast(len(cuts), func(i int) (err error) {
		spans[i], err = newSpan(space, cuts[i].Link, cuts[i].Ends(), len(cuts))
		return err
	})
	m.spans = slices.DeleteFunc(spans, func(s *span) bool { return s == nil })
	if err != nil {
		return nil, errors.Join(err, m.release())
	}
	m.once = sync.OnceValue(func() error {
		close(m.stop)
		<-m.done
		return m.release()
	})
	go m.run()
	return m, nil
}

// Add measures another link too, seen at these interfaces of its ends A and B.
func (m *Meter) Add(space func(node string) *netns.NS, l *plan.Link, ends [2]wire.Watched) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := newSpan(space, l, ends, len(m.spans)+1)
	if err != nil {
		return err
	}
	m.spans = append(m.spans, s)
	return nil
}

// newSpan looks at both ends of a link, one of so many.
func newSpan(space func(node string) *netns.NS, l *plan.Link, ends [2]wire.Watched, of int) (*span, error) {
	s := &span{link: l.ID, tagged: l.VLAN != 0}
	for i, e := range ends {
		frames := min(max(meterMemory/(2*of*meterFrame), minMeterRing), maxMeterRing)
		err := space(e.Node).Do(func() error {
			index, err := netns.Index(e.Sees)
			if err != nil {
				return err
			}
			s.ends[i], err = newRing(index, meterFrame, frames, sample(s.mask))
			return err
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("meter of link %s at %s: %w", s.link, e.Node, err), s.release())
		}
	}
	for d := range s.passages {
		s.passages[d] = newPassages(remembered(l.Impair(impair.Direction(d))), 2*of)
	}
	return s, nil
}

// remembered is how long a packet's first sight waits for the second.
func remembered(c impair.Config) time.Duration { return 4 * (c.Delay + c.Jitter) }

// Measured is what was seen so far, of every direction, as the plan's links.
func (m *Meter) Measured() []Measured {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Measured
	for _, s := range m.spans {
		for d := range s.passages {
			one := Measured{Link: s.link, Direction: impair.Direction(d), Times: s.passages[d].times.spread()}
			if one.Fresh = one.Times; s.passages[d].fresh != nil {
				one.Fresh = s.passages[d].fresh.spread()
			}
			all = append(all, one)
		}
	}
	return all
}

// Afresh has a direction of a link measured anew as well, from packets on that
// leave now: it does something else, c.
func (m *Meter) Afresh(link string, d impair.Direction, c impair.Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.spans {
		if s.link == link {
			s.passages[d&1].afresh(time.Now(), remembered(c), 2*len(m.spans))
		}
	}
}

// Close ends the meter. What it saw stays. It is idempotent.
func (m *Meter) Close() error { return m.once() }

func (m *Meter) release() error {
	return abreast(len(m.spans), func(i int) error { return m.spans[i].release() })
}

func (s *span) release() error {
	var errs []error
	for _, r := range s.ends {
		if r != nil {
			errs = append(errs, r.close())
		}
	}
	return errors.Join(errs...)
}

func (m *Meter) run() {
	defer close(m.done)
	tick := time.NewTicker(meterTick)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			m.mu.Lock()
			for _, s := range m.spans {
				s.look(time.Now())
			}
			m.mu.Unlock()
		}
	}
}

// look takes what both ends saw since the last time.
func (s *span) look(now time.Time) {
	for d := range s.passages {
		s.passages[d].age(now)
	}
	for end, r := range s.ends {
		for f, ok := r.peek(); ok; f, ok = r.peek() {
			s.seen[end]++
			direction := end // leaving A is A to B
			if !f.leaving {
				direction = 1 - end
			}
			s.passages[direction].pass(fingerprint(f.data), f.real, f.leaving, int64(s.mask)+1)
			r.release()
		}
	}
	if s.counted.IsZero() {
		s.counted = now
	}
	in := now.Sub(s.counted)
	if in < rateSpan {
		return
	}
	most := max(s.seen[0], s.seen[1])
	s.counted, s.seen = now, [2]int{}
	// Filters see a tag in what leaves alone: samples would not agree.
	if time.Duration(most)*time.Second <= sampleRate*in || s.tagged {
		return
	}
	s.mask = s.mask<<1 | 1
	for _, r := range s.ends {
		// A ring that keeps the wider filter sees more than can be matched, no less.
		_ = r.filter(sample(s.mask))
	}
}

// fingerprint tells packets apart by their first bytes, behind Ethernet: FNV-1a.
func fingerprint(frame []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range frame[min(ethernet, len(frame)):min(meterSnap, len(frame))] {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// sample is a filter that takes packets of which some words, which differ from
// packet to packet and are the same at both ends, have zeros where mask has ones
// once they are mixed. Too short a frame is none of ours.
func sample(mask uint32) []unix.SockFilter {
	const (
		leastIPv4 = ethernet + 20 + 8 // with the ports, or an echo's id
		leastTCP  = ethernet + 20 + 32
		golden    = 2654435761
	)
	var code []unix.SockFilter
	op := func(code16 uint16, k uint32) { code = append(code, unix.SockFilter{Code: code16, K: k}) }
	add := func(offset uint32) {
		op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
		op(unix.BPF_ALU|unix.BPF_ADD|unix.BPF_X, 0)
		op(unix.BPF_MISC|unix.BPF_TAX, 0)
	}
	longer := func(least uint32, or uint8) {
		op(unix.BPF_LD|unix.BPF_W|unix.BPF_LEN, 0)
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: least, Jf: or})
	}
	const (
		perWord = 3
		finish  = 4 // up to the comparison
	)
	early, late := []uint32{18, 22, 34, 38}, []uint32{42, 46, 58, 62} // IP id to echo sequence; the inner packet of a tunnel
	op(unix.BPF_LDX|unix.BPF_W|unix.BPF_IMM, 0)
	longer(leastIPv4, uint8(perWord*len(early)+2+perWord*len(late)+finish+1))
	for _, offset := range early {
		add(offset)
	}
	longer(leastTCP, uint8(perWord*len(late)))
	for _, offset := range late {
		add(offset)
	}
	op(unix.BPF_MISC|unix.BPF_TXA, 0)
	op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, golden)
	op(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, 16)
	code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: mask, Jt: 1})
	op(unix.BPF_RET|unix.BPF_K, meterSnap)
	op(unix.BPF_RET|unix.BPF_K, 0)
	return code
}
