package pathbench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// redirectBy puts the least that a server could do at an uplink: other MAC
// addresses, and back out, by that helper. It is the limit of what programs there
// can reach.
func redirectBy(helper asm.BuiltinFunc) func(ifindex int, macs [12]byte) (func() error, error) {
	return func(ifindex int, macs [12]byte) (func() error, error) { return attachRedirect(ifindex, macs, helper) }
}

func attachRedirect(ifindex int, macs [12]byte, helper asm.BuiltinFunc) (func() error, error) {
	word := func(at int) int64 { return int64(int32(binary.NativeEndian.Uint32(macs[at:]))) }
	return attachTCX(ifindex, asm.Instructions{
		asm.StoreImm(asm.RFP, -16, word(0), asm.Word),
		asm.StoreImm(asm.RFP, -12, word(4), asm.Word),
		asm.StoreImm(asm.RFP, -8, word(8), asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.Mov.Imm(asm.R4, int32(len(macs))),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		helper.Call(),
		asm.Return(),
	})
}

// attachSink ends what arrives, after packet sockets have seen it.
func attachSink(ifindex int) (func() error, error) {
	const tcxDrop = 2
	return attachTCX(ifindex, asm.Instructions{asm.Mov.Imm(asm.R0, tcxDrop), asm.Return()})
}

func attachTCX(ifindex int, code asm.Instructions) (func() error, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXIngress, License: "GPL", Instructions: code})
	if err != nil {
		return nil, fmt.Errorf("bench program: %w", err)
	}
	l, err := link.AttachTCX(link.TCXOptions{Program: p, Interface: ifindex, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bench program: %w", err), p.Close())
	}
	return func() error { return errors.Join(l.Close(), p.Close()) }, nil
}

// source makes frames in the kernel, and so costs little beside what they cost:
// a program for XDP's live frames, which sends its frame to an interface.
type source struct {
	program *ebpf.Program
	frame   []byte
}

// newSource makes a source of the frame, whose size is a multiple of 4. Pages come
// back as they were left, so that all of it is written each time.
func newSource(ifindex int, frame []byte) (*source, error) {
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // its end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(frame))),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
	}
	for at := 0; at < len(frame); at += 4 {
		code = append(code, asm.StoreImm(asm.R2, int16(at), int64(int32(binary.NativeEndian.Uint32(frame[at:]))), asm.Word))
	}
	const xdpAborted = 0
	code = append(code,
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpAborted).WithSymbol("short"),
		asm.Return(),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: code})
	if err != nil {
		return nil, fmt.Errorf("source of frames: %w", err)
	}
	return &source{p, frame}, nil
}

// send sends n frames from the calling thread's namespace.
func (s *source) send(n int) error {
	const liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	_, err := s.program.Run(&ebpf.RunOptions{Data: s.frame, Repeat: uint32(n), Flags: liveFrames, BatchSize: 64})
	return err
}
