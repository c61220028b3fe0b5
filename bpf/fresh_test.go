package bpf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/internal/need"
)

var generateLine = regexp.MustCompile(`(?m)^//go:generate (go run \S+/bpf2go)( .*)$`)

// The committed objects are what the C sources compile to, instruction for
// instruction. (Debugging information may differ with the system's headers.)
func TestObjectsAreFresh(t *testing.T) {
	need.Tool(t, "clang-19")
	need.Tool(t, "llvm-strip-19")
	source, err := os.ReadFile("gen.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := generateLine.FindAllSubmatch(source, -1)
	if len(lines) != 4 {
		t.Fatalf("gen.go has %d generate lines that this test understands, want 4", len(lines))
	}
	dir := t.TempDir()
	for _, l := range lines {
		cmd := exec.Command("sh", "-c", fmt.Sprintf("%s -output-dir %s%s", l[1], dir, l[2]))
		cmd.Env = append(os.Environ(), "GOPACKAGE=bpf")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	for _, name := range []string{"server_bpfel", "branch_bpfel", "dataplane_bpfel", "xsk_bpfel"} {
		same(t, name, filepath.Join(dir, name))
	}
}

func same(t *testing.T, committed, fresh string) {
	t.Helper()
	want, err := ebpf.LoadCollectionSpec(fresh + ".o")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ebpf.LoadCollectionSpec(committed + ".o")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Programs) != len(want.Programs) {
		t.Errorf("%s.o has %d programs, the sources %d: run make generate", committed, len(got.Programs), len(want.Programs))
	}
	for name, p := range want.Programs {
		if q := got.Programs[name]; q == nil || fmt.Sprint(q.Instructions) != fmt.Sprint(p.Instructions) {
			t.Errorf("%s.o: program %s is not what the sources say: run make generate", committed, name)
		}
	}
	a, errA := os.ReadFile(committed + ".go")
	b, errB := os.ReadFile(fresh + ".go")
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%s.go is not what the sources say (%v, %v): run make generate", committed, errA, errB)
	}
}
