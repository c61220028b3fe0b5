package flow

import (
	"testing"
	"unsafe"
)

// TestSizes: a key has no padding and fits eBPF's 48 bytes; a flow is two cache
// lines.
func TestSizes(t *testing.T) {
	if got := unsafe.Sizeof(Key{}); got != 48 {
		t.Errorf("Key is %d bytes, want 48", got)
	}
	if got := unsafe.Sizeof(Flow{}); got != 128 {
		t.Errorf("Flow is %d bytes, want 128", got)
	}
	if got := unsafe.Sizeof(link{}); got != 12 {
		t.Errorf("link is %d bytes, want 12", got)
	}
}
