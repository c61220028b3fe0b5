// Package resident is the process that stays behind `homeward up`: it brings a
// lab up, keeps it, and does what commands ask of it over emu/control.
//
// It is started (Launch) as the first process of a process namespace of its
// own, with its own view of /proc, so that the kernel ends everything that was
// ever started in the lab, however far removed, in the moment in which the
// keeper ends. It judges no check and prints nothing. The law: from the moment
// in which its starter was told that the lab is ready, only down, a signal or
// its own death ends it; until then, the starter's death does.
package resident

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/first"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Start is what a keeper is to keep.
type Start struct {
	Name string     `json:"name"`
	Plan *plan.Plan `json:"plan"`
	// Scenario is the resolved file, which the plan is made of: changes are told
	// in its words.
	Scenario json.RawMessage `json:"scenario"`
	IO       agent.IO        `json:"io,omitempty"`
	// Dataplane is what servers are (run.Options).
	Dataplane run.Dataplane `json:"dataplane,omitempty"`
	// Wire is who has impaired links do what they are asked to (run.Options).
	Wire run.WireEngine `json:"wire,omitempty"`
	// Speaker is who speaks BGP for routers; empty is the default.
	Speaker  speaker.Kind      `json:"speaker,omitempty"`
	Versions map[string]string `json:"versions,omitempty"`
}

// report is a line of the keeper's to its starter. Exactly one field is set.
type report struct {
	Stage *stage         `json:"stage,omitempty"`
	Ready *control.Info  `json:"ready,omitempty"`
	Error *control.Error `json:"error,omitempty"`
}

type stage struct {
	Name  string `json:"name"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// stay is the starter's last word: it knows that the lab is ready.
const stay = "stay"

// keeper is the process.
type keeper struct {
	start   Start
	began   time.Time
	claim   *control.Claim
	store   *store
	out     *json.Encoder
	console *os.File
	damage  damage

	// ask wakes the main goroutine to take everything down.
	ask  context.CancelFunc
	gone chan struct{} // closed when all is down
	end  error         // of taking it down, before gone is closed

	// ending ends captures, which hold on to the nodes that they listen in.
	ending   context.Context
	captures sync.WaitGroup

	mu    sync.Mutex
	lab   *run.Lab // nil until it is up
	state control.State
	busy  int             // rounds of traffic
	plan  json.RawMessage // the resolved file in force
	apply sync.Mutex      // one change at a time
}

// Main is the keeper's life: a Start on in, reports to out. o says how labs
// are run here; what is particular to this one is in Start. It returns when nothing of the lab is left; an error has been reported.
func Main(ctx context.Context, in io.Reader, out io.Writer, o run.Options) error {
	k := &keeper{began: time.Now(), out: json.NewEncoder(out), store: newStore(), gone: make(chan struct{}), state: control.Starting}
	err := k.main(ctx, in, o)
	if err != nil {
		refusal, ok := errors.AsType[*control.Error](err)
		if !ok {
			refusal = &control.Error{Kind: kindOf(err), Text: err.Error()}
		}
		_ = k.out.Encode(report{Error: refusal}) // a starter that is gone needs none
	}
	return err
}

func (k *keeper) main(ctx context.Context, in io.Reader, o run.Options) error {
	if err := first.OwnProcesses(); err != nil {
		return control.Lackf("a lab that stays needs more rights than this: %v: run as root, in a container with CAP_SYS_ADMIN", err)
	}
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &k.start)
	}
	if err != nil {
		return fmt.Errorf("keeper: what to keep: %w", err)
	}
	k.plan = k.start.Scenario
	if k.claim, err = control.Listen(k.start.Name); err != nil {
		return err
	}
	ctx, k.ask = context.WithCancel(ctx)
	defer k.ask()
	var end context.CancelFunc
	k.ending, end = context.WithCancel(context.Background())
	defer end()
	serving := make(chan error, 1)
	calls, hangUp := context.WithCancel(context.Background())
	go func() { serving <- control.Serve(calls, k.claim.UnixListener, k.handlers()) }()
	err = k.live(ctx, end, lines, o)
	k.end = err
	close(k.gone)
	err = errors.Join(err, k.claim.Close())
	time.AfterFunc(lastAnswers, hangUp)
	return errors.Join(err, <-serving)
}

// lastAnswers is how long calls have to end by themselves when the lab is down.
const lastAnswers = time.Second

// live is up, ready, down. end ends captures.
func (k *keeper) live(ctx context.Context, end func(), lines *bufio.Reader, o run.Options) error {
	ready, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	staying := make(chan bool, 1)
	go func() { // the starter says one more word, or dies
		word, _ := lines.ReadString('\n')
		if word != stay+"\n" {
			abandon(errors.New("the command that began the lab has gone"))
		}
		staying <- word == stay+"\n"
	}()
	k.store.toStarter(func(name string, done, total int) { _ = k.out.Encode(report{Stage: &stage{name, done, total}}) })
	o.IO, o.Dataplane, o.Speaker, o.Wire, o.Versions = k.start.IO, k.start.Dataplane, k.start.Speaker, k.start.Wire, k.start.Versions
	lab, err := run.Up(ready, k.start.Plan, k.store, o)
	k.store.toStarter(nil)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.lab, k.state = lab, control.Ready
	k.mu.Unlock()
	stopReaping := reapOrphans(lab)
	defer stopReaping()
	info := k.info()
	err = k.out.Encode(report{Ready: &info})
	if err == nil && <-staying {
		err = k.detach()
		if err == nil {
			<-ctx.Done()
		}
	}
	k.mu.Lock()
	k.state = control.Stopping
	k.mu.Unlock()
	end()
	k.captured()
	return errors.Join(err, lab.Down())
}

// captured waits for captures to end, unless whoever they write to takes nothing
// more: then Down says what it waited for.
func (k *keeper) captured() {
	done := make(chan struct{})
	go func() {
		k.captures.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lastAnswers):
	}
}

// detach lets go of all that its starter gave, so that nobody waits for the end
// of it; what Go has to say in a crash goes to the lab's log.
func (k *keeper) detach() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd, to := range map[int]*os.File{0: null, 1: null, 2: k.claim.Log} {
		if err := unix.Dup2(int(to.Fd()), fd); err != nil {
			return fmt.Errorf("keeper: let go of the terminal: %w", err)
		}
	}
	return os.Chdir("/")
}

// kindOf says whose fault it is that a lab cannot come up.
func kindOf(err error) control.Kind {
	if run.Lacks(err) {
		return control.Lack
	}
	if errors.As(err, new(*control.TakenError)) {
		return control.Usage
	}
	return control.Failed
}
