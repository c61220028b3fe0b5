package bpf

import (
	"encoding/json"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/homeward-lab/homeward/internal/need"
)

// What is told of the kernel makes the same program of the object as the kernel's
// own description does: instruction for instruction, by the kernel's hash of them.
func TestKernelToldIsKernelRead(t *testing.T) {
	need.BPF(t)
	k, err := RunningKernel()
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	var told Kernel
	if err := json.Unmarshal(sent, &told); err != nil {
		t.Fatal(err)
	}
	read := fastTag(t, nil)
	if got := fastTag(t, &told); got != read {
		t.Errorf("program %s as told of the kernel, want %s as read", got, read)
	}
	// The hash would tell: a bit further on it is another program.
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var buffer *btf.Struct
	if err := spec.TypeByName(bufferType, &buffer); err != nil {
		t.Fatal(err)
	}
	summed, ok := member(buffer.Members, summedField)
	if !ok {
		t.Fatal("struct sk_buff has no ip_summed")
	}
	summed.Offset++
	if told.Types, err = described(buffer.Size, summed); err != nil {
		t.Fatal(err)
	}
	if got := fastTag(t, &told); got == read {
		t.Errorf("program %s wherever ip_summed is", got)
	}
}

// fastTag loads the fast path; nil has the library read of the kernel what it needs.
func fastTag(t *testing.T, k *Kernel) string {
	t.Helper()
	spec, err := loadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	var o ebpf.CollectionOptions
	if k != nil {
		if o.Programs, err = k.options(spec); err != nil {
			t.Fatal(err)
		}
	}
	var programs struct {
		FastPath *ebpf.Program `ebpf:"fast_path"`
	}
	if err := spec.LoadAndAssign(&programs, &o); err != nil {
		t.Fatalf("%+v", err)
	}
	defer programs.FastPath.Close()
	info, err := programs.FastPath.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Tag
}
