package impair

import (
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// End is how a packet fared.
type End uint8

// Ends.
const (
	Passed   End = iota
	Lost         // on the line
	Overflow     // the queue was full
)

// Fate is what becomes of one packet.
type Fate struct {
	End End
	// At is when the packet comes out, if it passed.
	At vt.Instant
	// Twice says that a copy comes out right after it.
	Twice bool
	// Flip is the bit to invert, counted from the first bit of the packet; -1
	// for none. The copy has the same damage.
	Flip int
	// Congested says that it waited longer than the threshold: who has the packet
	// marks it, if its ends understand that (pkt.Mark), and tells Marked.
	Congested bool
	// Overtook says that it came out before a packet that arrived earlier may.
	Overtook bool
}

// Counters of a Line.
type Counters struct {
	Packets    uint64 `json:"packets"` // that arrived
	Lost       uint64 `json:"lost,omitempty"`
	Overflowed uint64 `json:"overflowed,omitempty"`
	Marked     uint64 `json:"marked,omitempty"` // as having met congestion, and passed
	Overtook   uint64 `json:"overtook,omitempty"`
	Duplicated uint64 `json:"duplicated,omitempty"`
	Corrupted  uint64 `json:"corrupted,omitempty"`
}

// Line is one direction of a link. It is not safe for concurrent use.
type Line struct {
	config Config
	stream Stream
	sender sender
	// steady: nothing is left to chance, and packets have their rate and delay.
	steady bool

	// order is when the latest packet came out that may not be overtaken.
	order vt.Instant
	// chain of loss (chance.go)
	bad, chained bool
	// previous normal variable of the jitter (chance.go)
	last       float64
	correlated bool

	count Counters
}

// New makes a line. A trace begins at now.
func New(c Config, s Stream, now vt.Instant) (*Line, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	l := &Line{config: c, stream: s, sender: sender{start: now}}
	l.prepare()
	return l, nil
}

// prepare computes what follows from the config.
func (l *Line) prepare() {
	l.sender.unfit()
	c := l.config
	c.Rate, c.Delay = 0, 0
	l.steady = c.Plain() && c.CEThreshold == 0 && !l.bad
}

// Set changes what the line does to packets that arrive from now on. Those
// under way keep the times they were given, and what waits to be transmitted
// stays in the queue; numbers go on. A new trace begins when the queue is empty.
func (l *Line) Set(now vt.Instant, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if !c.Trace.equal(l.config.Trace) {
		l.sender.start, l.sender.next, l.sender.left = max(now, l.sender.idle), 0, TraceBytes
	}
	l.config = c
	l.prepare()
	return nil
}

// Config is what the line does now.
func (l *Line) Config() Config { return l.config }

// Counters are totals since the line was made.
func (l *Line) Counters() Counters { return l.count }

// Send says what becomes of the next packet, an IP packet of size bytes that
// arrives at now. now must not go back.
func (l *Line) Send(now vt.Instant, size int) Fate {
	if l.steady {
		at, ok := l.Steadily(now, size)
		if !ok {
			return Fate{End: Overflow, Flip: -1}
		}
		return Fate{At: at, Flip: -1}
	}
	n := l.count.Packets
	l.count.Packets++
	c, f := &l.config, Fate{Flip: -1}
	// Chains advance with every packet, also with one that the queue refuses.
	lost := (c.Loss > 0 || l.bad) && l.lost(n)
	delay := c.Delay
	if c.Jitter > 0 {
		delay = max(delay+l.jitter(n), 0)
	}
	f.Congested = c.CEThreshold > 0 && l.sender.begins(c, now).Sub(now) > c.CEThreshold
	leaves, ok := l.sender.send(c, now, unit.Bytes(size))
	switch {
	case !ok:
		l.count.Overflowed++
		return Fate{End: Overflow, Flip: -1}
	case lost:
		l.count.Lost++
		return Fate{End: Lost, Flip: -1}
	}
	if c.Corrupt > 0 && size > 0 {
		if a, b := l.stream.draw(forCorrupt, n); unitOf(a) < c.Corrupt {
			f.Flip = int(b % uint64(8*size))
			l.count.Corrupted++
		}
	}
	if l.stream.share(forDuplicate, n, c.Duplicate) {
		f.Twice = true
		l.count.Duplicated++
	}
	if l.overtakes(n) {
		f.Overtook, f.At = true, leaves
		l.count.Overtook++
		return f
	}
	l.order = max(l.order, leaves.Add(delay))
	f.At = l.order
	return f
}

// Marked counts a packet that was marked.
func (l *Line) Marked() { l.count.Marked++ }

// Steady reports whether nothing is left to chance now: packets have their rate
// and delay. Then Steadily says the same as Send, in fewer words.
func (l *Line) Steady() bool { return l.steady }

// Steadily is Send on a steady line: when the packet comes out, or that the queue
// was full.
func (l *Line) Steadily(now vt.Instant, size int) (at vt.Instant, passed bool) {
	l.count.Packets++
	if unit.Bytes(size) != l.sender.size {
		l.sender.fit(&l.config, unit.Bytes(size))
	}
	leaves, ok := l.sender.rate(now)
	if !ok {
		l.count.Overflowed++
		return 0, false
	}
	if at = leaves + vt.Instant(l.config.Delay); at < leaves {
		at = vt.Never
	}
	if at < l.order {
		at = l.order
	}
	l.order = at
	return at, true
}

// overtakes says whether the n-th packet takes no delay.
func (l *Line) overtakes(n uint64) bool {
	c := &l.config
	if c.ReorderGap > 1 && (n+1)%uint64(c.ReorderGap) != 0 {
		return false
	}
	return l.stream.share(forReorder, n, c.Reorder)
}
