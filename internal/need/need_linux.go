package need

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
)

// Root needs the right to make a network namespace: a child tries it.
func Root(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		lack(tb, "root", err)
	}
}

// BPF needs the right to load a classifier (and so, with Linux 6.6, tcx).
func BPF(tb testing.TB) {
	tb.Helper()
	Root(tb)
	if err := features.HaveProgramType(ebpf.SchedCLS); err != nil {
		lack(tb, "bpf", err)
	}
}
