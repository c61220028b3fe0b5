package resident

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/run"
)

// exec runs a program in a node, with the caller's own descriptors.
func (k *keeper) exec(ctx context.Context, c *control.Call, lab *run.Lab) error {
	var args control.ExecArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	if lab.NS(args.Node) == nil {
		return k.noNode(lab, args.Node)
	}
	cmd, err := program(&args, c.Files())
	if err != nil {
		return err
	}
	if err := lab.Spawn(args.Node, cmd); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return control.Usagef("%v", err)
		}
		return err
	}
	for _, f := range c.Files() {
		f.Close() // the program has them; a terminal that we held would not hang up
	}
	ended := make(chan struct{})
	go attend(ctx, cmd.Process.Pid, c.Told(), ended)
	// A caller that is gone ends ctx.
	_ = c.Send(control.ExecReply{Pid: cmd.Process.Pid})
	_ = cmd.Wait() // its state says it all
	close(ended)
	code := exitCode(cmd.ProcessState)
	return c.Send(control.ExecReply{Exit: &code})
}

// program is the command of a call.
func program(args *control.ExecArgs, files []*os.File) (*exec.Cmd, error) {
	if len(args.Args) == 0 {
		return nil, control.Usagef("no program to run")
	}
	want := 3
	if args.Terminal {
		want = 1
	}
	if len(files) != want {
		return nil, control.Usagef("%d open files came along, want %d", len(files), want)
	}
	path, err := find(args.Args[0], args.Dir, args.Env)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: args.Args, Env: args.Env, Dir: args.Dir, Stdin: files[0], Stdout: files[0], Stderr: files[0]}
	if args.Terminal {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	} else {
		cmd.Stdout, cmd.Stderr = files[1], files[2]
	}
	return cmd, nil
}

// find looks for a program as the caller's shell would: in the caller's PATH
// and directory, which are not the keeper's.
func find(name, dir string, env []string) (string, error) {
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	runs := func(path string) bool {
		st, err := os.Stat(path)
		return err == nil && !st.IsDir() && st.Mode()&0o111 != 0
	}
	if strings.Contains(name, "/") {
		if path := at(name); runs(path) {
			return path, nil
		}
		return "", control.Usagef("%s: no such program", name)
	}
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, d := range filepath.SplitList(list) {
				if path := filepath.Join(at(d), name); runs(path) {
					return path, nil
				}
			}
		}
	}
	return "", control.Usagef("%s: no such program in PATH", name)
}

// hangUpPatience is how long a program has after SIGHUP, when its caller is gone.
const hangUpPatience = 2 * time.Second

// attend passes the caller's signals to the program's group. When the caller
// goes, so does the program.
func attend(ctx context.Context, pid int, told <-chan json.RawMessage, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case line, ok := <-told:
			var s control.Signal
			if ok && json.Unmarshal(line, &s) == nil && s.Signal > 0 {
				_ = syscall.Kill(-pid, syscall.Signal(s.Signal)) // fails only if it has ended
			}
			if !ok {
				told = nil
			}
		case <-ctx.Done():
			_ = syscall.Kill(-pid, syscall.SIGHUP)
			select {
			case <-ended:
			case <-time.After(hangUpPatience):
				_ = syscall.Kill(-pid, syscall.SIGKILL)
			}
			return
		}
	}
}

// exitCode is what a shell would say.
func exitCode(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
