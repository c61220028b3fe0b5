package agent

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/late"
)

// loop is the one goroutine that calls the core.
type loop struct {
	core     core
	uplink   *uplink
	ports    *ports // nil: none
	clock    clock
	packets  [afpacket.Batch]hub.Packet
	out      hub.Out
	messages chan message
	// commands arrive from the reader, which then raises pending and the
	// eventfd bell: pending is cheap to look at under load, bell ends a sleep.
	commands chan command
	pending  atomic.Bool
	bell     int
	// gone is scratch. turns counts batches since the ports were last looked at.
	gone  []hub.Port
	turns int
	late  *late.Log // nil: nothing tells
}

// portTurns is how many batches of a busy uplink pass before the ports are
// looked at: to look costs a system call.
const portTurns = 8

func newLoop(c core, u *uplink, p *ports, base int64) (*loop, error) {
	clock, err := newClock(base)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &loop{
		core: c, uplink: u, ports: p, clock: clock, bell: bell,
		messages: make(chan message, eventQueue), commands: make(chan command, 1),
	}, nil
}

func (l *loop) close() error { return unix.Close(l.bell) }

// readCommands hands the parent's lines to the loop. The end of the lines, or
// junk among them, is the end of the channel.
func (l *loop) readCommands(lines *json.Decoder) {
	ring := binary.NativeEndian.AppendUint64(nil, 1)
	for more := true; more; {
		var c command
		if lines.Decode(&c) == nil {
			l.commands <- c
		} else {
			close(l.commands)
			more = false
		}
		l.pending.Store(true)
		unix.Write(l.bell, ring) // fails only if it already rings
	}
}

var errStop = errors.New("told to stop")

// run serves until a command ends it: nil for stop, after which every flow has
// ended.
func (l *loop) run() error {
	defer pin()()
	err := l.serve()
	if err != errStop {
		return err
	}
	now := l.clock.now()
	l.core.Close(now, &l.out)
	l.deliver(now)
	return nil
}

func (l *loop) serve() error {
	for {
		n, frames, err := l.uplink.receive(&l.packets)
		if err != nil {
			return err
		}
		now := l.clock.now()
		if n > 0 {
			l.core.HandleBatch(now, l.packets[:n], &l.out)
			l.deliver(now)
		}
		if l.late != nil && frames > 0 { // it may have been kept waiting since it came to them, too
			l.late.Note(0, int64(l.clock.now()), int64(l.uplink.stamps.Waited(time.Now())))
		}
		if !now.Before(l.core.NextWake()) {
			l.core.HandleTimer(now, &l.out)
			l.deliver(now)
		}
		if l.turns++; l.ports != nil && (l.turns >= portTurns || frames == 0) {
			if frames, err = l.fromPorts(now, frames); err != nil {
				return err
			}
		}
		if l.pending.Load() {
			if err := l.obey(now); err != nil {
				return err
			}
		}
		if frames == 0 {
			if err := l.sleep(); err != nil {
				return err
			}
		}
	}
}

// fromPorts handles a batch of the connected tunnels inside the server, and
// returns how much came in all: there may be more.
func (l *loop) fromPorts(now vt.Instant, frames int) (int, error) {
	l.turns = 0
	n, gone, err := l.ports.receive(&l.packets, l.gone[:0])
	l.gone = gone
	if err != nil {
		return frames, err
	}
	if n > 0 {
		l.core.HandleBatch(now, l.packets[:n], &l.out)
		l.deliver(now)
	}
	if len(gone) > 0 {
		l.out.Hangup = append(l.out.Hangup, gone...)
		l.deliver(now)
	}
	return frames + n, nil
}

// deliver does what the core decided.
func (l *loop) deliver(now vt.Instant) {
	for more := true; more; {
		for i := range l.out.Send {
			if s := &l.out.Send[i]; s.Port == 0 {
				l.uplink.send(s)
			} else if l.ports != nil {
				l.ports.send(s)
			}
		}
		l.uplink.tx.Flush()
		if len(l.out.Events) > 0 {
			l.messages <- message{Events: slices.Clone(l.out.Events)}
		}
		hangup := append([]hub.Port(nil), l.out.Hangup...)
		l.out.Reset()
		for _, p := range hangup {
			l.ports.hangUp(p)
			l.core.Closed(now, p, &l.out)
		}
		more = len(hangup) > 0 // to be closed may mean something to others
	}
}

// obey runs the commands that have arrived.
func (l *loop) obey(now vt.Instant) error {
	l.pending.Store(false)
	var count [8]byte
	unix.Read(l.bell, count[:]) // silences it; fails only if it does not ring
	for {
		select {
		case c, ok := <-l.commands:
			switch {
			case !ok:
				return ErrParentGone
			case c.Stop:
				return errStop
			case c.Reconfigure != nil:
				l.reconfigure(now, c.Reconfigure)
			case c.Hold != nil:
				l.applied(l.uplink.hold(*c.Hold))
			case c.Learn != nil:
				l.core.Learn(now, c.Learn, &l.out)
				l.deliver(now)
			case c.Look != 0:
				l.messages <- message{Look: &Look{Question: c.Look, Final: *l.final(), Sessions: slices.Collect(l.core.Sessions())}}
			}
		default:
			return nil
		}
	}
}

func (l *loop) reconfigure(now vt.Instant, c *hub.Config) {
	err := l.core.Reconfigure(now, *c)
	if err == nil {
		l.uplink.ends = endsOf(c)
		err = l.uplink.configure(c)
	}
	l.applied(err)
}

// applied answers a command that is waited for.
func (l *loop) applied(err error) {
	answer := ""
	if err != nil {
		answer = err.Error()
	}
	l.messages <- message{Applied: &answer}
}

// sleep waits for a frame, a command or the core's next timer.
func (l *loop) sleep() error {
	timeout := time.Duration(-1)
	if wake := l.core.NextWake(); wake != vt.Never {
		timeout = max(wake.Sub(l.clock.now()), 0)
	}
	fds := []unix.PollFd{
		{Fd: int32(l.bell), Events: unix.POLLIN},
		{Fd: -1, Events: unix.POLLIN}, // a negative one is passed over
	}
	if l.ports != nil {
		fds[1].Fd = int32(l.ports.epoll)
	}
	for _, fd := range l.uplink.fds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return afpacket.Wait(fds, timeout)
}
