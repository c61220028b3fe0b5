package resident

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/first"
)

// abandonPatience bounds the wait for a lab that is not wanted any more.
const abandonPatience = 30 * time.Second

// Launch starts a keeper: exe and args must call Main. It returns when the lab
// is ready, and from then on the keeper is on its own. If ctx ends before, so
// does the keeper, and Launch returns when nothing is left.
func Launch(ctx context.Context, exe string, args []string, s Start, progress func(stage string, done, total int)) (*control.Info, error) {
	var said bytes.Buffer
	cmd := exec.Command(exe, args...)
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: first.Cloneflags}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the lab's keeper: %w", err)
	}
	// The end of its stdin is how a keeper learns that it is not wanted.
	stop := context.AfterFunc(ctx, func() { in.Close() })
	defer stop()
	ready, err := converse(in, out, s, progress)
	if err == nil && ctx.Err() == nil {
		_, err = io.WriteString(in, stay+"\n")
	}
	in.Close()
	if err == nil && ctx.Err() == nil {
		out.Close()
		return ready, cmd.Process.Release()
	}
	late := time.AfterFunc(abandonPatience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_, _ = io.Copy(io.Discard, out)
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, new(*control.Error)):
		return nil, err
	}
	return nil, fmt.Errorf("the lab's keeper: %w%s", errors.Join(err, ended), quote(said.String()))
}

// converse tells the keeper what to keep and listens until it is ready.
func converse(in io.Writer, out io.Reader, s Start, progress func(stage string, done, total int)) (*control.Info, error) {
	// A keeper that ends before it has read says why on the other pipe.
	wrote := json.NewEncoder(in).Encode(s)
	lines := json.NewDecoder(out)
	for {
		var r report
		if err := lines.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it ended before the lab was ready")
			}
			return nil, errors.Join(err, wrote)
		}
		switch {
		case r.Error != nil:
			return nil, r.Error
		case r.Ready != nil:
			return r.Ready, nil
		case r.Stage != nil && progress != nil:
			progress(r.Stage.Name, r.Stage.Done, r.Stage.Total)
		}
	}
}

func quote(said string) string {
	if said = strings.TrimSpace(said); said == "" {
		return ""
	}
	return "; it said: " + said
}
