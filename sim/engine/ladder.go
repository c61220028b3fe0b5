package engine

import (
	"slices"

	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Ladder is a ladder queue (Tang, Goh and Thng: Ladder Queue: An O(1) Priority
// Queue Structure for Large-Scale Discrete Event Simulation, ACM TOMACS 15(3),
// 2005). Events far away lie unsorted at the top; when they come near they are
// spread over the buckets of a rung, crowded buckets over a finer rung, and only
// the few that are next are sorted. Use NewLadder.
type Ladder struct {
	// top holds what is from topStart on.
	top            []Event
	topStart       vt.Instant
	topMin, topMax vt.Instant
	rungs          []rung // the coarsest first; those beyond depth keep their memory
	depth          int
	bottom         []Event // sorted, from next on
	next           int
	nodes          []node
	free           int32 // first unused node + 1; 0 is none
	scratch        []Event
}

// rung is a row of buckets of equal width.
type rung struct {
	start   vt.Instant
	width   vt.Instant
	current int // buckets before it are used up
	buckets []bucket
	used    int
}

// bucket is a list of events.
type bucket struct {
	head  int32 // + 1
	count int32
}

// node is an event in a bucket's list.
type node struct {
	event Event
	next  int32 // + 1
}

const (
	// few events are kept sorted, all of them.
	few = 64
	// crowded is how many events of one bucket are spread anew rather than sorted.
	crowded = 64
	// maxRungs bounds the depth: beyond it buckets are sorted, however full.
	maxRungs = 8
	// maxBuckets bounds a rung.
	maxBuckets = 1 << 16
	// near the front of the sorted events most of those go that are scheduled.
	near = 16
)

// NewLadder returns an empty queue.
func NewLadder() *Ladder { return &Ladder{rungs: make([]rung, maxRungs)} }

// Len implements Queue.
func (l *Ladder) Len() int {
	n := len(l.top) + len(l.bottom) - l.next
	for i := range l.rungs[:l.depth] {
		n += l.rungs[i].used
	}
	return n
}

// end is where the buckets of the rung end.
func (r *rung) end() vt.Instant { return r.start + r.width*vt.Instant(len(r.buckets)) }

// now is where the first bucket begins that is not used up.
func (r *rung) now() vt.Instant { return r.start + r.width*vt.Instant(r.current) }

// Push implements Queue.
func (l *Ladder) Push(e Event) {
	if l.short() {
		l.insert(e)
	} else {
		l.place(e)
	}
}

// short reports whether all events are sorted, and few.
func (l *Ladder) short() bool {
	return len(l.bottom)-l.next < few && l.depth == 0 && len(l.top) == 0
}

// place puts an event where its time is: the top, a rung, or the sorted ones.
func (l *Ladder) place(e Event) {
	if e.At >= l.topStart {
		if len(l.top) == 0 {
			l.topMin, l.topMax = e.At, e.At
		}
		l.topMin, l.topMax = min(l.topMin, e.At), max(l.topMax, e.At)
		l.top = append(l.top, e)
		return
	}
	for i := range l.rungs[:l.depth] {
		if r := &l.rungs[i]; e.At >= r.now() {
			l.put(r, e)
			return
		}
	}
	if l.thin() {
		l.place(e)
		return
	}
	l.insert(e)
}

// thin spreads the sorted events over a rung of their own if they have become
// many, so that to insert one more stays cheap.
func (l *Ladder) thin() bool {
	sorted := l.bottom[l.next:]
	if len(sorted) < 4*crowded || l.depth == maxRungs || sorted[0].At == sorted[len(sorted)-1].At {
		return false
	}
	end := l.topStart
	if l.depth > 0 {
		end = l.rungs[l.depth-1].now()
	}
	l.spread(sorted, sorted[0].At, end-1)
	l.bottom, l.next = l.bottom[:0], 0
	return true
}

// put adds an event to its bucket of r.
func (l *Ladder) put(r *rung, e Event) {
	b := &r.buckets[min(int((e.At-r.start)/r.width), len(r.buckets)-1)]
	n := l.free
	if n == 0 {
		l.nodes = append(l.nodes, node{})
		n = int32(len(l.nodes))
	} else {
		l.free = l.nodes[n-1].next
	}
	x := &l.nodes[n-1]
	x.event, x.next = e, b.head
	b.head = n
	b.count++
	r.used++
}

// insert puts an event among the sorted ones. Most of what is scheduled goes near
// the front, where those before it make room toward the front, and some to the end.
func (l *Ladder) insert(e Event) {
	i := l.next - 1
	if uint(i) >= uint(len(l.bottom)) {
		l.insertFar(e)
		return
	}
	b := l.bottom[i:]
	if len(b) > near && b[near].before(e) {
		l.insertFar(e)
		return
	}
	l.next = i
	for len(b) > 4 && b[4].before(e) { // four at a time
		c := (*[5]Event)(b)
		c[0] = c[1]
		c[1] = c[2]
		c[2] = c[3]
		c[3] = c[4]
		b = b[4:]
	}
	j := 1
	for ; j < len(b) && b[j].before(e); j++ {
		b[j-1] = b[j]
	}
	b[j-1] = e
	if j == len(b) {
		l.topStart = max(l.topStart, e.At+1)
	}
}

// insertFar is insert by halves.
func (l *Ladder) insertFar(e Event) {
	l.topStart = max(l.topStart, e.At+1)
	lo, hi := l.next, len(l.bottom)
	if lo < hi && l.bottom[hi-1].before(e) {
		lo = hi
	}
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if l.bottom[mid].before(e) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if l.next > 0 && lo-l.next < len(l.bottom)-lo { // the front is nearer, and there is room
		copy(l.bottom[l.next-1:], l.bottom[l.next:lo])
		l.next--
		l.bottom[lo-1] = e
		return
	}
	if used := len(l.bottom) - l.next; len(l.bottom) == cap(l.bottom) && used <= len(l.bottom)/2 {
		copy(l.bottom, l.bottom[l.next:]) // rather than grow for what is popped
		l.bottom, lo, l.next = l.bottom[:used], lo-l.next, 0
	}
	l.bottom = append(l.bottom, e)
	if lo < len(l.bottom)-1 {
		copy(l.bottom[lo+1:], l.bottom[lo:])
		l.bottom[lo] = e
	}
}

// Pop implements Queue.
func (l *Ladder) Pop() (Event, bool) {
	if !l.ready(vt.Never) {
		return Event{}, false
	}
	return l.take(), true
}

// ready reports whether there is an event, not after end. Then it is the first of
// the sorted ones, and may be taken.
func (l *Ladder) ready(end vt.Instant) bool {
	return (l.next < len(l.bottom) || l.refill()) && l.bottom[l.next].At <= end
}

// take takes out the first event, which is ready.
func (l *Ladder) take() Event {
	e := l.bottom[l.next]
	l.next++
	return e
}

// refill sorts the events that are next; false if there are none.
func (l *Ladder) refill() bool {
	l.bottom, l.next = l.bottom[:0], 0
	for {
		for l.depth > 0 && l.rungs[l.depth-1].used == 0 {
			l.depth--
		}
		if l.depth == 0 {
			// No node is used: they are handed out in their order again, which is
			// how the processor fetches them best.
			l.nodes, l.free = l.nodes[:0], 0
			if len(l.top) == 0 {
				return false
			}
			if len(l.top) <= crowded || l.topMin == l.topMax {
				l.bottom = append(l.bottom, l.top...)
				l.topStart = l.topMax + 1
				l.top = l.top[:0]
				l.sort()
				return true
			}
			l.spread(l.top, l.topMin, l.topMax)
			l.topStart = l.rungs[0].end()
			l.top = l.top[:0]
		}
		r := &l.rungs[l.depth-1]
		for r.buckets[r.current].count == 0 {
			r.current++
		}
		l.collect(r)
		if len(l.scratch) > crowded && r.width > 1 && l.depth < maxRungs {
			l.spread(l.scratch, r.now()-r.width, r.now()-1)
			continue
		}
		l.bottom = append(l.bottom, l.scratch...)
		l.sort()
		return true
	}
}

// collect moves the current bucket of r to scratch, and goes on to the next.
func (l *Ladder) collect(r *rung) {
	l.scratch = l.scratch[:0]
	b := &r.buckets[r.current]
	for n := b.head; n != 0; {
		x := &l.nodes[n-1]
		l.scratch = append(l.scratch, x.event)
		next := x.next
		x.next, l.free = l.free, n
		n = next
	}
	r.used -= int(b.count)
	*b = bucket{}
	r.current++
}

// spread makes a rung of events from first to last: about one in a bucket.
func (l *Ladder) spread(events []Event, first, last vt.Instant) {
	buckets := min(len(events), maxBuckets)
	width := (last-first)/vt.Instant(buckets) + 1
	buckets = int((last-first)/width) + 1
	r := &l.rungs[l.depth]
	l.depth++
	*r = rung{start: first, width: width, buckets: grow(r.buckets, buckets)}
	for i := range events {
		l.put(r, events[i])
	}
}

// grow is s with n zero values.
func grow(s []bucket, n int) []bucket {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// sort sorts the bottom: by insertion, which for few is quickest.
func (l *Ladder) sort() {
	b := l.bottom
	if len(b) > near {
		slices.SortFunc(b, func(a, b Event) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		return
	}
	for i := 1; i < len(b); i++ {
		e, j := b[i], i
		for ; j > 0 && e.before(b[j-1]); j-- {
			b[j] = b[j-1]
		}
		b[j] = e
	}
}
