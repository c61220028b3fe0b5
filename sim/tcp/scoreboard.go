package tcp

import (
	"slices"
	"sort"
	"time"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// flying is a segment that was sent and not acknowledged.
type flying struct {
	from, to uint32     // of the sequence space
	at       vt.Instant // it was sent last
	n        uint32     // of all that were sent
	is       uint8
}

func (g *flying) len() int { return int(g.to - g.from) }

// What a flying segment is.
const (
	// sacked: the peer has it.
	sacked uint8 = 1 << iota
	// lost: some sending of it is taken for lost, and the peer does not have it.
	lost
	// resent: it was sent again, and that is not taken for lost.
	resent
	// repeated: it was ever sent again.
	repeated
)

// resending is a segment that was sent again, as the n-th of all that were sent.
type resending struct{ from, n uint32 }

// scoreboard is what is under way, segment by segment: what loss detection by
// time needs (RFC 8985 section 5.2).
type scoreboard struct {
	// segs[first:] are under way, in order.
	segs  []flying
	first int
	// arrived, gone and back are the bytes of those that are sacked, lost, resent.
	arrived, gone, back int
	// blocks are the ranges that are sacked, in order.
	blocks []Block
	// judged: the first sending of all below it is not waited for any more; mend:
	// nothing below it is lost and not resent.
	judged, mend uint32
	// resendings, in order; some may be over. sent is how many segments were.
	resendings []resending
	sent       uint32
}

// add notes a segment sent for the first time.
func (b *scoreboard) add(g flying) {
	if b.first == len(b.segs) {
		b.segs, b.first = b.segs[:0], 0
		b.resendings = b.resendings[:0]
		b.judged, b.mend = g.from, g.from
	} else if b.first > 32 && b.first > len(b.segs)/2 {
		b.segs = b.segs[:copy(b.segs, b.segs[b.first:])]
		b.first = 0
	}
	b.sent++
	g.n = b.sent
	b.segs = append(b.segs, g)
}

// at is the index of the segment that holds seq, or of the next one.
func (b *scoreboard) at(seq uint32) int {
	rest := b.segs[b.first:]
	return b.first + sort.Search(len(rest), func(i int) bool { return after(rest[i].to, seq) })
}

// head is the first segment under way; nil if there is none.
func (b *scoreboard) head() *flying {
	if b.first == len(b.segs) {
		return nil
	}
	return &b.segs[b.first]
}

// pipe is what is believed to be under way (RFC 6675 section 4): what has
// neither arrived nor got lost, and what was sent again.
func (b *scoreboard) pipe(flight int) int { return flight - b.arrived - b.gone + b.back }

// lose takes the latest sending of a segment for lost.
func (b *scoreboard) lose(g *flying) {
	if g.is&sacked != 0 {
		return
	}
	if g.is&resent != 0 {
		g.is &^= resent
		b.back -= g.len()
	}
	if g.is&lost == 0 {
		g.is |= lost
		b.gone += g.len()
	}
	if after(b.mend, g.from) {
		b.mend = g.from
	}
}

// settle takes a segment out of the counts.
func (b *scoreboard) settle(g *flying) {
	n := g.len()
	if g.is&sacked != 0 {
		b.arrived -= n
	}
	if g.is&lost != 0 {
		b.gone -= n
	}
	if g.is&resent != 0 {
		b.back -= n
	}
	g.is &^= lost | resent
}

// forget takes off what is acknowledged up to ack, and calls f for what had not
// been reported before.
func (b *scoreboard) forget(ack uint32, f func(g *flying)) {
	for b.first < len(b.segs) && after(ack, b.segs[b.first].from) {
		g := &b.segs[b.first]
		was := g.is
		b.settle(g)
		if after(g.to, ack) { // a part of it
			g.from, g.is = ack, was
			b.count(g)
			break
		}
		if was&sacked == 0 {
			f(g)
		}
		b.first++
	}
	b.judged, b.mend = later(b.judged, ack), later(b.mend, ack)
	i := 0
	for i < len(b.blocks) && !after(b.blocks[i].To, ack) {
		i++
	}
	b.blocks = slices.Delete(b.blocks, 0, i)
	if len(b.blocks) > 0 && after(ack, b.blocks[0].From) {
		b.blocks[0].From = ack
	}
}

// count puts a segment into the counts.
func (b *scoreboard) count(g *flying) {
	n := g.len()
	if g.is&sacked != 0 {
		b.arrived += n
	}
	if g.is&lost != 0 {
		b.gone += n
	}
	if g.is&resent != 0 {
		b.back += n
	}
}

// report notes a block that the peer has, and calls f for each segment of it that
// it had not reported before.
func (b *scoreboard) report(k Block, f func(g *flying)) {
	i := 0
	for i < len(b.blocks) && after(k.From, b.blocks[i].To) {
		i++
	}
	j, from, whole := i, k.From, k
	for ; j < len(b.blocks) && !after(b.blocks[j].From, k.To); j++ {
		old := b.blocks[j]
		b.take(Block{from, old.From}, f)
		from = later(from, old.To)
		if after(whole.From, old.From) {
			whole.From = old.From
		}
		whole.To = later(whole.To, old.To)
	}
	b.take(Block{from, k.To}, f)
	b.blocks = slices.Replace(b.blocks, i, j, whole)
}

// take marks the segments of a range that none was reported of.
func (b *scoreboard) take(k Block, f func(g *flying)) {
	if !after(k.To, k.From) {
		return
	}
	for i := b.at(k.From); i < len(b.segs) && !after(b.segs[i].to, k.To); i++ {
		g := &b.segs[i]
		if after(k.From, g.from) || g.is&sacked != 0 {
			continue
		}
		f(g)
		b.settle(g)
		g.is |= sacked
		b.arrived += g.len()
	}
}

// missing is the first segment that is lost and not resent; nil if there is none.
func (b *scoreboard) missing() *flying {
	for i := b.at(b.mend); i < len(b.segs); i++ {
		if g := &b.segs[i]; g.is&(lost|resent) == lost {
			b.mend = g.from
			return g
		}
	}
	if n := len(b.segs); n > b.first {
		b.mend = b.segs[n-1].to
	}
	return nil
}

// resend notes that a segment is sent again, its first n bytes of the sequence
// space; what is beyond them becomes a segment of its own.
func (b *scoreboard) resend(g *flying, n int, now vt.Instant) {
	if n < g.len() {
		i := b.at(g.from)
		rest := *g
		rest.from += uint32(n)
		g.to = rest.from
		b.segs = slices.Insert(b.segs, i+1, rest)
		g = &b.segs[i]
	}
	if g.is&resent == 0 {
		b.back += g.len()
	}
	b.sent++
	g.at, g.n = now, b.sent
	g.is |= resent | repeated
	b.resendings = append(b.resendings, resending{g.from, g.n})
}

// judge looks at what is under way in the order in which it was sent, the first
// sendings and those again, and asks of each whether to take it for lost: as long
// as the answer is yes.
func (b *scoreboard) judge(yes func(g *flying) bool) {
	i := b.at(b.judged)
	for ; i < len(b.segs); i++ {
		g := &b.segs[i]
		if g.is&(sacked|lost|resent) == 0 {
			if !yes(g) {
				break
			}
			b.lose(g)
		}
		b.judged = g.to
	}
	k := 0
	for ; k < len(b.resendings); k++ {
		r := b.resendings[k]
		i := b.at(r.from)
		if i == len(b.segs) || b.segs[i].from != r.from || b.segs[i].n != r.n || b.segs[i].is&resent == 0 {
			continue // over
		}
		if !yes(&b.segs[i]) {
			break
		}
		b.lose(&b.segs[i])
	}
	b.resendings = slices.Delete(b.resendings, 0, k)
}

// rack is the latest of what was sent and has arrived, the n-th of all that were
// sent (RFC 8985 section 6.2).
type rack struct {
	n   uint32
	rtt time.Duration
	// reordered: segments were seen to overtake others.
	reordered bool
	// steps widen the window for what is overtaken: one for each round trip in
	// which something was sent again that had arrived, until end; persist is for
	// how many recoveries they stay.
	steps, persist int
	end            uint32
}

// widen takes that something arrived twice (RFC 8985 section 6.2, step 4).
func (r *rack) widen(una, next uint32) {
	if after(r.end, una) {
		return
	}
	r.steps, r.persist, r.end = r.steps+1, recoveriesPatient, next
}

// recovered ends a recovery.
func (r *rack) recovered() {
	if r.persist--; r.persist <= 0 {
		r.steps, r.persist = 0, 0
	}
}

// recoveriesPatient is how many recoveries a window that was widened stays so.
const recoveriesPatient = 16

// before reports whether a segment was sent before the latest that has arrived.
// Nil was not.
func (r *rack) before(g *flying) bool { return g != nil && after(r.n, g.n) }
