package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/homeward-lab/homeward/sim/sweep"
)

const workerEnv = "HOMEWARD_SWEEP_TEST_WORKER"

// TestMain is a worker too: one that can be killed.
func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		conn, err := nats.Connect(url, nats.Token(os.Getenv("TOKEN")), nats.NoReconnect())
		if err == nil {
			err = sweep.Work(context.Background(), conn, square, 1, true)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// square answers a number with its square; the job is how long it thinks.
func square(job []byte) (sweep.Do, error) {
	think, err := time.ParseDuration(string(job))
	return func(_ context.Context, body []byte) []byte {
		time.Sleep(think)
		n, err := strconv.Atoi(string(body))
		if err != nil {
			return []byte("no number")
		}
		return []byte(strconv.Itoa(n * n))
	}, err
}

func tasks(n int) []sweep.Task {
	all := make([]sweep.Task, n)
	for i := range all {
		all[i] = sweep.Task{ID: fmt.Sprint("task", i), Body: []byte(strconv.Itoa(i))}
	}
	return all
}

// collect runs tasks and checks that each was answered once, and right.
func collect(t *testing.T, s sweep.Sweep, n int, each func(done int)) {
	t.Helper()
	seen := map[string]string{}
	err := s.Run(t.Context(), tasks(n), func(k sweep.Task, body []byte) error {
		if _, twice := seen[k.ID]; twice {
			t.Errorf("%s was answered twice", k.ID)
		}
		seen[k.ID] = string(body)
		if each != nil {
			each(len(seen))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got := seen[fmt.Sprint("task", i)]; got != strconv.Itoa(i*i) {
			t.Errorf("task %d: %q, want %d", i, got, i*i)
		}
	}
}

func TestLocal(t *testing.T) {
	do, err := square([]byte("0s"))
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{0, 1, 5} {
		collect(t, sweep.Local{Do: do, Workers: workers}, 100, nil)
	}
}

// TestLocalEnds: an error of who takes answers ends the sweep, and so does the
// context; no task is begun after either.
func TestLocalEnds(t *testing.T) {
	var begun atomic.Int32
	do := func(context.Context, []byte) []byte { begun.Add(1); return nil }
	full := errors.New("the disk is full")
	err := sweep.Local{Do: do, Workers: 2}.Run(t.Context(), tasks(1000), func(sweep.Task, []byte) error { return full })
	if !errors.Is(err, full) || begun.Load() > 10 {
		t.Errorf("%v after %d tasks, want %v after a few", err, begun.Load(), full)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	err = sweep.Local{Do: do, Workers: 2}.Run(ctx, tasks(1000), func(sweep.Task, []byte) error { cancel(stop); return nil })
	if !errors.Is(err, stop) {
		t.Errorf("%v, want %v", err, stop)
	}
}

// remote is a coordinator with an embedded server.
func remote(t *testing.T, job string) (*sweep.Broker, *sweep.Remote) {
	t.Helper()
	b, err := sweep.NewBroker(sweep.Listen{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	conn, err := b.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	r, err := sweep.NewRemote(conn, []byte(job))
	if err != nil {
		t.Fatal(err)
	}
	return b, r
}

// worker starts a process.
func worker(t *testing.T, b *sweep.Broker) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+b.URL, "TOKEN="+b.Token)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// TestWorkerKilled: a worker that is killed while it holds tasks loses none, two
// rounds follow one another, and a worker may join late.
func TestWorkerKilled(t *testing.T) {
	b, r := remote(t, "3ms")
	victim := worker(t, b)
	collect(t, r, 300, func(done int) {
		if done == 20 {
			if err := victim.Process.Kill(); err != nil {
				t.Error(err)
			}
			worker(t, b)
		}
	})
	collect(t, r, 50, nil)
}

// TestDeadWorkersAreTold: when nobody is left, the sweep ends with what Alive says.
func TestDeadWorkersAreTold(t *testing.T) {
	_, r := remote(t, "0s")
	gone := errors.New("nobody is left")
	r.Alive = func() error { return gone }
	if err := r.Run(t.Context(), tasks(3), func(sweep.Task, []byte) error { return nil }); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
}

// TestBrokerKeepsToItself: nobody without the token, nothing beyond loopback
// without TLS and a token of the user's own, and no file that a killed coordinator
// would leave behind.
func TestBrokerKeepsToItself(t *testing.T) {
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	b, _ := remote(t, "0s")
	if left, err := os.ReadDir(scratch); len(left) > 0 || err != nil {
		t.Errorf("while it serves there is %v, %v, want nothing", left, err)
	}
	if conn, err := nats.Connect(b.URL, nats.Token("wrong")); err == nil {
		conn.Close()
		t.Error("a wrong token was let in")
	}
	if !strings.Contains(b.URL, "127.0.0.1") {
		t.Errorf("it listens at %s, want loopback alone", b.URL)
	}
	for _, l := range []sweep.Listen{{Address: "0.0.0.0:0"}, {Address: "0.0.0.0:0", Token: "known"}} {
		if b, err := sweep.NewBroker(l); !errors.Is(err, sweep.ErrOpen) {
			b.Close()
			t.Errorf("%+v: %v, want %v", l, err, sweep.ErrOpen)
		}
	}
	if _, err := sweep.NewBroker(sweep.Listen{Address: "nowhere"}); err == nil {
		t.Error("an address without a port was taken")
	}
}

// TestOtherJobIsRefused: a worker that cannot do a job says so.
func TestOtherJobIsRefused(t *testing.T) {
	b, _ := remote(t, "not a duration")
	conn, err := nats.Connect(b.URL, nats.Token(b.Token))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sweep.Work(t.Context(), conn, square, 1, true); err == nil {
		t.Error("a job that makes no sense was taken")
	}
}
