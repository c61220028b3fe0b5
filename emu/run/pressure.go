package run

import (
	"fmt"
	"os"
	"time"
)

// pressure watches how much the machine's processors are wanted. What it returns
// says for which share of the time since from some process waited for one, by the
// kernel's count (Documentation/accounting/psi.rst); 0 where it does not count.
// The waits of the moments before from count too.
func pressure(from time.Time) (share func() float64) {
	before, err := stalled()
	return func() float64 {
		after, err2 := stalled()
		if err != nil || err2 != nil {
			return 0
		}
		return min(float64(after-before)/float64(max(time.Since(from), 1)), 1)
	}
}

// stalled is how long in all some process waited for a processor.
func stalled() (time.Duration, error) {
	data, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0, err
	}
	var avg [3]float64
	var total int64
	if _, err := fmt.Sscanf(string(data), "some avg10=%f avg60=%f avg300=%f total=%d", &avg[0], &avg[1], &avg[2], &total); err != nil {
		return 0, fmt.Errorf("/proc/pressure/cpu: %w", err)
	}
	return time.Duration(total) * time.Microsecond, nil
}
