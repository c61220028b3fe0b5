package loop

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/late"
)

// watch notes how late a loop's worker was done with what waited for it: it may be kept
// waiting between reading a packet and sending it on, too.
type watch struct {
	log  *late.Log
	zero time.Time
	// stamps are when the last packet came that was read from a descriptor, by the
	// wall clock, ns.
	stamps map[int32]int64
}

// Watch has a log told from now on when the worker was late with packets, ns since zero.
// Of packets that it takes in one turn the last counts. Descriptors that have no
// packets with the kernel's time of arrival tell nothing.
func (l *Loop) Watch(log *late.Log, zero time.Time) {
	if log != nil {
		l.watch.Store(&watch{log: log, zero: zero, stamps: map[int32]int64{}})
		l.Ring()
	}
}

// ask has descriptors tell of packets from the next on that were not asked before: the kernel
// notes when packets come once it was asked, and a tunnel's first may be a handshake's.
func (w *watch) ask(fds []unix.PollFd) {
	for i := range fds {
		if _, asked := w.stamps[fds[i].Fd]; !asked {
			w.stamps[fds[i].Fd] = stamp(fds[i].Fd)
		}
	}
}

// note asks the descriptors that were ready when their last packets came; the worker's
// turn is over now.
func (w *watch) note(ready []unix.PollFd, now time.Time) {
	for i := range ready {
		fd := ready[i].Fd
		if ready[i].Revents&unix.POLLIN == 0 {
			continue
		}
		at := stamp(fd)
		was := w.stamps[fd]
		if w.stamps[fd] = at; at == 0 || at == was {
			continue // none was read
		}
		if d := now.UnixNano() - at; d < int64(trust) {
			w.log.Note(0, int64(now.Sub(w.zero)), d)
		}
	}
}

// trust bounds how long ago a packet can have come: beyond it, the wall clock was set.
const trust = 10 * time.Second

// stamp is when the last packet came that was read from a socket; 0 if it does not
// tell, as before it was asked for the first time.
func stamp(fd int32) int64 {
	var at [2]int64 // seconds and ns
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGSTAMPNS_NEW, uintptr(unsafe.Pointer(&at)))
	if errno != 0 {
		return 0
	}
	return at[0]*int64(time.Second) + at[1]
}
