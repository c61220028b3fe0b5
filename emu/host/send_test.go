package host_test

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Where the kernel takes long to take a flow's first packet, the flow says so.
func TestSendIsTold(t *testing.T) {
	need.Root(t)
	need.BPF(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	w.serve(t, "echo", 7, nil)
	worlds := map[string]world{"a": w}
	web, ask, ping := flow(plan.TCP, 1, 40000, 443), flow(plan.UDP, 2, 40000, 7), flow(plan.ICMP, 3, 7, 0)
	least := slow(t, w.client)
	for _, f := range []plan.Flow{web, ask, ping} {
		out := run(t, worlds, f)
		wantOK(t, f, out[0])
		if out[0].Send < least {
			t.Errorf("%s: the kernel took %v, want %v or more", f.Proto, out[0].Send, least)
		}
	}
}

// slow has a host's kernel do something useless with each packet before that leaves, and
// says how long that takes at least.
func slow(t *testing.T, h hosttest.Host) time.Duration {
	t.Helper()
	const times, most = 60_000, 512 // sums of so many bytes, 10 ns at the very least
	code := asm.Instructions{asm.Mov.Imm(asm.R7, times), asm.Mov.Imm(asm.R1, 0)}
	for at := -most; at < 0; at += 8 {
		code = append(code, asm.StoreMem(asm.R10, int16(at), asm.R1, asm.DWord))
	}
	code = append(code,
		asm.Mov.Imm(asm.R1, 0).WithSymbol("again"),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, -most),
		asm.Mov.Imm(asm.R4, most),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnCsumDiff.Call(),
		asm.Sub.Imm(asm.R7, 1),
		asm.JNE.Imm(asm.R7, 0, "again"),
		asm.Mov.Imm(asm.R0, -1), // TCX_NEXT
		asm.Return(),
	)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL", Instructions: code})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var l link.Link
	err = h.NS.Do(func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 && err == nil {
				l, err = link.AttachTCX(link.TCXOptions{Program: p, Interface: i.Index, Attach: ebpf.AttachTCXEgress})
			}
		}
		return err
	})
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	t.Cleanup(func() { l.Close() })
	return times * 10 * time.Nanosecond
}
