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
)

// loop is the one goroutine that calls the core.
type loop struct {
	core     core
	uplink   *uplink
	clock    clock
	packets  [afpacket.Batch]hub.Packet
	out      hub.Out
	messages chan message
	// commands arrive from the reader, which then raises pending and the
	// eventfd bell: pending is cheap to look at under load, bell ends a sleep.
	commands chan command
	pending  atomic.Bool
	bell     int
}

func newLoop(c core, u *uplink, base int64) (*loop, error) {
	clock, err := newClock(base)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &loop{
		core: c, uplink: u, clock: clock, bell: bell,
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
	l.core.Close(l.clock.now(), &l.out)
	l.deliver()
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
			l.deliver()
		}
		if !now.Before(l.core.NextWake()) {
			l.core.HandleTimer(now, &l.out)
			l.deliver()
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

// deliver does what the core decided.
func (l *loop) deliver() {
	for i := range l.out.Send {
		l.uplink.send(&l.out.Send[i])
	}
	l.uplink.tx.Flush()
	if len(l.out.Events) > 0 {
		l.messages <- message{Events: slices.Clone(l.out.Events)}
	}
	l.out.Reset()
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
				answer := ""
				if err := l.core.Reconfigure(now, *c.Reconfigure); err != nil {
					answer = err.Error()
				}
				l.messages <- message{Applied: &answer}
			}
		default:
			return nil
		}
	}
}

// sleep waits for a frame, a command or the core's next timer.
func (l *loop) sleep() error {
	timeout := time.Duration(-1)
	if wake := l.core.NextWake(); wake != vt.Never {
		timeout = max(wake.Sub(l.clock.now()), 0)
	}
	return afpacket.Wait([]unix.PollFd{
		{Fd: int32(l.uplink.socket.Fd()), Events: unix.POLLIN},
		{Fd: int32(l.bell), Events: unix.POLLIN},
	}, timeout)
}
