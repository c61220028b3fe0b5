package pump

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

func TestPassages(t *testing.T) {
	type see struct {
		packet  uint64
		real    int64
		leaving bool
	}
	tests := []struct {
		name string
		see  []see
		want string // number and median
	}{
		{"one", []see{{1, 1000, true}, {1, 6000, false}}, "1 5µs"},
		{"the far end is read first", []see{{1, 6000, false}, {1, 1000, true}}, "1 5µs"},
		{"two, the second overtakes", []see{{1, 1000, true}, {2, 2000, true}, {2, 3000, false}, {1, 9000, false}}, "2 1µs"},
		{"lost", []see{{1, 1000, true}, {2, 2000, true}, {2, 3000, false}}, "1 1µs"},
		{"two that look alike", []see{{1, 1000, true}, {1, 2000, true}, {1, 3000, false}, {1, 4000, false}}, "0 0s"},
		{"a copy", []see{{1, 1000, true}, {1, 6000, false}, {1, 6001, false}}, "1 5µs"},
	}
	for _, tt := range tests {
		p := newPassages(0, 1)
		for _, s := range tt.see {
			p.pass(s.packet, s.real, s.leaving, 1)
		}
		s := p.times.spread()
		if got := fmt.Sprint(s.N, " ", s.P50.Round(time.Microsecond)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	// What is old enough is forgotten, what is young is not.
	p := newPassages(0, 1)
	start := time.Now()
	p.age(start)
	p.pass(1, 0, true, 1)
	p.age(start.Add(memoryLeast))
	p.pass(2, 0, true, 1)
	p.age(start.Add(2 * memoryLeast))
	p.pass(1, 5000, false, 1)
	p.pass(2, 5000, false, 1)
	if n := p.times.spread().N; n != 1 {
		t.Errorf("%d passages, want that of the younger alone", n)
	}
}

// The filter takes all packets, half, a quarter …, each sample within the one
// before, and none that is too short. The virtual machine is not the kernel's.
func TestSample(t *testing.T) {
	run := func(mask uint32, frame []byte) bool {
		var code []bpf.Instruction
		for _, f := range sample(mask) {
			code = append(code, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble())
		}
		vm, err := bpf.NewVM(code)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(frame)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	const n = 2000
	// An echo request counts in its sequence, a tunnelled segment in its inner id.
	for name, frame := range map[string]struct{ length, at int }{"echo": {ethernet + 28, 40}, "tunnelled": {1500, 42}} {
		for _, mask := range []uint32{0, 1, 3, 15} {
			taken := 0
			for i := range n {
				b := make([]byte, frame.length)
				b[frame.at], b[frame.at+1] = byte(i>>8), byte(i)
				if !run(mask, b) {
					continue
				}
				taken++
				if !run(mask>>1, b) {
					t.Errorf("%s: packet %d is in the sample %x and not in the larger one", name, i, mask)
				}
			}
			if want := n / int(mask+1); taken < want*3/4 || taken > want*5/4 {
				t.Errorf("%s: %d of %d with mask %x, want about %d", name, taken, n, mask, want)
			}
		}
	}
	if run(0, make([]byte, ethernet+27)) {
		t.Error("a frame that is too short is taken")
	}
}

// Packets that left before the change are not among those after it, whenever
// they arrive and whichever end is read first.
func TestPassagesAfresh(t *testing.T) {
	p := newPassages(0, 1)
	at := time.Unix(100, 0)
	now := at.UnixNano()
	p.pass(1, now-5000, true, 1)
	p.pass(2, now-9000, true, 1)
	p.pass(2, now-1000, false, 1)
	p.afresh(at, time.Minute, 1)
	p.pass(1, now+50_000, false, 1)
	p.pass(3, now+1000, true, 1)
	p.pass(3, now+8000, false, 1)
	p.pass(4, now+9000, false, 1)
	p.pass(4, now+2000, true, 1)
	if all, fresh := p.times.spread(), p.fresh.spread(); all.N != 4 || fresh.N != 2 || fresh.Max.Round(time.Microsecond) != 7*time.Microsecond {
		t.Errorf("in all %+v, want 4; since the change %+v, want 2 of 7µs", all, fresh)
	}
	if p.memory != time.Minute {
		t.Errorf("packets are remembered for %v, want a minute", p.memory)
	}
}

// A sample that becomes smaller on the way says the same of all packets: each counts
// for as many as it stands for, and is one that was seen.
func TestPassagesStandForOthers(t *testing.T) {
	p := newPassages(0, 1)
	cross := func(packet uint64, took time.Duration, of int64) {
		p.pass(packet, 1000, true, of)
		p.pass(packet, 1000+int64(took), false, of)
	}
	for n := range uint64(40) {
		cross(n, 80*time.Millisecond, 1)
	}
	for n := range uint64(10) {
		cross(100+n, 20*time.Millisecond, 8)
	}
	if s := p.times.spread(); s.N != 50 || s.P50.Round(time.Millisecond) != 20*time.Millisecond || s.P99.Round(time.Millisecond) != 80*time.Millisecond {
		t.Errorf("%+v, want 50 packets, of which 80 of 120 took 20 ms and the rest 80", s)
	}
}
