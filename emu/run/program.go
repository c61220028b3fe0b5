package run

import (
	"fmt"
	"os/exec"
	"syscall"

	"github.com/homeward-lab/homeward/emu/first"
	"github.com/homeward-lab/homeward/emu/tail"
	"github.com/homeward-lab/homeward/reports/record"
)

// program is a user's own, in a host.
type program struct {
	node string
	said *tail.Tail
	done chan struct{}
	// How it ended, before done is closed.
	end    string
	failed bool
}

// program starts a host's own program. That it ends, and how, is an event and no
// failure: whether it should have is for checks to say.
func (r *runner) program(i int) error {
	p := r.plan.Programs[i]
	path, err := exec.LookPath(p.Args[0])
	if err != nil {
		return fmt.Errorf("run of %s: %w", p.Node, err)
	}
	cmd := exec.Command(path, p.Args[1:]...)
	cmd.Args[0] = p.Args[0]
	if len(r.options.FirstArgs) > 0 {
		cmd = exec.Command(r.exe(), append(append([]string{}, r.options.FirstArgs...), append([]string{path}, p.Args[1:]...)...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: first.Cloneflags}
	}
	one := &program{node: p.Node, said: tail.New(saidMax), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = one.said, one.said
	if err := r.lab.Spawn(p.Node, cmd); err != nil {
		return fmt.Errorf("run of %s: %w", p.Node, err)
	}
	r.programs = append(r.programs, one)
	go func() {
		_ = cmd.Wait() // its state says it all
		one.end, one.failed = cmd.ProcessState.String(), !cmd.ProcessState.Success()
		r.event(record.Event{Kind: "run", Node: p.Node, Text: fmt.Sprintf("%s ended: %s", p.Args[0], one.end)})
		close(one.done)
	}()
	return nil
}

// lost says how it ended, if it has failed.
func (p *program) lost() (how string, is bool) {
	select {
	case <-p.done:
		return p.end, p.failed
	default:
		return "", false
	}
}

// saidMax is how much of what a program says is kept, bytes.
const saidMax = 64 << 10
