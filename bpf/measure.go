package bpf

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

// Time runs the program, of tcx or of XDP, once over each frame without sending
// anything, in turns with a program that does nothing. It returns how long each
// took by the kernel's own clock, which is read in it too. The flows' progress is
// that of real packets.
func (d *Dataplane) Time(frames [][]byte, xdp bool) (own, empty []time.Duration, err error) {
	p := d.objects.FastPath
	if xdp {
		if err := d.loadXDP(loadDataplane); err != nil {
			return nil, nil, err
		}
		p = d.xdp
	}
	return TimeProgram(p, frames)
}

// TimeProgram is Time of any program.
func TimeProgram(p *ebpf.Program, frames [][]byte) (own, empty []time.Duration, err error) {
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: p.Type(), License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}})
	if err != nil {
		return nil, nil, fmt.Errorf("empty program: %w", err)
	}
	defer nothing.Close()
	for _, frame := range frames {
		_, took, err := p.Benchmark(frame, 1, nil)
		if err != nil {
			return nil, nil, err
		}
		_, none, err := nothing.Benchmark(frame, 1, nil)
		if err != nil {
			return nil, nil, err
		}
		own, empty = append(own, took), append(empty, none)
	}
	return own, empty, nil
}

// Memory is what the kernel holds for flows now: places that are empty count.
func (d *Dataplane) Memory() (total unit.Bytes, err error) {
	for _, m := range []*ebpf.Map{d.objects.Forwards, d.objects.Returns, d.objects.Hashed, d.objects.Further} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", m.FD()))
		if err != nil {
			return 0, err
		}
		_, after, found := strings.Cut(string(text), "memlock:")
		value, _, _ := strings.Cut(strings.TrimSpace(after), "\n")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || !found {
			return 0, fmt.Errorf("memory of %v: want memlock in %q", m, text)
		}
		total += unit.Bytes(n)
	}
	return total, nil
}

// lookups are made in one run of a program of LookUp.
const lookups = 64

// LookUp measures what it costs, ns, to find a flow by its reply among so many, chosen
// at random: by the place of its port (indexed), or by a hash of all that
// identifies it, as for further remote endpoints. The maps are shaped like the
// fast path's own.
func LookUp(flows int, indexed bool) (ns float64, err error) {
	spec, err := loadDataplane()
	if err != nil {
		return 0, err
	}
	name := dataplaneMapFurther
	if indexed {
		name = dataplaneMapReturns
	}
	shape := spec.Maps[name].Copy()
	shape.MaxEntries = uint32(flows)
	m, err := ebpf.NewMap(shape)
	if err != nil {
		return 0, fmt.Errorf("%d flows: %w", flows, err)
	}
	defer m.Close()
	if !indexed {
		if err := fillFurther(m, flows); err != nil {
			return 0, err
		}
	}
	with, err := timeLookups(m, flows, true)
	if err != nil {
		return 0, err
	}
	without, err := timeLookups(m, flows, false)
	return max(float64(with-without), 0) / lookups, err
}

func fillFurther(m *ebpf.Map, flows int) error {
	keys, values := make([]dataplaneFurtherKey, batch), make([]dataplaneFlow, batch)
	for at := 0; at < flows; at += batch {
		n := min(batch, flows-at)
		for i := range n {
			keys[i] = dataplaneFurtherKey{}
			*(*uint32)(unsafe.Pointer(&keys[i])) = uint32(at + i)
			values[i].Serial = 1
		}
		if _, err := m.BatchUpdate(keys[:n], values[:n], nil); err != nil {
			return fmt.Errorf("%v: fill: %w", m, err)
		}
	}
	return nil
}

// timeLookups is how long a row of look-ups of random flows takes, or the same
// without the look-ups.
func timeLookups(m *ebpf.Map, flows int, look bool) (time.Duration, error) {
	const below = -64 // the key on the stack; longer ones are zero behind
	code := asm.Instructions{asm.Mov.Imm(asm.R6, lookups), asm.Mov.Imm(asm.R7, 0)}
	for at := int16(below); at < 0; at += 8 {
		code = append(code, asm.StoreMem(asm.RFP, at, asm.R7, asm.DWord))
	}
	code = append(code,
		asm.FnGetPrandomU32.Call().WithSymbol("again"),
		asm.Mod.Imm(asm.R0, int32(flows)),
		asm.StoreMem(asm.RFP, below, asm.R0, asm.Word),
	)
	if look {
		code = append(code,
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, below),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "none"),
			// What a reply is compared with, all in the first line.
			asm.LoadMem(asm.R1, asm.R0, int16(unsafe.Offsetof(dataplaneFlow{}.Serial)), asm.Word),
			asm.Add.Reg(asm.R7, asm.R1),
			asm.Sub.Imm(asm.R6, 1).WithSymbol("none"),
		)
	} else {
		code = append(code, asm.Sub.Imm(asm.R6, 1))
	}
	code = append(code, asm.JNE.Imm(asm.R6, 0, "again"), asm.Mov.Imm(asm.R0, 0), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		return 0, fmt.Errorf("look-up program: %w", err)
	}
	defer p.Close()
	const repeat = 2000
	best := time.Duration(1<<63 - 1)
	for range 5 { // the least: whoever else ran only added to it
		_, took, err := p.Benchmark(make([]byte, 64), repeat, nil)
		if err != nil {
			return 0, errors.Join(fmt.Errorf("look-up program: %w", err))
		}
		best = min(best, took)
	}
	return best, nil
}
