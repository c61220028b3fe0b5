//go:build unix

package simbench

import (
	"runtime"
	"syscall"
	"time"
)

// timed is the processor time that f takes, whoever else is on the machine, and
// whatever was left lying before.
func timed(f func() error) (time.Duration, error) {
	runtime.GC()
	before := used()
	err := f()
	return used() - before, err
}

func used() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // which cannot fail for these arguments
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// peak is the most memory that the process ever had, bytes.
func peak() int64 {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	if runtime.GOOS == "darwin" { // which counts bytes, others KiB
		return int64(r.Maxrss)
	}
	return int64(r.Maxrss) << 10
}
