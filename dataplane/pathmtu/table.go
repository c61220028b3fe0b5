package pathmtu

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Age is how long what was learned holds (RFC 1191 section 6.3, RFC 8201
// section 5.3): the path may have become wider, and nobody tells.
const Age = 10 * time.Minute

// Table is what was learned of the paths to far ends. It is as large as its user
// has far ends: who learns of others has not looked whose they are. The zero
// value knows nothing.
type Table struct {
	paths map[pkt.Number]path
	// wake is when the first of them is too old.
	wake vt.Instant
}

type path struct {
	mtu   int
	until vt.Instant
}

// Learn notes that packets to a far end may have so many bytes, and reports
// whether that is news. A path never becomes wider by being told so (RFC 1191
// section 3).
func (t *Table) Learn(now vt.Instant, far pkt.Number, mtu int) bool {
	old, known := t.paths[far]
	if known && old.mtu < mtu {
		return false
	}
	if t.paths == nil {
		t.paths = make(map[pkt.Number]path)
	}
	t.paths[far] = path{mtu, now.Add(Age)}
	if len(t.paths) == 1 || old.until == t.wake { // all others are older than this one
		t.schedule()
	}
	return !known || old.mtu != mtu
}

// MTU is what is known of the path to a far end; 0 is nothing.
func (t *Table) MTU(far pkt.Number) int { return t.paths[far].mtu }

// Len is of how many far ends anything is known.
func (t *Table) Len() int { return len(t.paths) }

// Expire forgets what is too old, and reports whether anything was.
func (t *Table) Expire(now vt.Instant) bool {
	return now >= t.NextWake() && t.forget(func(_ pkt.Number, p path) bool { return p.until <= now })
}

// Keep forgets far ends that are none any more.
func (t *Table) Keep(far func(pkt.Number) bool) {
	t.forget(func(n pkt.Number, _ path) bool { return !far(n) })
}

func (t *Table) forget(which func(pkt.Number, path) bool) bool {
	before := len(t.paths)
	for n, p := range t.paths {
		if which(n, p) {
			delete(t.paths, n)
		}
	}
	t.schedule()
	return len(t.paths) != before
}

func (t *Table) schedule() {
	t.wake = vt.Never
	for _, p := range t.paths {
		t.wake = min(t.wake, p.until)
	}
}

// NextWake is when Expire has something to do; vt.Never if nothing is known.
func (t *Table) NextWake() vt.Instant {
	if len(t.paths) == 0 {
		return vt.Never
	}
	return t.wake
}
