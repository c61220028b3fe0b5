package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
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

// Who may not load programs is told that, and no guess.
func TestLackOfRights(t *testing.T) {
	refused := fmt.Errorf("load programs: map own6: map create: %w (MEMLOCK may be too low)", syscall.EPERM)
	err := lacking("eBPF", refused)
	if !errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "MEMLOCK") {
		t.Errorf("refused: %v, want permission denied and nothing of memory", err)
	}
	absent := errors.New("no tcx")
	if err := lacking("eBPF", absent); !errors.Is(err, absent) || errors.Is(err, os.ErrPermission) {
		t.Errorf("absent: %v, want %v", err, absent)
	}
}
