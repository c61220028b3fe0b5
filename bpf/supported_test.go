package bpf

import (
	"testing"

	"github.com/homeward-lab/homeward/internal/need"
)

// Where a classifier loads, the whole of it works: a skip of need.BPF and the
// product's own choice of engine must not differ.
func TestSupported(t *testing.T) {
	need.BPF(t)
	if err := Supported(); err != nil {
		t.Errorf("Supported() = %v, want nil", err)
	}
	if err := Supported(); err != nil {
		t.Errorf("second Supported() = %v, want nil", err)
	}
}
