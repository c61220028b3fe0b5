package pump

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/late"
)

// way is one direction of a link.
type way struct {
	link      string
	number    int // in the order in which links came, each with two ways
	direction impair.Direction
	model     *impair.Line
	in        *ring
	out       *sender
	queue     queue
	latest    int64 // arrival: the kernel's clock may go back
	since     int64 // when the first of those in out was due
	unheld    uint64
	asked     times
	late      times
}

func (w *way) close() error { return errors.Join(w.in.close(), w.out.close()) }

// loop carries the packets of some links on one thread.
type loop struct {
	wires  []*way
	store  *store
	agenda agenda
	// leaving are the slots of what was added to senders and not flushed.
	leaving []slot
	touched []*way // whose senders have something to flush
	poll    int    // epoll
	events  [batch]unix.EpollEvent
	bell    int // eventfd: there is a job
	jobs    chan func()
	clock   clock
	ended   bool
	late    *late.Log     // of packets that left late, each by its way's number
	gone    chan struct{} // closed when run has returned
}

func newLoop(frame, memory int, c clock) (*loop, error) {
	l := &loop{clock: c, poll: -1, bell: -1, jobs: make(chan func(), 1), gone: make(chan struct{}), leaving: make([]slot, 0, 2*batch), agenda: make(agenda, 0, pieceSlots), late: late.New()}
	var err error
	if l.store, err = newStore(frame, memory); err != nil {
		return nil, err
	}
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), l.close())
	}
	return l, l.watch(l.bell, rung)
}

// rung is what epoll says of the bell; of a ring it says which wire's it is.
const rung int32 = -1

func (l *loop) watch(fd int, says int32) error {
	if err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: says}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// add takes a wire in; in and out are the loop's from now on.
func (l *loop) add(w *way) error {
	l.wires = append(l.wires, w)
	return l.watch(w.in.fd, int32(len(l.wires)-1))
}

func (l *loop) close() error {
	errs := []error{abreast(len(l.wires), func(i int) error { return l.wires[i].close() })}
	for _, fd := range []int{l.poll, l.bell} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// errGone is the answer of a loop that an error has ended.
var errGone = errors.New("the loop has ended")

// do runs a job on the loop's thread, between packets, and waits for its end.
func (l *loop) do(job func()) error {
	done := make(chan struct{})
	select {
	case l.jobs <- func() { job(); close(done) }:
	case <-l.gone:
		return errGone
	}
	one := uint64(1)
	if _, err := unix.Write(l.bell, (*[8]byte)(unsafe.Pointer(&one))[:]); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-l.gone:
		return errGone
	}
}

// few is up to how many rings are looked into without asking which are ready:
// that costs less than a system call.
const few = 8

// run carries packets until a job ends it. It owns the calling thread.
func (l *loop) run() error {
	defer close(l.gone)
	for !l.ended {
		select {
		case job := <-l.jobs:
			job()
			continue
		default:
		}
		if len(l.wires) <= few && l.scan() > 0 {
			l.send()
			continue
		}
		l.send()
		wait := int64(-1)
		if len(l.agenda) > 0 {
			wait = max(l.agenda[0].at-l.clock.now(), 0)
		}
		ready, err := l.sleep(wait)
		if err != nil {
			return err
		}
		now, real := l.clock.both()
		for _, e := range l.events[:ready] {
			if e.Fd >= 0 {
				l.receive(e.Fd, l.wires[e.Fd], now, real)
			}
		}
	}
	return nil
}

// scan looks into every ring, and says how many packets there were.
func (l *loop) scan() (got int) {
	now, real := l.clock.both()
	for i, w := range l.wires {
		got += l.receive(int32(i), w, now, real)
	}
	return got
}

// clock tells the loop's time, ns since it was made, which never goes back.
type clock struct {
	began time.Time
	zero  int64 // of the run, ns, when it was made
}

// newClock makes the clock of a run that began at base by CLOCK_MONOTONIC, ns.
func newClock(base int64) (clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	return clock{time.Now(), ts.Nano() - base}, nil
}

// both are the loop's time and the one that the kernel stamps packets with, of
// the same moment and without a system call.
func (c clock) both() (now, real int64) {
	t := time.Now()
	return int64(t.Sub(c.began)), t.UnixNano()
}

func (c clock) now() int64 { return int64(time.Since(c.began)) }

// stampTrust bounds how long ago the kernel's stamp can say that a packet came:
// beyond it, its clock was set.
const stampTrust = int64(time.Second)

// receive takes what waits in a ring, up to a batch, and says how much that was.
func (l *loop) receive(index int32, w *way, now, real int64) int {
	for n := range batch {
		f, ok := w.in.peek()
		if !ok {
			return n
		}
		// The delay counts from when the packet came, not from when the loop got
		// round to it.
		at := now
		if age := real - f.real; age > 0 && age < stampTrust {
			at -= age
		}
		w.latest = max(w.latest, at)
		if f.cut || len(f.data) < ethernet {
			w.unheld++
		} else {
			l.take(index, w, f.data)
		}
		w.in.release()
	}
	return batch
}

// take asks the model about a frame and holds it.
func (l *loop) take(index int32, w *way, frame []byte) {
	fate := w.model.Send(vt.Instant(w.latest), len(frame)-ethernet)
	if fate.End != impair.Passed {
		return
	}
	w.asked.add(fate.At.Sub(vt.Instant(w.latest)))
	if fate.Congested && pkt.Mark(frame[ethernet:]) {
		w.model.Marked()
	}
	if fate.Flip >= 0 {
		frame[ethernet+fate.Flip/8] ^= 0x80 >> (fate.Flip % 8)
	}
	copies := 1
	if fate.Twice {
		copies = 2
	}
	for range copies {
		h := held{at: int64(fate.At), slot: l.store.take(frame), length: int32(len(frame))}
		switch {
		case h.slot == none:
			w.unheld++
		case fate.Overtook:
			l.agenda.push(due{h.at, index, h})
		default:
			w.queue.push(h)
			if w.queue.size == 1 {
				l.agenda.push(due{h.at, index, held{slot: none}})
			}
		}
	}
}

// send sends what is due.
func (l *loop) send() {
	if len(l.agenda) == 0 {
		return
	}
	now := l.clock.now()
	for len(l.agenda) > 0 && l.agenda[0].at <= now {
		d := l.agenda[0]
		l.agenda.pop()
		w := l.wires[d.wire]
		if d.overtake.slot != none {
			l.leave(w, &d.overtake, now)
			continue
		}
		for w.queue.size > 0 && w.queue.head().at <= now {
			l.leave(w, w.queue.head(), now)
			w.queue.pop()
		}
		if w.queue.size > 0 {
			l.agenda.push(due{w.queue.head().at, d.wire, held{slot: none}})
		}
	}
	l.flush()
}

func (l *loop) leave(w *way, h *held, now int64) {
	if w.out.full() {
		l.flush()
	}
	if w.out.n == 0 {
		l.touched = append(l.touched, w)
		w.since = h.at
	}
	w.since = min(w.since, h.at)
	w.late.add(time.Duration(now - h.at))
	w.out.add(l.store.at(h.slot, int(h.length)))
	l.leaving = append(l.leaving, h.slot)
}

// flush sends all batches, and has their slots back. How late they were is known only
// then: to send, too, may take long.
func (l *loop) flush() {
	for _, w := range l.touched {
		w.out.flush()
	}
	if len(l.touched) > 0 {
		now := l.clock.now()
		for _, w := range l.touched {
			l.late.Note(int32(w.number), now, now-w.since)
		}
	}
	l.touched = l.touched[:0]
	for _, s := range l.leaving {
		l.store.give(s)
	}
	l.leaving = l.leaving[:0]
}

// sleep waits until a packet comes, the bell rings, or so many nanoseconds have
// passed; negative means no limit. It says how many events there are.
//
// The call is raw: the runtime's hand-over of the thread's processor would cost
// tens of microseconds on return. The process has a processor to spare.
func (l *loop) sleep(ns int64) (int, error) {
	var limit *unix.Timespec
	if ns >= 0 {
		ts := unix.NsecToTimespec(ns)
		limit = &ts
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.poll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(limit)), 0, 0)
	switch errno {
	case 0:
	case unix.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("epoll_pwait2: %w", errno)
	}
	for _, e := range l.events[:n] {
		if e.Fd == rung {
			var count [8]byte
			_, _ = unix.Read(l.bell, count[:])
		}
	}
	return int(n), nil
}

// end has run return, and waits for it.
func (l *loop) end() {
	// A loop that has ended by an error needs no telling.
	_ = l.do(func() { l.ended = true })
}
