//go:build !unix

package simbench

import (
	"runtime"
	"time"
)

// timed is the time that f takes.
func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

// peak is the memory that the process has from the system, bytes, which it
// hardly ever gives back.
func peak() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
