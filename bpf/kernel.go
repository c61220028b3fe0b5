package bpf

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Kernel is what the fast path's program has to know of the running kernel. It is in
// the kernel's description of itself (BTF), of which a process that reads it reads
// megabytes: who starts many has read it for them.
type Kernel struct {
	// Types is BTF, of struct sk_buff with ip_summed alone.
	Types []byte `json:"types"`
	// Cast is the kernel's number for its function bpf_cast_to_kern_ctx.
	Cast btf.TypeID `json:"cast"`
}

// The names in C.
const (
	bufferType  = "sk_buff"
	summedField = "ip_summed"
	castFunc    = "bpf_cast_to_kern_ctx"
)

// RunningKernel is read once in a process.
var RunningKernel = sync.OnceValues(readKernel)

func readKernel() (*Kernel, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var cast *btf.Func
	if err := spec.TypeByName(castFunc, &cast); err != nil {
		return nil, err
	}
	var buffer *btf.Struct
	if err := spec.TypeByName(bufferType, &buffer); err != nil {
		return nil, err
	}
	k := new(Kernel)
	if k.Cast, err = spec.TypeID(cast); err != nil {
		return nil, err
	}
	summed, ok := member(buffer.Members, summedField)
	if !ok {
		return nil, fmt.Errorf("%w: %s of struct %s", btf.ErrNotFound, summedField, bufferType)
	}
	k.Types, err = described(buffer.Size, summed)
	return k, err
}

// described is BTF of the kernel's buffer with one member.
func described(size uint32, only btf.Member) ([]byte, error) {
	b, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: bufferType, Size: size, Members: []btf.Member{only}}}, nil)
	if err != nil {
		return nil, err
	}
	return b.Marshal(nil, nil)
}

// member finds a member by name, also in structs and unions without one, with its
// place in the whole.
func member(members []btf.Member, name string) (btf.Member, bool) {
	for _, m := range members {
		if m.Name == name {
			m.Type = btf.UnderlyingType(m.Type)
			return m, true
		}
		var inner []btf.Member
		switch t := btf.UnderlyingType(m.Type).(type) {
		case *btf.Struct:
			inner = t.Members
		case *btf.Union:
			inner = t.Members
		}
		if m.Name != "" {
			continue
		}
		if found, ok := member(inner, name); ok {
			found.Offset += m.Offset
			return found, true
		}
	}
	return btf.Member{}, false
}

// options have the programs of spec loaded as the kernel is, without its BTF.
func (k *Kernel) options(spec *ebpf.CollectionSpec) (ebpf.ProgramOptions, error) {
	types, err := btf.LoadSpecFromReader(bytes.NewReader(k.Types))
	if err != nil {
		return ebpf.ProgramOptions{}, fmt.Errorf("types of the kernel: %w", err)
	}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			if !ins.IsKfuncCall() {
				continue
			}
			if name := ins.Reference(); name != castFunc {
				return ebpf.ProgramOptions{}, fmt.Errorf("%s calls %s of the kernel, which nobody looked up", p.Name, name)
			}
			source := ins.Source()
			ins.Constant, ins.Offset, ins.Metadata = int64(k.Cast), 0, asm.Metadata{}
			*ins = ins.WithSource(source)
		}
	}
	return ebpf.ProgramOptions{KernelTypes: types}, nil
}
