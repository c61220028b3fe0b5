package pump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Options say how Start runs the child.
type Options struct {
	// Exe and Args are a command that calls Main: /proc/self/exe and the hidden
	// subcommand.
	Exe  string
	Args []string
	// Base is CLOCK_MONOTONIC at the start of the run, ns: the instant 0 of when
	// packets left late.
	Base int64
}

// patience bounds how long the child may take for an answer.
const patience = 30 * time.Second

// Pump is a running child. Its methods are safe for concurrent use.
type Pump struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // read after the child's end alone
	hello  Hello

	mu      sync.Mutex // one command at a time
	stdin   io.WriteCloser
	replies chan reply
	ended   chan struct{} // closed when the child has ended and all replies are read
	exit    error         // set before ended is closed
	stopped bool
	last    []Count
}

// Start runs the pump of a plan's impaired links in the namespace wire.Middle;
// spawn starts the command in the namespace of the id it is given. When it
// returns, packets pass. A plan without impaired links has no pump: nil, nil.
func Start(spawn func(id string, cmd *exec.Cmd) error, p *plan.Plan, o Options) (*Pump, error) {
	cuts := wire.Cuts(p)
	if len(cuts) == 0 {
		return nil, nil
	}
	return StartWith(spawn, p, cuts, o)
}

// StartWith is Start with these links alone, of which there may be none yet:
// Add brings others of the plan.
func StartWith(spawn func(id string, cmd *exec.Cmd) error, p *plan.Plan, cuts []wire.Cut, o Options) (*Pump, error) {
	h := header{Seed: p.Seed, Base: o.Base, Most: len(p.Links)}
	for i := range p.Links {
		h.MTU = max(h.MTU, p.Links[i].MTU)
	}
	for _, c := range cuts {
		h.Links = append(h.Links, linkOf(c))
	}
	pump, err := start(spawn, h, o)
	if err != nil {
		return nil, fmt.Errorf("pump of impaired links: %w", err)
	}
	return pump, nil
}

func linkOf(c wire.Cut) link {
	return link{ID: c.Link.ID, A: c.A, B: c.B, MTU: c.Link.MTU, AB: c.Link.Impair(impair.AB), BA: c.Link.Impair(impair.BA)}
}

func start(spawn func(id string, cmd *exec.Cmd) error, h header, o Options) (*Pump, error) {
	p := &Pump{cmd: exec.Command(o.Exe, o.Args...), replies: make(chan reply), ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := spawn(wire.Middle, p.cmd); err != nil {
		return nil, err
	}
	go p.read(stdout)
	r, err := p.ask(h)
	switch {
	case err != nil:
		return nil, err
	case r.Hello == nil:
		p.kill()
		return nil, fmt.Errorf("said %+v, want hello", r)
	}
	p.hello = *r.Hello
	return p, nil
}

// read passes on replies until the child ends, and then takes its exit status.
func (p *Pump) read(stdout io.Reader) {
	defer close(p.ended)
	lines := json.NewDecoder(stdout)
	for {
		var r reply
		if err := lines.Decode(&r); err != nil {
			break
		}
		p.replies <- r
	}
	_, _ = io.Copy(io.Discard, stdout) // a full pipe would keep the child from ending
	p.exit = p.cmd.Wait()
	if said := bytes.TrimSpace(p.stderr.Bytes()); p.exit != nil && len(said) > 0 {
		p.exit = fmt.Errorf("%w: %s", p.exit, said)
	}
}

// errEnded is the answer of a child that is not there.
var errEnded = errors.New("the pump has ended")

// ask writes one line and waits for its answer.
func (p *Pump) ask(line any) (reply, error) {
	broken := json.NewEncoder(p.stdin).Encode(line) // the child's end says more
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-p.replies:
		if r.Error != "" {
			return r, errors.New(r.Error)
		}
		return r, nil
	case <-p.ended:
		return reply{}, errors.Join(errEnded, p.exit)
	case <-late.C:
		p.kill()
		return reply{}, errors.Join(fmt.Errorf("no answer after %v", patience), broken)
	}
}

// kill ends the child at once, reading what it still says.
func (p *Pump) kill() {
	_ = p.cmd.Process.Kill() // fails only if it has ended
	for {
		select {
		case <-p.replies:
		case <-p.ended:
			return
		}
	}
}

// Hello is what the child said when it was ready.
func (p *Pump) Hello() Hello { return p.hello }

// Feature says how packets are carried.
func (p *Pump) Feature() string {
	priority := "real-time priority"
	if !p.hello.Realtime {
		priority = "no real-time priority"
	}
	return fmt.Sprintf("a userspace pump (AF_PACKET rings, threads: %d, %s)", p.hello.Threads, priority)
}

// Pid is the child's process id.
func (p *Pump) Pid() int { return p.cmd.Process.Pid }

// Set changes what one direction of an impaired link does to the packets that
// come from now on; those under way stay (impair.Line.Set).
func (p *Pump) Set(link string, d impair.Direction, c impair.Config) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.ask(command{Set: &set{link, d, c}}); err != nil {
		return fmt.Errorf("impair %s %s: %w", link, d, err)
	}
	return nil
}

// Add has the pump carry another link of the plan, whose halves end in Middle.
func (p *Pump) Add(c wire.Cut) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := linkOf(c)
	if _, err := p.ask(command{Add: &k}); err != nil {
		return fmt.Errorf("pump of link %s: %w", k.ID, err)
	}
	return nil
}

// Counts are the totals so far of every direction, as the plan's links, after
// Stop those at the end.
func (p *Pump) Counts() ([]Count, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return p.last, nil
	}
	r, err := p.ask(command{})
	if err != nil {
		return nil, fmt.Errorf("counters of impaired links: %w", err)
	}
	return r.Wires, nil
}

// Stop ends the child in order. Packets under way are gone. It is idempotent.
func (p *Pump) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil
	}
	p.stopped = true
	r, err := p.ask(command{Stop: true})
	if err != nil {
		return fmt.Errorf("stop the pump of impaired links: %w", err)
	}
	p.last = r.Wires
	p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
	}
	if p.exit != nil {
		return fmt.Errorf("stop the pump of impaired links: %w", p.exit)
	}
	return nil
}
