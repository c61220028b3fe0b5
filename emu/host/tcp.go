package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// tcp runs one HTTP request and response on fd, which it takes over.
func tcp(ctx context.Context, f *plan.Flow, fd int, s *signer, buf []byte, start time.Time, late func(due time.Time)) (o Outcome) {
	o.Start = start
	began := time.Now()
	err := unix.Connect(fd, sockaddr(f.Dst))
	o.Send = handed(began)
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		o.Result, o.Reason = record.Failed, fmt.Sprintf("connect to %s: %v", f.Dst, err)
		if err == unix.ECONNREFUSED { // the answer may come before connect returns
			o.Result, o.Reason = record.Refused, "connection refused"
		}
		return o
	}
	c, err := newConn(ctx, fd, late)
	if err != nil {
		o.Result, o.Reason = record.Failed, err.Error()
		return o
	}
	defer func() {
		if o.Result != record.OK {
			c.abort()
		}
		c.file.Close()
	}()
	defer c.interrupt()()
	end := start.Add(f.Timeout)
	setup := start.Add(min(f.Connect, f.Timeout))
	if err = c.deadline(setup); err == nil {
		err = c.established()
	}
	if err != nil {
		o.Result, o.Reason = c.failure(err, "the connection")
		return o
	}
	if o.RTT = c.synRTT(); o.RTT == 0 {
		o.RTT = time.Since(start)
	}
	c.late(start.Add(o.RTT)) // the request waited since then
	if err := c.deadline(end); err != nil {
		o.Result, o.Reason = record.Failed, err.Error()
		return o
	}
	c.pace.begin(time.Now())
	st, err := exchange(c, f, s, buf)
	if err != nil {
		c.pace.move(time.Now()) // what was waited for at the end did not come
	}
	o.Stall = c.pace.longest
	if err == nil {
		o.Result, o.Egress = record.OK, st.peer
		o.Up, o.Down = c.written, c.received
		o.End = c.arrived
		hold(ctx, f.Hold)
		return o
	}
	o.Up, o.Down = max(c.written-c.unacked(), 0), c.received
	o.Result, o.Reason = c.outcome(err)
	return o
}

// hold keeps a connection open that has nothing more to say.
func hold(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// refusedError is an answer that the origin gives to nobody like this client.
type refusedError struct{ status string }

func (e *refusedError) Error() string { return "the origin answered " + e.status }

// answerError is an answer that came and was wrong.
type answerError struct{ text string }

func (e *answerError) Error() string { return e.text }

// waitError is a socket error, and what was waited for.
type waitError struct {
	wait string
	err  error
}

func (e *waitError) Error() string { return e.wait + ": " + e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

func (c *conn) outcome(err error) (record.Result, string) {
	if e, ok := errors.AsType[*waitError](err); ok {
		if c.ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			return record.Failed, "the origin closed before " + e.wait
		}
		return c.failure(e.err, e.wait)
	}
	if _, ok := errors.AsType[*refusedError](err); ok {
		return record.Refused, err.Error()
	}
	return record.Failed, err.Error()
}

// exchange sends the request and checks the answer.
func exchange(c *conn, f *plan.Flow, s *signer, buf []byte) (statement, error) {
	if err := send(c, f, buf); err != nil {
		return statement{}, err
	}
	br := bufio.NewReaderSize(c, 4<<10)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return statement{}, headError(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden:
		return statement{}, &refusedError{resp.Status}
	default:
		return statement{}, &answerError{"the origin answered " + resp.Status}
	}
	st, err := readStatement(resp.Header, s)
	switch {
	case err != nil:
		return st, &answerError{err.Error()}
	case st.nonce != f.Nonce || st.flow != f.Traffic+"/"+strconv.Itoa(f.N):
		return st, &answerError{fmt.Sprintf("%v, %s", errForeign, st.flow)}
	case st.damaged >= 0:
		return st, &answerError{fmt.Sprintf("the request arrived damaged: byte %d is wrong", st.damaged)}
	case st.request != int64(f.Request):
		return st, &answerError{fmt.Sprintf("of the request, %d bytes arrived, want %d", st.request, f.Request)}
	}
	n, damaged, err := drain(resp.Body, buf, responsePattern(f.Nonce))
	switch {
	case err != nil:
		return st, &waitError{fmt.Sprintf("the rest of the answer (%d of %d bytes came)", n, f.Response), err}
	case damaged >= 0:
		return st, &answerError{fmt.Sprintf("the answer arrived damaged: byte %d is wrong", damaged)}
	case n != int64(f.Response):
		return st, &answerError{fmt.Sprintf("the answer has %d bytes, want %d", n, f.Response)}
	}
	if f.Close == "server" {
		// The origin closes first; what is left to read is its FIN. The answer
		// is complete, so a reset or silence now takes nothing away.
		_, _ = br.Read(buf[:1])
	}
	return st, nil
}

// headError tells a socket's error from an answer that is no HTTP.
func headError(err error) error {
	var errno syscall.Errno
	var timeout interface{ Timeout() bool }
	if errors.As(err, &errno) || errors.As(err, &timeout) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &waitError{"the answer", err}
	}
	return &answerError{"the answer is not HTTP: " + err.Error()}
}

// send writes the request; its head goes out together with the first payload.
func send(c *conn, f *plan.Flow, buf []byte) error {
	connection := "keep-alive"
	if f.Close == "server" {
		connection = "close"
	}
	size := int64(f.Request)
	head := fmt.Appendf(buf[:0], "POST /flow/%s/%d?nonce=%d&response=%d HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n",
		f.Traffic, f.N, f.Nonce, int64(f.Response), f.Dst, size, connection)
	p := requestPattern(f.Nonce)
	first := min(size, int64(len(buf)-len(head)))
	b := buf[:len(head)+int(first)]
	p.Fill(b[len(head):], 0)
	for off := first; ; {
		if _, err := c.Write(b); err != nil {
			return &waitError{"the request to be taken", err}
		}
		if off == size {
			return nil
		}
		b = buf[:min(size-off, int64(len(buf)))]
		p.Fill(b, off)
		off += int64(len(b))
	}
}
