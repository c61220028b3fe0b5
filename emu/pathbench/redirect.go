package pathbench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// redirectBy puts the least that a server could do at an uplink: other MAC
// addresses, and back out, by that helper. It is the limit of what programs there
// can reach.
func redirectBy(helper asm.BuiltinFunc) func(ifindex int, macs [12]byte) (attached, error) {
	return func(ifindex int, macs [12]byte) (attached, error) {
		c, err := attachRedirect(ifindex, ifindex, macs, helper)
		return attached{close: c}, err
	}
}

func attachRedirect(ifindex, to int, macs [12]byte, helper asm.BuiltinFunc) (func() error, error) {
	return attachTCX(ifindex, sendTo(to, macs, helper))
}

// sendTo writes the MAC addresses of the packet in R1 and sends it by the helper.
func sendTo(ifindex int, macs [12]byte, helper asm.BuiltinFunc) asm.Instructions {
	word := func(at int) int64 { return int64(int32(binary.NativeEndian.Uint32(macs[at:]))) }
	return asm.Instructions{
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
	}
}

// attachHelpers is what redirect_peer is, and what no program can do without that
// takes packets out of GRE and puts them into it: room for the outer header, given
// and taken away again. Half of what that takes more is the least of one direction.
func attachHelpers(ifindex int, macs [12]byte) (attached, error) {
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	code = adjustRoom(code, outerRoom, pushRoom)
	code = adjustRoom(code, -outerRoom, keepRoom)
	code = append(code, asm.Mov.Reg(asm.R1, asm.R6))
	c, err := attachTCX(ifindex, append(code, sendTo(ifindex, macs, asm.FnRedirectPeer)...))
	return attached{close: c}, err
}

const (
	outerRoom = 24                     // IPv4 and GRE
	keepRoom  = 1<<0 | 1<<5            // BPF_F_ADJ_ROOM_FIXED_GSO, _NO_CSUM_RESET
	pushRoom  = keepRoom | 1<<1 | 1<<3 // _ENCAP_L3_IPV4, _ENCAP_L4_GRE
)

// adjustRoom appends a call of bpf_skb_adjust_room behind the Ethernet header of
// the packet in R6.
func adjustRoom(code asm.Instructions, by, flags int32) asm.Instructions {
	const atMAC = 1 // BPF_ADJ_ROOM_MAC
	return append(code, asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, by), asm.Mov.Imm(asm.R3, atMAC), asm.Mov.Imm(asm.R4, flags), asm.FnSkbAdjustRoom.Call())
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
	state   *ebpf.Map
	frame   []byte
}

// pace is the state of a source: when its next batch is due, CLOCK_MONOTONIC ns,
// how much later each further one, and how long it has waited for that.
type pace struct{ Next, Every, Waited, Sent uint64 }

// together is how many frames the kernel handles at a time.
const together = 64

// newSource makes a source of the frame, whose size is a multiple of 4. Pages come
// back as they were left, so that all of it is written each time.
func newSource(ifindex int, frame []byte) (*source, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(pace{})), MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("source of frames: %w", err)
	}
	code := append(waitDue(m),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word).WithSymbol("write"), // data
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word),                     // its end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(frame))),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
	)
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
		return nil, errors.Join(fmt.Errorf("source of frames: %w", err), m.Close())
	}
	return &source{p, m, frame}, nil
}

// waitDue has the first frame of each batch wait until that is due, as a sender
// does that is no faster than who receives. It leaves the context in R6.
func waitDue(m *ebpf.Map) asm.Instructions {
	const next, every, waited, sent = 0, 8, 16, 24
	const looks = 4096 // at the clock at most, some 20 ns each: the verifier wants a bound
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMapValue(asm.R7, m.FD(), 0),
		asm.LoadMem(asm.R1, asm.R7, sent, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R7, sent, asm.R1, asm.DWord),
		asm.And.Imm(asm.R2, together-1),
		asm.JNE.Imm(asm.R2, 0, "write"),
		asm.LoadMem(asm.R1, asm.R7, every, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, "write"),
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.Mov.Imm(asm.R1, looks),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R7, next, asm.DWord).WithSymbol("look"),
		asm.JGE.Reg(asm.R0, asm.R1, "due"),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord),
		asm.Sub.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.JNE.Imm(asm.R1, 0, "look"),
		asm.Mov.Reg(asm.R1, asm.R0).WithSymbol("due"),
		asm.Sub.Reg(asm.R0, asm.R8),
		asm.LoadMem(asm.R2, asm.R7, waited, asm.DWord),
		asm.Add.Reg(asm.R2, asm.R0),
		asm.StoreMem(asm.R7, waited, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R7, every, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.StoreMem(asm.R7, next, asm.R1, asm.DWord),
	}
}

// send sends n frames from the calling thread's namespace, each batch at the
// soonest so long after the one before, and returns how long it waited for that.
func (s *source) send(n int, every time.Duration) (waited time.Duration, err error) {
	if err := s.state.Put(uint32(0), &pace{Every: uint64(every)}); err != nil {
		return 0, err
	}
	const liveFrames = 1 << 1 // BPF_F_TEST_XDP_LIVE_FRAMES
	if _, err := s.program.Run(&ebpf.RunOptions{Data: s.frame, Repeat: uint32(n), Flags: liveFrames, BatchSize: together}); err != nil {
		return 0, err
	}
	var p pace
	err = s.state.Lookup(uint32(0), &p)
	return time.Duration(p.Waited), err
}

func (s *source) close() error { return errors.Join(s.program.Close(), s.state.Close()) }
