package impair

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TraceBytes is what one opportunity of a trace delivers.
const TraceBytes unit.Bytes = 1500

// maxTrace bounds a trace: an hour at 100 Mbit/s.
const maxTrace = 32 << 20

// Trace is capacity in Mahimahi's format: each number is a millisecond since
// the start at which up to TraceBytes can leave. Packets share an opportunity
// that they fit in, a longer one takes several, and what nothing waits for is
// lost. After its last millisecond the trace begins again.
type Trace struct {
	times []uint32 // ms, ascending
}

// ReadTrace reads a trace: a whole number on each line, none less than the one
// before, the last above 0.
func ReadTrace(r io.Reader) (*Trace, error) {
	t := new(Trace)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		ms, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d of the trace is %.40q, want a whole number of milliseconds", ErrConfig, n, lines.Text())
		}
		if last := len(t.times) - 1; last >= 0 && uint32(ms) < t.times[last] {
			return nil, fmt.Errorf("%w: line %d of the trace is %d, before %d", ErrConfig, n, ms, t.times[last])
		}
		if len(t.times) == maxTrace {
			return nil, fmt.Errorf("%w: a trace of more than %d lines", ErrConfig, maxTrace)
		}
		t.times = append(t.times, uint32(ms))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read trace: %w", err)
	}
	return t, t.check()
}

func (t *Trace) check() error {
	switch {
	case t == nil:
		return nil
	case len(t.times) == 0:
		return fmt.Errorf("%w: an empty trace", ErrConfig)
	case t.times[len(t.times)-1] == 0:
		return fmt.Errorf("%w: a trace that takes no time", ErrConfig)
	case len(t.times) > maxTrace || !slices.IsSorted(t.times):
		return fmt.Errorf("%w: a trace of %d lines, want ascending and at most %d", ErrConfig, len(t.times), maxTrace)
	}
	return nil
}

func (t *Trace) equal(u *Trace) bool {
	return t == u || t != nil && u != nil && slices.Equal(t.times, u.times)
}

// MarshalJSON writes the milliseconds as a list.
func (t *Trace) MarshalJSON() ([]byte, error) { return json.Marshal(t.times) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Trace) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &t.times) }

// period after which the trace begins again.
func (t *Trace) period() vt.Instant {
	return vt.Instant(t.times[len(t.times)-1]) * vt.Instant(time.Millisecond)
}

// Rate is the mean capacity.
func (t *Trace) Rate() unit.BitRate {
	return unit.BitRate(len(t.times)) * 8 * unit.BitRate(TraceBytes) * 1000 / unit.BitRate(t.times[len(t.times)-1])
}

// at is when the k-th opportunity is, counted from 0 over all repetitions.
func (t *Trace) at(k int64) vt.Instant {
	n := int64(len(t.times))
	return vt.Instant(k/n)*t.period() + vt.Instant(t.times[k%n])*vt.Instant(time.Millisecond)
}

// first is the first opportunity that is not before now.
func (t *Trace) first(now vt.Instant) int64 {
	if now <= 0 {
		return 0
	}
	cycle, off := now/t.period(), now%t.period()
	// Rounded up: an opportunity in a millisecond that has begun is over.
	ms := uint32((off + vt.Instant(time.Millisecond) - 1) / vt.Instant(time.Millisecond))
	k := int64(cycle)*int64(len(t.times)) + int64(sort.Search(len(t.times), func(i int) bool { return t.times[i] >= ms }))
	for k > 0 && t.at(k-1) >= now { // the end of one cycle is the start of the next
		k--
	}
	return k
}
