package pathbench

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/reports/figure"
)

// warm are the program's times where all that it looks up is in the processor's
// caches, as for one flow's packets in a row; beside what its helper takes that makes
// room for the outer header or takes it away, and which no program can do without.
func (s *server) warm(rounds int) (rows []figure.Row, err error) {
	for _, c := range []struct {
		id          string
		packet      []byte
		room, flags int32
	}{
		{"dataplane.forward_warm_ns", s.up(0), -outerRoom, keepRoom},
		{"dataplane.return_warm_ns", s.down(0), outerRoom, pushRoom},
	} {
		again := func(int) []byte { return c.packet }
		took, err := s.time(rounds, again, false)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.id, err)
		}
		helper, err := timeRoom(frames(rounds, again), c.room, c.flags)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.id, err)
		}
		rows = append(rows, figure.Cost(c.id, took, "ns").Beside("making or taking room alone", helper))
	}
	return rows, nil
}

// timeRoom is the median of what one call of bpf_skb_adjust_room takes.
func timeRoom(frames [][]byte, room, flags int32) (float64, error) {
	code := adjustRoom(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, room, flags)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: append(code, asm.Return())})
	if err != nil {
		return 0, fmt.Errorf("helper alone: %w", err)
	}
	defer p.Close()
	with, empty, err := bpf.TimeProgram(p, frames)
	if err != nil {
		return 0, err
	}
	return middle(with) - middle(empty), nil
}
