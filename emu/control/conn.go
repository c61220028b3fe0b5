package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// conn is JSON lines over a unix socket, and the descriptors that came with them.
type conn struct {
	unix  *net.UnixConn
	lines *json.Decoder

	mu   sync.Mutex
	came []*os.File // descriptors that nobody has taken yet
}

func newConn(u *net.UnixConn) *conn {
	c := &conn{unix: u}
	c.lines = json.NewDecoder(c)
	return c
}

// Read implements io.Reader over the bytes, and puts descriptors aside.
func (c *conn) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, noob, flags, _, err := c.unix.ReadMsgUnix(p, oob)
	n = max(n, 0)
	if noob > 0 {
		if files, bad := filesIn(oob[:noob]); bad == nil {
			c.mu.Lock()
			c.came = append(c.came, files...)
			c.mu.Unlock()
		}
	}
	switch {
	case err != nil:
		return n, err
	case flags&unix.MSG_CTRUNC != 0:
		return n, errors.New("more descriptors than a call may carry, or than this process may have")
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func filesIn(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // another kind of message
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// take are the n descriptors of the line that was read.
func (c *conn) take(n int) ([]*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.came) != n {
		return nil, fmt.Errorf("%d open files came with the call, want %d", len(c.came), n)
	}
	files := c.came
	c.came = nil
	return files, nil
}

func (c *conn) read(into any) error { return c.lines.Decode(into) }

// write sends a line, and descriptors with it.
func (c *conn) write(line any, files ...*os.File) error {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if len(files) == 0 {
		_, err = c.unix.Write(data)
		return err
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	// The descriptors travel with the first bytes; the rest may need more writes.
	n, _, err := c.unix.WriteMsgUnix(data, unix.UnixRights(fds...), nil)
	if err == nil && n < len(data) {
		_, err = c.unix.Write(data[n:])
	}
	return err
}

func (c *conn) close() {
	c.unix.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	closeAll(c.came)
	c.came = nil
}
