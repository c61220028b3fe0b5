package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Call is one call as the keeper sees it.
type Call struct {
	conn  *conn
	args  json.RawMessage
	files []*os.File
	told  chan json.RawMessage
	mu    sync.Mutex // one reply at a time
}

// Handler does what a call asks. Its context ends when the caller is gone; its
// error is the call's last line.
type Handler func(ctx context.Context, c *Call) error

// Args reads the call's arguments.
func (c *Call) Args(into any) error {
	if len(c.args) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.args, into); err != nil {
		return Usagef("arguments: %v", err)
	}
	return nil
}

// Files are the descriptors that came with the call. They are closed when the
// handler returns.
func (c *Call) Files() []*os.File { return c.files }

// Send tells the caller something. It is safe for concurrent use; a caller that
// is gone is an error here and the end of the handler's context.
func (c *Call) Send(data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return c.reply(reply{Data: raw})
}

func (c *Call) reply(r reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.write(r)
}

// Told are the caller's further lines. The channel is closed when there will be no more.
func (c *Call) Told() <-chan json.RawMessage { return c.told }

// acceptPause is how long a keeper without free descriptors waits for some.
const acceptPause = 50 * time.Millisecond

// Serve answers calls until the listener is closed, and returns when the last
// handler has. The listener's closing ends the handlers' contexts only if ctx
// ends too.
func Serve(ctx context.Context, l *net.UnixListener, handlers map[string]Handler) error {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ECONNABORTED) {
			time.Sleep(acceptPause) // there is no room for this caller now
			continue
		}
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		calls.Go(func() { answer(ctx, c, handlers) })
	}
}

// answer serves one connection.
func answer(ctx context.Context, c *net.UnixConn, handlers map[string]Handler) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := &Call{conn: newConn(c), told: make(chan json.RawMessage, 16)}
	defer call.conn.close()
	if !sameUser(c) {
		return
	}
	var r request
	if err := call.conn.read(&r); err != nil {
		return // whoever it was said nothing
	}
	var err error
	if call.files, err = call.conn.take(r.Files); err == nil {
		call.args = r.Args
		go call.listen(cancel)
		err = call.do(ctx, r, handlers)
	}
	closeAll(call.files) // before the caller believes that it is over
	last := reply{Done: true}
	if err != nil {
		refusal, ok := errors.AsType[*Error](err)
		if !ok {
			refusal = &Error{Failed, err.Error()}
		}
		last = reply{Error: refusal}
	}
	_ = call.reply(last) // a caller that is gone needs no answer
}

func (c *Call) do(ctx context.Context, r request, handlers map[string]Handler) error {
	if r.Version != Version {
		return Lackf("the lab was brought up by another version of homeward: it speaks protocol %d, this command %d", Version, r.Version)
	}
	do := handlers[r.Do]
	if do == nil {
		return Lackf("this lab cannot %q", r.Do)
	}
	return do(ctx, c)
}

// listen passes on what the caller says, until it is gone.
func (c *Call) listen(gone context.CancelFunc) {
	defer gone()
	defer close(c.told)
	for {
		var line json.RawMessage
		if c.conn.read(&line) != nil {
			return
		}
		select {
		case c.told <- line:
		default: // a handler that does not listen
		}
	}
}

// sameUser says whether the other end is this process' user or root: the file's
// mode says so too, but not on every system's sockets.
func sameUser(c *net.UnixConn) bool {
	cred, err := peer(c)
	return err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}

// peer is who is at the other end.
func peer(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	failed := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(err, failed)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
