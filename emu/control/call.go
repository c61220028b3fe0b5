package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrKeeperGone is wrapped when the keeper went away in the middle of a call.
var ErrKeeperGone = errors.New("the lab's keeper has gone")

// Lab is a lab that has a socket.
type Lab struct {
	Name string
	dir  string
}

// Ask says what a call wants and what is done with its replies.
type Ask struct {
	Do   string
	Args any
	// Files are passed along.
	Files []*os.File
	// Each takes every reply; nil means there should be none. An error of it ends
	// the call.
	Each func(json.RawMessage) error
	// Tell, if not nil, are lines for the keeper while the call runs.
	Tell <-chan any
}

// Call asks the lab's keeper and returns when it has answered. The end of ctx
// ends the call, and with it what the keeper does for it.
func (l *Lab) Call(ctx context.Context, ask Ask) error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, func() { c.unix.Close() })
	defer stop()
	args, err := json.Marshal(ask.Args)
	if err != nil {
		return err
	}
	if err := c.write(request{Version, ask.Do, args, len(ask.Files)}, ask.Files...); err != nil {
		return l.lost(ctx, err)
	}
	done := make(chan struct{})
	defer close(done)
	if ask.Tell != nil {
		go tell(c, ask.Tell, done)
	}
	for {
		var r reply
		if err := c.read(&r); err != nil {
			return l.lost(ctx, err)
		}
		switch {
		case r.Error != nil:
			return r.Error
		case r.Done:
			return nil
		case ask.Each == nil:
			return fmt.Errorf("lab %s says more than was asked: %s", l.Name, r.Data)
		}
		if err := ask.Each(r.Data); err != nil {
			return err
		}
	}
}

// Get is Call for one reply.
func (l *Lab) Get(ctx context.Context, do string, args, into any) error {
	return l.Call(ctx, Ask{Do: do, Args: args, Each: func(raw json.RawMessage) error { return json.Unmarshal(raw, into) }})
}

func tell(c *conn, lines <-chan any, done <-chan struct{}) {
	for {
		select {
		case line, ok := <-lines:
			if !ok || c.write(line) != nil {
				return
			}
		case <-done:
			return
		}
	}
}

func (l *Lab) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("lab %s: %w", l.Name, ErrKeeperGone)
	}
	return fmt.Errorf("lab %s: %w", l.Name, err)
}

func (l *Lab) dial() (*conn, error) {
	var u *net.UnixConn
	err := within(l.dir, func(dir string) (err error) {
		u, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: dir + "/" + l.Name + socketSuffix, Net: "unix"})
		return err
	})
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w", l.Name, ErrKeeperGone)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", l.Name, err)
	}
	return newConn(u), nil
}

// Ended waits until nobody listens for the lab any more; false if that takes
// longer than the patience.
func (l *Lab) Ended(patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(endedPause) {
		if !alive(l) {
			return true
		}
	}
	return false
}

const endedPause = 5 * time.Millisecond

// Keeper takes hold of the lab's process, as this process sees it.
func (l *Lab) Keeper() (*os.Process, error) {
	c, err := l.dial()
	if err != nil {
		return nil, err
	}
	defer c.close()
	cred, err := peer(c.unix)
	if err != nil {
		return nil, err
	}
	return os.FindProcess(int(cred.Pid))
}
