package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/emu/tail"
	"github.com/homeward-lab/homeward/emu/thread"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Options say how Start runs a child. Exe, UplinkMAC and GatewayMAC are
// required.
type Options struct {
	// Exe and Args are a command that calls Main: /proc/self/exe and the hidden
	// subcommand.
	Exe  string
	Args []string
	// Base is CLOCK_MONOTONIC at the start of the run, ns: the instant 0 of
	// every event.
	Base int64
	// IO is the engine; the zero value takes the best that works.
	IO IO
	// Dataplane carries flows; the zero value is Hub.
	Dataplane Dataplane
	// Peer has EBPF hand packets to the uplink's other end at once: nothing there
	// shapes them, and nobody wants to see them leave.
	Peer bool
	// UplinkMAC is the server's address on its uplink, GatewayMAC the edge
	// router's at the other end.
	UplinkMAC, GatewayMAC net.HardwareAddr
	// Socket is where programs of the server's connect to its hub (SEMANTICS 4.1):
	// a path that does not exist, or a name that begins with @, which is seen in
	// the server's network namespace alone. Empty means nowhere.
	Socket string
	// Flows is the most that EBPF carries at once, which its maps have room for: what
	// is more stays with the hub. 0, as more, means bpf.DefaultFlows. A bound of the
	// server's own (hub.Bounds) goes before.
	Flows int
	// Realtime has the hub's thread go before all others, where that is allowed: for
	// labs whose times count. Throughput is better without, as packets come in
	// greater batches.
	Realtime bool
	// OnEvent is called for every event of the hub, in order, by one goroutine;
	// while it runs the child's next events wait. Nil means events are thrown away.
	OnEvent func(Event)
	// Hello is how long the child may take to be ready; 0 means 10 s.
	Hello time.Duration
}

// Agent is a running child. Its methods are safe for concurrent use.
type Agent struct {
	node    string
	cmd     *exec.Cmd
	fast    bool // the kernel carries flows
	stderr  *tail.Tail
	onEvent func(Event)

	mu      sync.Mutex // one command at a time
	stdin   io.WriteCloser
	hello   Hello
	ready   chan Hello
	applied chan string
	looks   chan Look
	asked   int // looks, so far

	done  chan struct{}
	final *Final // set before done is closed
	exit  error  // likewise
}

// Start runs a child for the server s: spawn must start the command inside the
// namespace of the node it is given, and leave waiting for it to the agent.
// Start returns when the child serves its uplink; an error quotes what the
// child said on stderr.
func Start(spawn func(node string, cmd *exec.Cmd) error, s plan.Server, o Options) (*Agent, error) {
	a := &Agent{
		node: s.Node, fast: o.Dataplane == EBPF, cmd: exec.Command(o.Exe, o.Args...), stderr: tail.New(tailMax), onEvent: o.OnEvent,
		ready: make(chan Hello, 1), applied: make(chan string, 1), looks: make(chan Look, 1), done: make(chan struct{}),
	}
	a.cmd.Stderr = a.stderr
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Node, err)
	}
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Node, err)
	}
	if err := spawn(s.Node, a.cmd); err != nil {
		return nil, fmt.Errorf("agent %s: %w", s.Node, errors.Join(err, a.stdin.Close(), stdout.Close()))
	}
	go a.read(stdout)
	h := header{Server: s, IO: o.IO, Dataplane: o.Dataplane, Peer: o.Peer, Base: o.Base, UplinkMAC: o.UplinkMAC, GatewayMAC: o.GatewayMAC, Socket: o.Socket, Flows: o.Flows, Realtime: o.Realtime}
	if o.Dataplane == EBPF {
		h.Kernel, _ = bpf.RunningKernel() // else the child says what is lacking
	}
	if err := a.awaitHello(h, o.Hello); err != nil {
		a.kill()
		return nil, err
	}
	return a, nil
}

func (a *Agent) awaitHello(h header, limit time.Duration) error {
	if limit == 0 {
		limit = helloWait
	}
	// A child that dies at once breaks the pipe; its stderr says more.
	if err := json.NewEncoder(a.stdin).Encode(h); err != nil {
		select {
		case <-a.done:
			return a.exit
		case <-time.After(limit):
			return fmt.Errorf("agent %s: write header: %w%s", a.node, err, a.quote())
		}
	}
	select {
	case a.hello = <-a.ready:
		return nil
	case <-a.done:
		return a.exit
	case <-time.After(limit):
		return fmt.Errorf("agent %s: not ready after %v%s", a.node, limit, a.quote())
	}
}

// read takes the child's messages until it ends, and then its exit status.
func (a *Agent) read(stdout io.Reader) {
	lines := json.NewDecoder(stdout)
	var junk error
	for {
		var m message
		if err := lines.Decode(&m); err != nil {
			if !errors.Is(err, io.EOF) {
				junk = err
				_, _ = io.Copy(io.Discard, stdout) // a full pipe would keep the child from ending
			}
			break
		}
		a.take(m)
	}
	err := a.cmd.Wait()
	a.stdin.Close()
	switch {
	case a.final != nil && err == nil:
	case err == nil:
		a.exit = fmt.Errorf("agent %s: ended without its final counters%s", a.node, a.quote())
	default:
		a.exit = fmt.Errorf("agent %s: %w%s", a.node, err, a.quote())
	}
	if junk != nil && a.exit != nil {
		a.exit = fmt.Errorf("%w (reading its messages: %w)", a.exit, junk)
	}
	close(a.done)
}

func (a *Agent) take(m message) {
	switch {
	case m.Hello != nil:
		a.ready <- *m.Hello
	case m.Applied != nil:
		a.applied <- *m.Applied
	case m.Look != nil:
		a.answer(*m.Look)
	case m.Final != nil:
		a.final = m.Final
	}
	if a.onEvent == nil {
		return
	}
	for _, e := range m.Events {
		a.onEvent(Event{Node: a.node, Event: e})
	}
}

// Pid is the child's process id.
func (a *Agent) Pid() int { return a.cmd.Process.Pid }

// Hello is what the child said when it became ready: the engine and features
// in use.
func (a *Agent) Hello() Hello { return a.hello }

// Done is closed when the child has ended, all its events delivered.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Err is why the child ended without being told to, with what it said on
// stderr; nil while it runs and after an orderly stop.
func (a *Agent) Err() error {
	select {
	case <-a.done:
		return a.exit
	default:
		return nil
	}
}

// Reconfigure gives the hub a new configuration; flows stay. It returns the
// hub's refusal, if any.
func (a *Agent) Reconfigure(ctx context.Context, c hub.Config) error {
	return a.apply(ctx, "reconfigure", command{Reconfigure: &c})
}

// apply gives a command that is answered with Applied.
func (a *Agent) apply(ctx context.Context, what string, c command) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.NewEncoder(a.stdin).Encode(c); err != nil {
		return fmt.Errorf("agent %s: %s: %w", a.node, what, err)
	}
	select {
	case text := <-a.applied:
		if text != "" {
			return fmt.Errorf("agent %s: %s: %s", a.node, what, text)
		}
		return nil
	case <-a.done:
		return fmt.Errorf("agent %s: %s: %w", a.node, what, errors.Join(errEnded, a.exit))
	case <-ctx.Done():
		// The answer may still come: the connection is no longer in step.
		a.kill()
		return fmt.Errorf("agent %s: %s: %w", a.node, what, ctx.Err())
	}
}

// Learn tells the hub where devices and connectors are. It does not wait until
// the hub knows.
func (a *Agent) Learn(news []hub.Attachment) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.NewEncoder(a.stdin).Encode(command{Learn: news}); err != nil {
		return fmt.Errorf("agent %s: learn: %w", a.node, err)
	}
	return nil
}

var errEnded = errors.New("the agent has ended")

// Stop ends the child in order and returns its final counters. When ctx ends
// first, the child is killed. Stop again, or after an unexpected exit, returns
// what is known.
func (a *Agent) Stop(ctx context.Context) (Final, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A child that has ended already does not read; its exit says why.
	_ = json.NewEncoder(a.stdin).Encode(command{Stop: true})
	select {
	case <-a.done:
	case <-ctx.Done():
		a.kill()
		return Final{}, fmt.Errorf("agent %s: stop: %w", a.node, ctx.Err())
	}
	if a.final == nil {
		return Final{}, a.exit
	}
	return *a.final, a.exit
}

// Kill ends the child at once, as a fault does, and returns when it is gone and
// every event that it told is delivered.
func (a *Agent) Kill() {
	thread.Hasten(a.Pid())
	a.kill()
}

// Pause stops the child where it is, and what it has in the kernel, until Resume
// lets both go on. They answer nothing meanwhile.
func (a *Agent) Pause() error {
	return errors.Join(a.hold(true), a.signal(unix.SIGSTOP))
}

// Resume lets a paused child go on.
func (a *Agent) Resume() error { return errors.Join(a.signal(unix.SIGCONT), a.hold(false)) }

// hold keeps the kernel's part from carrying anything: stopping a process does
// not stop its programs.
func (a *Agent) hold(on bool) error {
	if !a.fast {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdLimit)
	defer cancel()
	return a.apply(ctx, "hold", command{Hold: &on})
}

// holdLimit bounds how long a child may take to hold.
const holdLimit = 20 * time.Second

func (a *Agent) signal(s unix.Signal) error {
	if err := a.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("agent %s: %v: %w", a.node, s, err)
	}
	return nil
}

// kill ends the child at once and waits until it is gone.
func (a *Agent) kill() {
	_ = a.cmd.Process.Kill() // fails only if it has ended
	a.stdin.Close()
	<-a.done
}

// tailMax is how much of a child's stderr is kept, bytes: the end, where the
// error is.
const tailMax = 4 << 10

// quote is the text of stderr for the end of an error, empty if nothing was written.
func (a *Agent) quote() string {
	text := strings.TrimSpace(a.stderr.String())
	if text == "" {
		return ""
	}
	return fmt.Sprintf("; it said: %s", text)
}
