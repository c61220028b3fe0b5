package pump_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Of a loss of 1 % who receives misses 1 %, within three standard deviations, and
// no packet that nobody asked to lose.
func TestLiveLoss(t *testing.T) {
	const n, share, chunk = 20000, 0.01, 250
	l := up(t, twoHosts(spec.Impairment{Delay: spec.Delay{Fixed: ms}, Loss: share}))
	s := l.listen(t)
	missed := float64(n - len(s.across(t, n, chunk, 10*time.Millisecond))) // within the rings on the way
	if sigma := math.Sqrt(n * share * (1 - share)); math.Abs(missed-n*share) > 3*sigma {
		t.Errorf("%.0f of %d did not come, want %.0f within %.0f", missed, n, n*share, 3*sigma)
	}
	if c, _ := l.counts(t, impair.AB); c.Unasked() != 0 || float64(c.Model.Lost) != missed {
		t.Errorf("%.0f did not come: %s", missed, brief(c))
	}
}

// A rate is that of whole packets, at rates apart: none comes before its bits, and those
// of what was sent before it, can have; and a hundred of them of which each found the
// one before it waiting take as long as their bits, within 3 %. That is so of half of
// such rows, by the kernel's time of each arrival, whoever else is late.
func TestLiveRateOfBits(t *testing.T) {
	for _, rate := range []unit.BitRate{unit.Mbit, 4 * unit.Mbit} {
		t.Run(rate.String(), func(t *testing.T) {
			const row, tries = 100, 3
			tx := rate.TxTime(datagram + 28)
			n := int(time.Second / tx)
			var rows []time.Duration
			for try := 0; try < tries && len(rows) < n/4; try++ {
				l := up(t, twoHosts(spec.Impairment{Rate: rate, Queue: 8 << 20}))
				s := l.listen(t)
				got := s.across(t, n, 250, time.Millisecond)
				if len(got) != n {
					t.Fatalf("%d of %d packets came", len(got), n)
				}
				s.notBefore(t, got, tx)
				rows = s.waiting(got, row)
				t.Logf("%d of %d rows found the queue full", len(rows), n-row)
			}
			if len(rows) < n/4 {
				t.Fatalf("%d rows in which no packet found the queue empty, want %d or more: who sends is too slow here", len(rows), n/4)
			}
			slices.Sort(rows)
			took, want := rows[len(rows)/2], row*tx
			if (took - want).Abs() > want*3/100 {
				t.Errorf("%d packets take %v, from %v to %v, want %v within 3 %%", row, took, rows[0], rows[len(rows)-1], want)
			}
		})
	}
}

// notBefore fails if a datagram came before a transmitter that takes tx for each can
// have sent it and all before it.
func (s *stream) notBefore(t *testing.T, got []arrival, tx time.Duration) {
	t.Helper()
	const exact = 100 * time.Microsecond // of clocks
	var free time.Time                   // when it has sent all so far
	for i, a := range got {
		if free.Before(s.left[i]) {
			free = s.left[i]
		}
		if free = free.Add(tx); free.Sub(a.at) > exact {
			t.Fatalf("packet %d came %v before its bits can have", i, free.Sub(a.at))
		}
	}
}

// waiting is how long each row of so many datagrams took of which none was sent later
// than the one before it came: the queue was never empty.
func (s *stream) waiting(got []arrival, row int) (took []time.Duration) {
	full := 0
	for i := 1; i < len(got); i++ {
		if full++; s.sent[i].Round(0).After(got[i-1].at) {
			full = 0
		}
		if full >= row {
			took = append(took, got[i].at.Sub(got[i-row].at))
		}
	}
	return took
}
