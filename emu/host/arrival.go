package host

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/late"
)

// receive reads a datagram or some of a stream, and when the last of it arrived.
func receive(raw syscall.RawConn, b []byte) (n int, at time.Time, err error) {
	var oob [64]byte
	var oobn int
	var result error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, result = unix.Recvmsg(int(fd), b, oob[:], 0)
		return result != unix.EAGAIN && result != unix.EINTR
	})
	at = time.Now()
	if err = errors.Join(err, result); err != nil {
		return 0, at, err
	}
	if t, ok := stamp(oob[:oobn]); ok {
		at = t
	}
	return n, at, nil
}

// handed is how long the kernel, which was asked to send at asked, took until now: who
// sends may be kept in between, with the packet's time begun. 0 if that is no longer than
// it is at any time.
func handed(asked time.Time) time.Duration {
	if d := time.Since(asked); d >= late.Least {
		return d
	}
	return 0
}

func stamp(oob []byte) (time.Time, bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return time.Time{}, false
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS {
			if t, ok := timespec(m.Data); ok {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

// stream reads a TCP connection.
type stream struct {
	raw syscall.RawConn
	// disorder is how many segments had arrived out of order when it was last looked at,
	// ordered when it was last found to have grown: of what came before that, when it
	// arrived does not say since when it could be read.
	disorder uint32
	ordered  time.Time
}

// receive reads some, and when the last of it could be read first: when it arrived, and
// now where that cannot be known. What arrives before what it follows has to wait for
// that, which is not late.
func (s *stream) receive(b []byte) (n int, at time.Time, err error) {
	n, at, err = receive(s.raw, b)
	if err != nil || n == 0 || time.Since(at) < late.Least {
		return n, at, err
	}
	if d, known := s.disordered(); !known || d != s.disorder {
		s.disorder, s.ordered = d, time.Now() // what comes in between counts once more
	}
	if !at.After(s.ordered) {
		at = time.Now()
	}
	return n, at, nil
}

// disordered is how many segments arrived out of order so far.
func (s *stream) disordered() (n uint32, known bool) {
	_ = s.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n, known = info.Rcv_ooopack, true
		}
	})
	return n, known
}
