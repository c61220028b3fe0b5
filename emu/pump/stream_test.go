package pump_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/internal/need"
)

// datagram is the payload of one numbered packet, bytes.
const datagram = 100

// quiet is how long nothing comes when nothing will.
const quiet = 400 * time.Millisecond

// stream is numbered datagrams from left to right.
type stream struct {
	from, to *net.UDPConn
	next     uint32
	// left and sent are when each datagram was given to the kernel, and when that was done.
	left, sent []time.Time
}

// arrival is a numbered datagram that came, and when the kernel received it: who
// reads it may come as late as it likes.
type arrival struct {
	n  uint32
	at time.Time
}

func (l lab) listen(t testing.TB) *stream {
	t.Helper()
	s := &stream{}
	err := l.NS("right").Do(func() (err error) {
		s.to, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(right), Port: 7000})
		return err
	})
	if err == nil {
		err = l.NS("left").Do(func() (err error) {
			s.from, err = net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(left), Port: 7001}, &net.UDPAddr{IP: net.ParseIP(right), Port: 7000})
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.from.Close(); s.to.Close() })
	raw, err := s.to.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	})
	if err := errors.Join(err, set); err != nil {
		t.Fatal(err)
	}
	return s
}

// send sends n datagrams with a gap between them.
func (s *stream) send(t testing.TB, n int, gap time.Duration) {
	t.Helper()
	b := make([]byte, datagram)
	for start, i := time.Now(), 0; i < n; i++ {
		for time.Since(start) < time.Duration(i)*gap {
			time.Sleep(gap / 2)
		}
		binary.BigEndian.PutUint32(b, s.next)
		s.next++
		s.left = append(s.left, time.Now())
		if _, err := s.from.Write(b); err != nil {
			t.Fatal(err)
		}
		s.sent = append(s.sent, time.Now())
	}
}

// receive returns the numbers that came, in order, when no more come.
func (s *stream) receive(t testing.TB) (got []uint32) {
	t.Helper()
	all, err := s.arrivals(func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		got = append(got, a.n)
	}
	return got
}

// across sends n datagrams, so many at once and then a pause, and returns what came.
func (s *stream) across(t testing.TB, n, chunk int, pause time.Duration) []arrival {
	t.Helper()
	var over atomic.Bool
	var got []arrival
	done := make(chan error, 1)
	go func() {
		var err error
		got, err = s.arrivals(func() bool { return !over.Load() })
		done <- err
	}()
	for sent := 0; sent < n; sent += chunk {
		s.send(t, min(chunk, n-sent), 0)
		time.Sleep(pause)
	}
	over.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return got
}

// arrivals is what came, in order, when no more comes: never while more is sent.
func (s *stream) arrivals(sending func() bool) (got []arrival, err error) {
	b, control := make([]byte, 2*datagram), make([]byte, 64)
	for {
		more := sending()
		if err := s.to.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return got, err
		}
		n, controls, _, _, err := s.to.ReadMsgUDPAddrPort(b, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && more:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return got, nil
		case err != nil || n != datagram:
			return got, fmt.Errorf("%d bytes, %v", n, err)
		}
		at, err := stamp(control[:controls])
		if err != nil {
			return got, err
		}
		got = append(got, arrival{binary.BigEndian.Uint32(b), at})
	}
}

// stamp is the kernel's time of a packet (SO_TIMESTAMPNS of socket(7)).
func stamp(control []byte) (time.Time, error) {
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range all {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix()), nil
		}
	}
	return time.Time{}, errors.New("a packet without the time of its arrival")
}

// serve starts a server that ends by itself or with the lab, and waits until its
// port is open.
func (l lab) serve(t testing.TB, node, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(need.Tool(t, name), args...)
	if err := l.Spawn(node, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if out := l.run(t, node, "ss", "-Hltn"); out != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", name)
		}
	}
}
