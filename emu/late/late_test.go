package late

import (
	"testing"
	"time"
)

// A log tells who came late, when and for how long, and nothing that is shorter than
// what it says that it tells.
func TestLog(t *testing.T) {
	l := New()
	l.Note(3, 1000, int64(Least)-1)
	l.Note(3, 2000, int64(5*time.Millisecond))
	got := l.Told()
	if got.Least != int64(Least) || len(got.Moments) != 1 || got.Moments[0] != (Moment{3, 2000, int64(5 * time.Millisecond)}) {
		t.Errorf("told %+v, want the one moment of 5ms", got)
	}
}

// Of more moments than it holds a log keeps all the longest, and says from which
// length on.
func TestLogIsBounded(t *testing.T) {
	l := New()
	long := 0
	for i := range 10 * Most {
		d := int64(Least)
		if i%100 == 0 {
			d = int64(10 * time.Millisecond)
			long++
		}
		l.Note(0, int64(i), d)
	}
	got := l.Told()
	kept := 0
	for i, m := range got.Moments {
		if m.For == int64(10*time.Millisecond) {
			kept++
		}
		if m.For < got.Least {
			t.Fatalf("moment %d lasts %d, less than the least, %d", i, m.For, got.Least)
		}
	}
	if len(got.Moments) > Most || kept != long || got.Least <= int64(Least) {
		t.Errorf("%d moments, %d of the %d longest among them, from %v on", len(got.Moments), kept, long, time.Duration(got.Least))
	}
}

// Who has no log notes nothing.
func TestNoLog(t *testing.T) {
	var l *Log
	l.Note(0, 1, int64(time.Second))
	if got := l.Told(); got.Least != 0 || got.Moments != nil {
		t.Errorf("told %+v", got)
	}
}

// Nothing is allocated, whether a packet was late or not, nor when the log is full.
func TestNoteAllocatesNothing(t *testing.T) {
	l := New()
	at := int64(0)
	if n := testing.AllocsPerRun(5*Most, func() { at++; l.Note(1, at, at*1000); l.Note(1, at, 10) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNote(b *testing.B) {
	l := New()
	b.Run("in time", func(b *testing.B) {
		for b.Loop() {
			l.Note(0, 1, 10)
		}
	})
	b.Run("late", func(b *testing.B) {
		for b.Loop() {
			l.Note(0, 1, int64(time.Millisecond))
		}
	})
}
