package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Timer times pieces of a fast path by themselves (BPF_PROG_TEST_RUN), around its
// maps and flows: no link, no queue, no wake-up. Use NewTimer; Close it before
// the fast path.
type Timer struct {
	programs benchPrograms
	repeat   int
}

// A figure is the median of so many series of so many runs each: a series is short,
// so that few are cut by who else wants the processor.
const (
	timedSeries = 65
	timedRuns   = 1 << 14
)

// verdictPass is what a timed program returns when all was as expected.
const verdictPass = 2

// NewTimer makes a timer for d. Replies are drawn from so many egress addresses,
// a power of two, from the given frame's on.
func (d *Dataplane) NewTimer(reply []byte, addresses int) (*Timer, error) {
	if len(reply) < 34 || addresses < 1 || addresses&(addresses-1) != 0 {
		return nil, fmt.Errorf("want a frame of IPv4 and a power of two of addresses, got %d bytes and %d", len(reply), addresses)
	}
	spec, err := d.spec.prepare(loadBench)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		spec.Variables[benchVarAddresses].Set(uint32(addresses)),
		spec.Variables[benchVarFirstAddress].Set(binary.BigEndian.Uint32(reply[30:])))
	if err != nil {
		return nil, err
	}
	t := &Timer{repeat: timedRuns}
	if err := spec.LoadAndAssign(&t.programs, &ebpf.CollectionOptions{MapReplacements: d.maps()}); err != nil {
		return nil, fmt.Errorf("load timed programs: %w", err)
	}
	return t, nil
}

// Replies is what it takes to decide a reply to any of the flows, each as likely
// as the others: parsed, found, counted. There must be a flow behind each port
// from 2048 on of each address.
func (t *Timer) Replies(frame []byte) (time.Duration, error) {
	with, err := t.run(t.programs.DrawAndDecide, frame)
	if err != nil {
		return 0, err
	}
	without, err := t.run(t.programs.DrawOnly, frame)
	return with - without, err
}

// Decision is what it takes to decide a frame that the fast path carries or hands
// over, always the same one.
func (t *Timer) Decision(frame []byte) (time.Duration, error) {
	return t.run(t.programs.DecideOnly, frame)
}

// Steering is what it takes to hand a reply to the owner of its slice, outer header
// and all.
func (t *Timer) Steering(frame []byte) (time.Duration, error) {
	return t.run(t.programs.Steer, frame)
}

func (t *Timer) run(p *ebpf.Program, frame []byte) (time.Duration, error) {
	took := make([]time.Duration, timedSeries)
	for i := range took {
		verdict, each, err := p.Benchmark(frame, t.repeat, nil)
		if err == nil && verdict != verdictPass {
			err = fmt.Errorf("%v: the frame was not decided as it must be to be timed", p)
		}
		if err != nil {
			return 0, err
		}
		took[i] = each
	}
	slices.Sort(took)
	return took[timedSeries/2], nil
}

// Close unloads the timed programs.
func (t *Timer) Close() error { return t.programs.Close() }
