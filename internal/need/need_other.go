//go:build !linux

package need

import (
	"errors"
	"runtime"
	"testing"
)

// Root needs Linux.
func Root(tb testing.TB) {
	tb.Helper()
	lack(tb, "root", errors.New("network namespaces need Linux, this is "+runtime.GOOS))
}

// BPF needs Linux.
func BPF(tb testing.TB) {
	tb.Helper()
	Root(tb)
}
