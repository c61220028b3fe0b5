package pump_test

import (
	"math"
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
	got := make(chan int)
	go func() { got <- len(s.receive(t)) }()
	for range n / chunk {
		s.send(t, chunk, 0)
		time.Sleep(10 * time.Millisecond) // within the rings on the way
	}
	missed := float64(n - <-got)
	if sigma := math.Sqrt(n * share * (1 - share)); math.Abs(missed-n*share) > 3*sigma {
		t.Errorf("%.0f of %d did not come, want %.0f within %.0f", missed, n, n*share, 3*sigma)
	}
	if c, _ := l.counts(t, impair.AB); c.Unasked() != 0 || float64(c.Model.Lost) != missed {
		t.Errorf("%.0f did not come: %+v", missed, c)
	}
}

// A rate is that of whole packets: a full queue takes as long as its bits, within
// 3 %, at rates apart.
func TestLiveRateOfBits(t *testing.T) {
	for _, rate := range []unit.BitRate{2 * unit.Mbit, 8 * unit.Mbit} {
		t.Run(rate.String(), func(t *testing.T) {
			l := up(t, twoHosts(spec.Impairment{Rate: rate, Queue: 8 << 20}))
			s := l.listen(t)
			n := int(int64(rate) / 8 / (datagram + 28)) // a second's worth
			const chunk = 500
			got := make(chan int)
			var began time.Time
			go func() { got <- len(s.receive(t)) }()
			for sent := 0; sent < n; sent += chunk {
				s.send(t, min(chunk, n-sent), 0)
				if sent == 0 {
					began = time.Now()
				}
				time.Sleep(time.Duration(float64(time.Second) * chunk / float64(n) / 2)) // twice as fast as it drains
			}
			arrived := <-got
			took := time.Since(began) - quiet
			if arrived != n || math.Abs(took.Seconds()-1) > 0.03 {
				t.Errorf("%d of %d packets took %v, want a second within 3 %%", arrived, n, took)
			}
		})
	}
}
