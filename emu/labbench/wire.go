package labbench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// timerFloor is how much too late the machine wakes a thread like the pump's, at
// the 50th and the 99th percentile, µs: no wire can be more exact.
func timerFloor(length time.Duration) (late [2]float64, err error) {
	var all []float64
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its priority
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		priority := int32(10)
		const fifo = 1 // SCHED_FIFO; the pump, too, does without where it is not allowed
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&priority)))
		const nap = time.Millisecond
		for start := now(); now()-start < int64(length); {
			due := now() + int64(nap)
			ts := unix.NsecToTimespec(int64(nap))
			if _, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0); errno != 0 && errno != unix.EINTR {
				done <- errno
				return
			}
			all = append(all, float64(now()-due)/1e3)
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		return late, fmt.Errorf("timer floor: %w", err)
	}
	slices.Sort(all)
	return [2]float64{all[len(all)/2], all[len(all)*99/100]}, nil
}

func now() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail: the clock exists
	return ts.Nano()
}

// room is a lab of one link with its pump, and a sender and a sink for packets.
type room struct {
	lab      *keeper.Lab
	pump     *pump.Pump
	meter    *pump.Meter
	from, to *net.UDPConn
}

func newRoom(ctx context.Context, o pump.Options, im spec.Impairment) (b *room, err error) {
	b = &room{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	p := pair(1, im)
	if b.lab, err = keeper.Up(ctx, p, nil); err != nil {
		return b, err
	}
	if b.pump, err = pump.Start(b.lab.Spawn, p, o); err != nil {
		return b, err
	}
	if b.meter, err = pump.StartMeter(b.lab.NS, p); err != nil {
		return b, err
	}
	err = b.lab.NS("right").Do(func() (err error) {
		b.to, err = net.ListenUDP("udp4", &net.UDPAddr{IP: right.AsSlice(), Port: 7000}) // never read: it overflows
		return err
	})
	if err != nil {
		return b, err
	}
	err = b.lab.NS("left").Do(func() (err error) {
		b.from, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: right.AsSlice(), Port: 7000})
		return err
	})
	return b, err
}

func (b *room) close() error {
	var errs []error
	for _, c := range []*net.UDPConn{b.from, b.to} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if b.meter != nil {
		errs = append(errs, b.meter.Close())
	}
	if b.pump != nil {
		errs = append(errs, b.pump.Stop())
	}
	if b.lab != nil {
		errs = append(errs, b.lab.Close())
	}
	return errors.Join(errs...)
}

// delayResult is what one round of packets met.
type delayResult struct {
	over  [2]float64 // µs beyond the delay
	sound bool       // nothing was lost, and what was sent was measured
}

// delayed sends packets at the rate across a link of the delay.
func (bench *Bench) delayed(ctx context.Context) (r delayResult, err error) {
	b, err := newRoom(ctx, bench.Pump, spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(delay)}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	packet := make([]byte, 100)
	sent := 0
	for start := time.Now(); time.Since(start) < bench.Length; time.Sleep(time.Second / rate) {
		for due := int(time.Since(start) * rate / time.Second); sent < due; sent++ {
			binary.BigEndian.PutUint32(packet, uint32(sent)) // the meter tells them apart
			if _, err := b.from.Write(packet); err != nil {
				return r, err
			}
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	time.Sleep(4 * delay)
	counts, err := b.pump.Counts()
	if err != nil {
		return r, err
	}
	times, c := b.meter.Measured()[impair.AB].Times, counts[impair.AB]
	r.over = [2]float64{float64(times.P50-delay) / 1e3, float64(times.P99-delay) / 1e3}
	r.sound = c.Unasked() == 0 && c.Sent == uint64(sent) && times.N > rate/100 && r.over[0] > -5
	return r, nil
}

// flooded is how long a processor works for each packet that the pump carries,
// ns, when there are more than it can take.
func (bench *Bench) flooded(ctx context.Context) (perPacket float64, err error) {
	b, err := newRoom(ctx, bench.Pump, spec.Impairment{Delay: spec.Delay{Fixed: unit.Duration(delay)}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	const segment, segments = 64, 60
	raw, err := b.from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment)
	}); err != nil || refused != nil {
		return 0, fmt.Errorf("UDP_SEGMENT: %w", errors.Join(err, refused))
	}
	burst := make([]byte, segment*segments)
	flood := func(length time.Duration) error {
		for start := time.Now(); time.Since(start) < length; {
			// A full queue is what this is about.
			if _, err := b.from.Write(burst); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		return ctx.Err()
	}
	if err := flood(bench.Length / 4); err != nil {
		return 0, err
	}
	before, err := b.spent()
	if err != nil {
		return 0, err
	}
	if err := flood(bench.Length); err != nil {
		return 0, err
	}
	after, err := b.spent()
	if err != nil || after.sent == before.sent {
		return 0, errors.Join(errors.New("the pump carried nothing"), err)
	}
	return float64(after.cpu-before.cpu) / float64(after.sent-before.sent), nil
}

// spent is what the pump has done so far.
type spent struct {
	cpu  int64 // ns of processors
	sent uint64
}

func (b *room) spent() (s spent, err error) {
	counts, err := b.pump.Counts()
	if err != nil {
		return s, err
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", b.pump.Pid()))
	if err != nil {
		return s, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", b.pump.Pid(), task.Name()))
		if err != nil {
			continue // it has ended
		}
		if fields := strings.Fields(string(text)); len(fields) > 0 {
			n, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				return s, fmt.Errorf("schedstat %q: %w", text, err)
			}
			s.cpu += n
		}
	}
	s.sent = counts[impair.AB].Sent
	return s, nil
}
