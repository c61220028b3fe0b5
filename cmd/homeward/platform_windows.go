package main

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/windows"
)

// signalName is what people call a signal.
func signalName(s syscall.Signal) string { return s.String() }

// kernel is the release of the running one.
func kernel() string {
	v := windows.RtlGetVersion()
	return fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}
