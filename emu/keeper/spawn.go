package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

// LifelineEnv names the environment variable in which a child finds the number
// of its lifeline: a descriptor that reads end of file when the keeper is gone.
const LifelineEnv = "HOMEWARD_LIFELINE"

// Spawn starts cmd inside the namespace of a node. The child is killed when the
// keeper dies, and ended by Close.
//
// Spawn adds to cmd the lifeline, as the last of ExtraFiles and in Env, and a
// process group of its own unless cmd asks for a session. All else of cmd is
// the caller's, Wait included; the caller should wait, and Close reaps for one
// who does not.
func (l *Lab) Spawn(node string, cmd *exec.Cmd) error {
	ns := l.NS(node)
	if ns == nil {
		return fmt.Errorf("spawn %s: no node %q", cmd.Path, node)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return fmt.Errorf("spawn %s in %s: %w", cmd.Path, node, ErrClosed)
	}
	l.forget()
	c, err := l.spawner.start(ns, cmd)
	if err != nil {
		return fmt.Errorf("spawn %s in %s: %w", cmd.Path, node, err)
	}
	l.children = append(l.children, c)
	return nil
}

// forget drops the children that have ended and were waited for.
func (l *Lab) forget() {
	kept := l.children[:0]
	for _, c := range l.children {
		if c.reaped() {
			c.pidfd.Close()
			continue
		}
		kept = append(kept, c)
	}
	clear(l.children[len(kept):])
	l.children = kept
}

// spawner starts children from one thread that lives as long as the lab. The
// kernel sends the parent-death signal when the thread that made the child
// ends, whatever becomes of the process: started from just any thread, a child
// would be killed when the runtime lets that thread go.
type spawner struct {
	jobs chan func()
	done chan struct{}
	home *os.File // the namespace that the thread comes from
	// The children's end of the lifeline, and the keeper's: never written to.
	lifeline, hold *os.File
}

func newSpawner() (*spawner, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make lifeline: %w", err)
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	s := &spawner{jobs: make(chan func()), done: make(chan struct{}), home: home, lifeline: r, hold: w}
	go func() {
		defer close(s.done)
		defer home.Close()
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
		// A thread that is elsewhere must never carry another goroutine: it
		// ends with this one.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return s, nil
}

// close ends the thread and cuts the lifeline.
func (s *spawner) close() {
	close(s.jobs)
	<-s.done
	s.lifeline.Close()
	s.hold.Close()
}

func (s *spawner) start(ns *netns.NS, cmd *exec.Cmd) (*child, error) {
	cmd.Env = append(cmd.Environ(), LifelineEnv+"="+strconv.Itoa(3+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, s.lifeline)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
	type result struct {
		c   *child
		err error
	}
	results := make(chan result)
	s.jobs <- func() {
		c, err := s.startHere(ns, cmd)
		results <- result{c, err}
	}
	r := <-results
	return r.c, r.err
}

// startHere starts cmd from the calling thread, inside ns, and brings the
// thread home.
func (s *spawner) startHere(ns *netns.NS, cmd *exec.Cmd) (*child, error) {
	if err := unix.Setns(ns.Fd(), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	err := cmd.Start()
	if back := unix.Setns(int(s.home.Fd()), unix.CLONE_NEWNET); back != nil && err == nil {
		return nil, errors.Join(fmt.Errorf("leave network namespace: %w", back), cmd.Process.Kill(), cmd.Wait())
	}
	if err != nil {
		return nil, err
	}
	c, err := newChild(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return c, nil
}

// Lifeline returns a channel that is closed when the keeper of the calling
// process is gone. In a process that no keeper started it is never closed. The
// variable is taken out of the environment, so that grandchildren do not look
// for a descriptor that they do not have; a second call finds nothing.
func Lifeline() <-chan struct{} {
	gone := make(chan struct{})
	fd, err := strconv.Atoi(os.Getenv(LifelineEnv))
	if err != nil || fd < 3 {
		return gone
	}
	os.Unsetenv(LifelineEnv)
	unix.CloseOnExec(fd)
	line := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		defer close(gone)
		defer line.Close()
		// The keeper never writes: whatever ends this read, it is gone.
		_, _ = line.Read(make([]byte, 1))
	}()
	return gone
}
