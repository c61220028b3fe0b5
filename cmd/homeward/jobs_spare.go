package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Another lab's traffic begins when, for spareWindow, all of the machine's processors
// together were used for spareShare of their time or less: nothing else goes on meanwhile
// than the traffic of the labs before it. Of more at once each would be late.
const (
	spareWindow = 400 * time.Millisecond
	spareShare  = 0.5
)

// awaitSpare returns when a machine, of whose processors used says how much is used, has
// time for another lab's traffic, when there is none, or when ctx is done. Where nobody
// knows it has time for one.
func awaitSpare(ctx context.Context, sending *atomic.Int32, used func() (share float64, known bool)) {
	for sending.Load() > 0 && ctx.Err() == nil {
		if share, known := used(); known && share <= spareShare {
			return
		}
	}
}

// used is which share of the processors' time is used from now on for as long.
func used(window time.Duration) (share float64, known bool) {
	before, ok := processorTicks()
	time.Sleep(window)
	after, ok2 := processorTicks()
	return usedSince(before, after), ok && ok2 && after[0] > before[0]
}

// usedSince is the share of the time between two processorTicks that was used.
func usedSince(before, after [2]uint64) float64 {
	return float64(after[1]-before[1]) / float64(max(after[0]-before[0], 1))
}

// processorTicks is what the processors did since the machine began, and how much of
// that was not to idle, in ticks (proc_stat(5)).
func processorTicks() (t [2]uint64, known bool) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t, false
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const idle, wait, guest = 4, 5, 9 // what guests used is counted before, too
	for i := 1; i < min(len(fields), guest); i++ {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return t, false
		}
		if t[0] += n; i != idle && i != wait {
			t[1] += n
		}
	}
	return t, t[0] > 0
}
