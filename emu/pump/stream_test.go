package pump_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

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
	if err := s.to.SetReadBuffer(4 << 20); err != nil {
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
		if _, err := s.from.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// receive returns the numbers that came, in order, when no more come.
func (s *stream) receive(t testing.TB) (got []uint32) {
	t.Helper()
	b := make([]byte, 2*datagram)
	for {
		if err := s.to.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			t.Fatal(err)
		}
		n, err := s.to.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil || n != datagram {
			t.Fatalf("%d bytes, %v", n, err)
		}
		got = append(got, binary.BigEndian.Uint32(b))
	}
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
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if out := l.run(t, node, "ss", "-Hltn"); out != "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", name)
		}
	}
}
