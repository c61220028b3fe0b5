//go:build unix

package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// signalName is what people call a signal.
func signalName(s syscall.Signal) string { return unix.SignalName(s) }

// kernel is the release of the running one.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
