package main

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// signalName is what people call a signal.
func signalName(s syscall.Signal) string { return s.String() }

// processorTime is what this process took.
func processorTime() time.Duration {
	var created, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &ended, &kernel, &user) != nil {
		return 0
	}
	took := func(f windows.Filetime) time.Duration {
		return 100 * time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime))
	}
	return took(kernel) + took(user)
}

// kernel is the release of the running one.
func kernel() string {
	v := windows.RtlGetVersion()
	return fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}
