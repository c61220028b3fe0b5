package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/thread"
)

// core is the hub as the loop needs it; tests have a fake.
type core interface {
	HandleBatch(now vt.Instant, in []hub.Packet, out *hub.Out)
	HandleTimer(now vt.Instant, out *hub.Out)
	NextWake() vt.Instant
	Reconfigure(now vt.Instant, c hub.Config) error
	Learn(now vt.Instant, news []hub.Attachment, out *hub.Out)
	Closed(now vt.Instant, port hub.Port, out *hub.Out)
	SetFast(f hub.Fast)
	Counters() hub.Counters
	Sessions() iter.Seq[hub.Session]
	Close(now vt.Instant, out *hub.Out)
}

// ErrParentGone is how Main ends when its stdin is closed without a stop.
var ErrParentGone = errors.New("agent: the parent is gone")

// Runtime settings: a hub's heap is its flow table, long-lived; collecting it
// rarely costs memory up to the limit and saves pauses in the packet path.
const (
	gcPercent   = 400
	memoryLimit = 1 << 30
)

// Main is the child's life: it reads the header and commands from in, writes
// messages to out, and serves the uplink of the namespace it runs in until it
// is told to stop (nil) or the parent goes away (ErrParentGone).
func Main(in io.Reader, out io.Writer) error { return serve(in, out, newHub) }

func newHub(c hub.Config) (core, error) { return hub.New(c) }

func serve(in io.Reader, out io.Writer, newCore func(hub.Config) (core, error)) error {
	thread.Room()
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	lines := json.NewDecoder(in)
	var h header
	if err := lines.Decode(&h); err != nil {
		return fmt.Errorf("agent: read header: %w", err)
	}
	c, err := newCore(h.Server.Config)
	if err != nil {
		return fmt.Errorf("agent %s: %w", h.Server.Node, err)
	}
	u, err := openUplink(&h)
	if err != nil {
		return fmt.Errorf("agent %s: %w", h.Server.Node, err)
	}
	defer u.close()
	if u.fast != nil {
		c.SetFast(u.fast)
	}
	var p *ports
	if h.Socket != "" {
		if p, err = openPorts(h.Socket); err != nil {
			return fmt.Errorf("agent %s: %w", h.Server.Node, err)
		}
		defer p.close()
	}
	l, err := newLoop(c, u, p, h.Base)
	if err != nil {
		return fmt.Errorf("agent %s: %w", h.Server.Node, err)
	}
	defer l.close()
	var writer sync.WaitGroup
	controlling := func() {}
	if h.Realtime {
		controlling = thread.Controlling
	}
	writer.Go(func() {
		controlling()
		writeMessages(out, l.messages)
	})
	hello := u.hello
	hello.Pid = os.Getpid()
	l.messages <- message{Hello: &hello}
	go func() {
		controlling()
		l.readCommands(lines)
	}()
	if h.Realtime {
		runtime.LockOSThread() // for good, as the process ends with it
		thread.Realtime(thread.Nodes)
		if u.stamps != nil && u.stamps.Stamp() == nil { // a kernel that does not tell is no failure
			l.late = late.New()
		}
	}
	err = l.run()
	if err == nil {
		final := l.final()
		final.Late = l.late.Told()
		l.messages <- message{Final: final}
	}
	close(l.messages)
	writer.Wait()
	return err
}

// writeMessages writes until the channel is closed. When nobody reads any more
// it keeps draining, so that the loop can come to its end.
func writeMessages(out io.Writer, messages <-chan message) {
	lines := json.NewEncoder(out)
	broken := false
	for m := range messages {
		if !broken && lines.Encode(m) != nil {
			broken = true
		}
	}
}

// clock is the run's time: CLOCK_MONOTONIC less the run's base.
type clock struct {
	start time.Time
	at    vt.Instant // at start
}

func newClock(base int64) (clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("clock: %w", err)
	}
	return clock{start: time.Now(), at: vt.Instant(ts.Nano() - base)}, nil
}

func (c clock) now() vt.Instant { return c.at + vt.Instant(time.Since(c.start)) }

// final is what the process reports before it ends.
func (l *loop) final() *Final {
	f := &Final{Counters: l.core.Counters(), Drops: make(map[string]uint64), IO: l.uplink.counters()}
	if l.uplink.fast != nil {
		l.uplink.fast.count(&f.Counters)
	}
	for _, r := range drop.Reasons() {
		if n := f.Counters.Drops[r]; n != 0 {
			f.Drops[r.String()] = n
		}
	}
	if l.ports != nil {
		l.ports.addTo(f.IO)
	}
	f.MaxRSS = peak()
	return f
}

// pin keeps the loop on one thread: its caches stay warm and wake-ups are
// direct.
func pin() (unpin func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// peak is the most memory that the process held. What getrusage(2) says would
// include the parent's: a process begins in the memory of who started it.
func peak() unit.Bytes {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return unit.Bytes(n) << 10
		}
	}
	return 0
}
