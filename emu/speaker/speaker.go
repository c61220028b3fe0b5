// Package speaker has a lab's routers speak BGP: real sessions over TCP between
// their namespaces, and what they learn in the kernels' tables.
//
// A router is a process of its own, GoBGP embedded in this program or the BIRD of
// the machine, because neither can work in another's namespace. Both are told the
// same: relations, preferences and exports are dataplane/bgp's, and what they come
// to is what the plan says of a lab in which nothing is broken. What a router has
// in its kernel is looked up there (FIB) and not believed of the speaker.
//
// Its law: a router that has not settled on the plan's routes is an error with the
// first route that differs, never a lab that works a little.
package speaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/emu/tail"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Kind of a speaker.
type Kind string

const (
	GoBGP Kind = "gobgp" // embedded: the default
	BIRD  Kind = "bird"  // Debian's bird2, or another BIRD 2
)

// Kinds are all, the default first.
func Kinds() []Kind { return []Kind{GoBGP, BIRD} }

// begin is what starts a speaker of the kind.
func (k Kind) begin() func(*Options, *plan.Speaker, time.Duration, func(Change)) (process, error) {
	if k == BIRD {
		return startBIRD
	}
	return startGoBGP
}

// port of BGP (RFC 4271 section 8).
const port = 179

// header is the first line that a GoBGP child reads.
type header struct {
	Speaker plan.Speaker  `json:"speaker"`
	Hold    time.Duration `json:"hold"`
	// Relay is the network's end of customers' sessions: it learns, tells nothing, and
	// has no routes in the kernel.
	Relay bool `json:"relay,omitempty"`
}

// command is each line after it: the origins from now on.
type command struct {
	Origins []bgp.Origin `json:"origins"`
}

// line is what a child says: that it is ready or has done what it was told, or
// what became of a session.
type line struct {
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
	// Session with the neighbour of this number is up, or down and why.
	Session *int   `json:"session,omitempty"`
	Up      bool   `json:"up,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Heard is what a relay's session says.
	Heard *heard `json:"heard,omitempty"`
}

// Change is a session that began or ended, as one of its ends says.
type Change struct {
	Node, Neighbor string
	Up             bool
	Reason         string // of an end, in the speaker's words
}

// maxSaid is how much of a speaker's last words is kept.
const maxSaid = 4096

// patience bounds how long a speaker may take for an answer.
const patience = 20 * time.Second

// process is the speaker of one router.
type process interface {
	// announce makes these the router's origins.
	announce(origins []bgp.Origin) error
	// stop ends it; its sessions are closed in order.
	stop() error
	// over is closed when it has ended.
	over() <-chan struct{}
	pid() int
}

// child is a GoBGP in a process of its own.
type child struct {
	cmd     *exec.Cmd
	mu      sync.Mutex // one command at a time
	stdin   io.WriteCloser
	answers chan line
	ended   chan struct{}
	said    *tail.Tail
	exit    error // set before ended is closed
}

func startGoBGP(o *Options, s *plan.Speaker, hold time.Duration, tell func(Change)) (process, error) {
	c, err := startChild(o, header{Speaker: *s, Hold: hold}, func(l line) {
		tell(Change{Node: s.Node, Neighbor: s.Sessions[*l.Session].Node, Up: l.Up, Reason: l.Reason})
	})
	if c == nil {
		return nil, err
	}
	return c, err
}

// startChild starts a GoBGP in a node, and hands to take what it says of itself.
func startChild(o *Options, h header, take func(line)) (*child, error) {
	c := &child{cmd: exec.Command(o.Exe, o.Args...), answers: make(chan line), ended: make(chan struct{}), said: tail.New(maxSaid)}
	c.cmd.Stderr = c.said
	// Its tables are small, and a lab has many of it.
	c.cmd.Env = append(c.cmd.Environ(), "GOMEMLIMIT=64MiB", "GOGC=50", "GOMAXPROCS=1")
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := o.Spawn(h.Speaker.Node, c.cmd); err != nil {
		return nil, err
	}
	go c.read(stdout, take)
	return c, c.ask(h)
}

// read passes on what the child says until it ends.
func (c *child) read(stdout io.Reader, take func(line)) {
	defer close(c.ended)
	lines := json.NewDecoder(stdout)
	for {
		var l line
		if err := lines.Decode(&l); err != nil {
			break
		}
		if l.Session != nil || l.Heard != nil {
			take(l)
			continue
		}
		c.answers <- l
	}
	_, _ = io.Copy(io.Discard, stdout)
	if c.exit = c.cmd.Wait(); c.exit != nil && c.said.String() != "" {
		c.exit = fmt.Errorf("%w: %s", c.exit, c.said.String())
	}
}

// ask writes a line and waits until the child has done it.
func (c *child) ask(what any) error {
	broken := json.NewEncoder(c.stdin).Encode(what) // the child's end says more
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case l := <-c.answers:
		if l.Error != "" {
			return errors.New(l.Error)
		}
		return nil
	case <-c.ended:
		return errors.Join(errors.New("the speaker has ended"), c.exit)
	case <-late.C:
		return errors.Join(fmt.Errorf("no answer after %v", patience), broken)
	}
}

func (c *child) announce(origins []bgp.Origin) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ask(command{slices.Clone(origins)})
}

func (c *child) over() <-chan struct{} { return c.ended }

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stdin.Close()
	return c.wait()
}

// wait is for the end of a child that was told to end.
func (c *child) wait() error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-c.answers:
		case <-c.ended:
			return c.exit
		case <-late.C:
			_ = c.cmd.Process.Kill() // fails only if it has ended
			return fmt.Errorf("speaker did not end within %v", patience)
		}
	}
}
