package loop_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/loop"
)

// worker counts its turns, and reads from a pipe.
type worker struct {
	fd       int
	patience time.Duration
	turns    chan byte
	fail     error
}

func (w *worker) Descriptors(fds []int) []int { return append(fds, w.fd) }

func (w *worker) Patience() time.Duration { return w.patience }

func (w *worker) Turn() error {
	var b [1]byte
	unix.Read(w.fd, b[:]) // nothing there is no byte
	select {
	case w.turns <- b[0]:
	default:
	}
	return w.fail
}

func start(t *testing.T, patience time.Duration, fail error) (l *loop.Loop, w *worker, pipe int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	w = &worker{fd: fds[0], patience: patience, turns: make(chan byte, 1), fail: fail}
	l, err := loop.Start(w)
	if err != nil {
		t.Fatal(err)
	}
	return l, w, fds[1]
}

// turn waits for one.
func turn(t *testing.T, w *worker, want byte) {
	t.Helper()
	select {
	case got := <-w.turns:
		if got != want {
			t.Errorf("the turn read %d, want %d", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no turn within 5s")
	}
}

func TestTurns(t *testing.T) {
	l, w, pipe := start(t, -1, nil)
	if _, err := unix.Write(pipe, []byte{7}); err != nil {
		t.Fatal(err)
	}
	turn(t, w, 7)
	l.Ring()
	turn(t, w, 0)
	select {
	case <-w.turns:
		t.Error("a turn for nothing")
	case <-time.After(20 * time.Millisecond):
	}
	for range 2 {
		if err := l.Stop(); err != nil {
			t.Errorf("Stop = %v", err)
		}
	}
	select {
	case <-l.Done():
	default:
		t.Error("stopped, and not done")
	}
}

func TestPatience(t *testing.T) {
	l, w, _ := start(t, time.Millisecond, nil)
	turn(t, w, 0)
	turn(t, w, 0)
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

func TestFailure(t *testing.T) {
	want := errors.New("broken")
	l, w, _ := start(t, -1, want)
	if err := l.Err(); err != nil {
		t.Errorf("Err of one that runs = %v", err)
	}
	l.Ring()
	turn(t, w, 0)
	<-l.Done()
	if err := l.Err(); !errors.Is(err, want) {
		t.Errorf("Err = %v, want %v", err, want)
	}
	if err := l.Stop(); !errors.Is(err, want) {
		t.Errorf("Stop = %v, want %v", err, want)
	}
}
