package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/health"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

var timing = health.Timing{Interval: time.Second, Timeout: 300 * time.Millisecond, Window: 5 * time.Minute, Burst: time.Second}

// tunnel answers probes 10 ms later, unless lost says otherwise.
type tunnel struct {
	t       *health.Tracker
	now     vt.Instant
	lost    func(now vt.Instant, n int) bool
	sent    int
	answers []answer
	changes []string
}

type answer struct {
	at  vt.Instant
	seq uint16
}

func start(lost func(now vt.Instant, n int) bool) *tunnel {
	return &tunnel{t: health.New(timing, 0), lost: lost, changes: []string{"0s healthy"}}
}

// until lets time pass, event by event.
func (u *tunnel) until(end time.Duration) {
	for u.now < vt.Instant(end) {
		next := u.t.NextWake()
		if len(u.answers) > 0 && u.answers[0].at <= next {
			a := u.answers[0]
			u.answers, u.now = u.answers[1:], a.at
			u.t.Answer(u.now, a.seq)
		} else {
			u.now = next
			u.t.Tick(u.now, func(seq uint16) {
				u.sent++
				if !u.lost(u.now, u.sent) {
					u.answers = append(u.answers, answer{u.now.Add(10 * time.Millisecond), seq})
				}
			})
		}
		if s := fmt.Sprint(time.Duration(u.now).Round(100*time.Millisecond), " ", u.t.State()); !ends(u.changes[len(u.changes)-1], u.t.State().String()) {
			u.changes = append(u.changes, s)
		}
	}
}

func ends(s, state string) bool { return s[len(s)-len(state):] == state }

// TestRT9: a tunnel that fails for a while goes from its priority to that of
// down, of degraded, and back. SEMANTICS RT-9.
func TestRT9(t *testing.T) {
	u := start(func(now vt.Instant, _ int) bool {
		return now >= vt.Instant(10*time.Second) && now < vt.Instant(20*time.Second)
	})
	u.until(20 * time.Minute)
	want := []string{"0s healthy", "10.6s down", "20s degraded"}
	if len(u.changes) != 4 || !slices.Equal(u.changes[:3], want) || !ends(u.changes[3], "healthy") {
		t.Fatalf("%q, want %q and healthy", u.changes, want)
	}
	var priorities []int
	for _, s := range []health.State{health.Healthy, health.Down, health.Degraded, health.Healthy} {
		priorities = append(priorities, 100+s.Penalty())
	}
	if !slices.Equal(priorities, []int{100, 1_000_100, 500_100, 100}) {
		t.Errorf("priorities %v", priorities)
	}
	var healed time.Duration
	if _, err := fmt.Sscan(u.changes[3], &scanned{&healed}); err != nil {
		t.Fatal(err)
	}
	if healed < 5*time.Minute || healed > 6*time.Minute {
		t.Errorf("healthy at %v, want when five minutes without a failure are over", healed)
	}
}

// scanned reads a duration.
type scanned struct{ d *time.Duration }

func (s *scanned) Scan(state fmt.ScanState, _ rune) error {
	token, err := state.Token(true, nil)
	if err == nil {
		*s.d, err = time.ParseDuration(string(token))
	}
	return err
}

// TestRT10: one lost probe alone changes nothing. SEMANTICS RT-10.
func TestRT10(t *testing.T) {
	u := start(func(_ vt.Instant, n int) bool { return n == 17 })
	u.until(time.Hour)
	if len(u.changes) != 1 {
		t.Errorf("%q, want healthy throughout", u.changes)
	}
	if extra := u.sent - 3600; extra < 2 || extra > 3 {
		t.Errorf("%d probes in an hour, want two at once after the failure and one each second", u.sent)
	}
}

// TestDegraded: two failures of a thousand or fewer degrade; two of many more
// do not, and a loss that is too rare to be down never is.
func TestDegraded(t *testing.T) {
	for _, tt := range []struct {
		name string
		lost func(now vt.Instant, n int) bool
		want string
	}{
		{"two in five minutes", func(_ vt.Instant, n int) bool { return n == 100 || n == 200 }, "degraded"},
		{"two in six minutes", func(_ vt.Instant, n int) bool { return n == 100 || n == 480 }, "healthy"},
		{"every other", func(_ vt.Instant, n int) bool { return n%2 == 0 }, "degraded"},
		{"all but the retries", func(now vt.Instant, n int) bool { return int64(now)%int64(time.Second) == 0 }, "degraded"},
	} {
		u := start(tt.lost)
		u.until(9 * time.Minute)
		worst := health.Healthy
		for _, c := range u.changes {
			for s := health.Healthy; s <= health.Down; s++ {
				if ends(c, s.String()) {
					worst = max(worst, s)
				}
			}
		}
		if worst.String() != tt.want {
			t.Errorf("%s: %q, want at worst %s", tt.name, u.changes, tt.want)
		}
	}
}

// TestDownNeedsThreeToRise: a tunnel that answers once is still down.
func TestDownNeedsThreeToRise(t *testing.T) {
	once := 0
	u := start(func(now vt.Instant, n int) bool {
		if now > vt.Instant(5*time.Second) && once == 0 {
			once = n
			return false
		}
		return true
	})
	u.until(8 * time.Second)
	if u.t.State() != health.Down || once == 0 {
		t.Errorf("%q, want down", u.changes)
	}
}

// TestLateAnswer: an answer after the timeout is none.
func TestLateAnswer(t *testing.T) {
	h := health.New(timing, 0)
	h.Tick(0, func(uint16) {})
	if h.Answer(vt.Instant(timing.Timeout), 1) || h.Answer(1, 2) {
		t.Error("an answer that nobody waits for is taken")
	}
	if !h.Answer(1, 1) || h.Answer(2, 1) {
		t.Error("an answer is taken once")
	}
}

// TestSleptThrough: what was missed while nobody ticked is not made up for.
func TestSleptThrough(t *testing.T) {
	h, sent := health.New(timing, 0), 0
	h.Tick(vt.Instant(time.Hour), func(uint16) { sent++ })
	if sent != 1 || h.NextWake() <= vt.Instant(time.Hour) {
		t.Errorf("%d probes, next at %v", sent, h.NextWake())
	}
}
