package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// place gives the test a runtime directory of its own.
func place(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rt")
	t.Setenv(RuntimeEnv, dir)
	return dir
}

// keeps listens under a name with the handlers, until the test ends.
func keeps(t *testing.T, name string, handlers map[string]Handler) *Lab {
	t.Helper()
	c, err := Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, c.UnixListener, handlers) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(c.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return &Lab{name, c.dir}
}

func TestCall(t *testing.T) {
	place(t)
	l := keeps(t, "lab", map[string]Handler{
		"add": func(_ context.Context, c *Call) error {
			var terms []int
			if err := c.Args(&terms); err != nil {
				return err
			}
			sum := 0
			for _, n := range terms {
				sum += n
				if err := c.Send(sum); err != nil {
					return err
				}
			}
			return nil
		},
		"refuse": func(context.Context, *Call) error { return Usagef("not %d", 7) },
		"fail":   func(context.Context, *Call) error { return errors.New("broken") },
	})
	var sums []int
	each := func(raw json.RawMessage) error {
		var n int
		defer func() { sums = append(sums, n) }()
		return json.Unmarshal(raw, &n)
	}
	if err := l.Call(t.Context(), Ask{Do: "add", Args: []int{1, 2, 3}, Each: each}); err != nil || fmt.Sprint(sums) != "[1 3 6]" {
		t.Errorf("add: %v, %v", sums, err)
	}
	for do, want := range map[string]*Error{
		"refuse":  {Usage, "not 7"},
		"fail":    {Failed, "broken"},
		"unheard": {Lack, `this lab cannot "unheard"`},
	} {
		var got *Error
		if err := l.Call(t.Context(), Ask{Do: do}); !errors.As(err, &got) || *got != *want {
			t.Errorf("%s: %v, want %v", do, err, want)
		}
	}
	var e *Error
	if err := l.Call(t.Context(), Ask{Do: "add", Args: "words"}); !errors.As(err, &e) || e.Kind != Usage {
		t.Errorf("arguments of the wrong kind: %v", err)
	}
}

// Descriptors arrive, whole, and the keeper keeps none of them.
func TestFiles(t *testing.T) {
	place(t)
	var taken []uintptr
	l := keeps(t, "lab", map[string]Handler{"copy": func(_ context.Context, c *Call) error {
		from, to := c.Files()[0], c.Files()[1]
		taken = append(taken, from.Fd(), to.Fd())
		_, err := io.Copy(to, from)
		return err
	}})
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("the whole text"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	long := strings.Repeat("x", 1<<20) // the line is longer than a socket's buffer
	if err := l.Call(t.Context(), Ask{Do: "copy", Args: long, Files: []*os.File{r, w}}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); string(got) != "the whole text" {
		t.Errorf("copied %q, %v", got, err)
	}
	for _, fd := range taken {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.HasPrefix(to, dir) {
			t.Errorf("descriptor %d of %s is still open", fd, to)
		}
	}
}

// A caller that goes ends what is done for it; a keeper that goes ends the call.
func TestGone(t *testing.T) {
	place(t)
	ended := make(chan struct{})
	began := make(chan struct{}, 1)
	l := keeps(t, "lab", map[string]Handler{"wait": func(ctx context.Context, _ *Call) error {
		began <- struct{}{}
		<-ctx.Done()
		close(ended)
		return nil
	}})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-began; cancel(errors.New("enough")) }()
	if err := l.Call(ctx, Ask{Do: "wait"}); err == nil || err.Error() != "enough" {
		t.Errorf("a call that was given up: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the keeper works on for a caller that is gone")
	}
	c, err := Listen("dying")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := c.AcceptUnix()
		if err == nil {
			conn.Close()
		}
	}()
	if err := (&Lab{"dying", c.dir}).Call(t.Context(), Ask{Do: "wait"}); !errors.Is(err, ErrKeeperGone) {
		t.Errorf("a keeper that dies in the middle: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := (&Lab{"dying", c.dir}).Call(t.Context(), Ask{Do: "wait"}); !errors.Is(err, ErrKeeperGone) {
		t.Errorf("a keeper that has died: %v", err)
	}
}

func TestTell(t *testing.T) {
	place(t)
	l := keeps(t, "lab", map[string]Handler{"echo": func(_ context.Context, c *Call) error {
		for line := range c.Told() {
			if string(line) == `"end"` {
				return nil
			}
			if err := c.Send(line); err != nil {
				return err
			}
		}
		return errors.New("no end")
	}})
	lines := make(chan any, 3)
	for _, s := range []string{"a", "b", "end"} {
		lines <- s
	}
	var got []string
	err := l.Call(t.Context(), Ask{Do: "echo", Tell: lines, Each: func(raw json.RawMessage) error {
		got = append(got, string(raw))
		return nil
	}})
	if err != nil || strings.Join(got, "") != `"a""b"` {
		t.Errorf("echo: %v, %v", got, err)
	}
}

// Another version is refused by its number, from both sides.
func TestVersion(t *testing.T) {
	place(t)
	l := keeps(t, "lab", nil)
	c, err := l.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.write(map[string]any{"version": Version + 1, "do": "info"}); err != nil {
		t.Fatal(err)
	}
	var r reply
	if err := c.read(&r); err != nil || r.Error == nil || !strings.Contains(r.Error.Text, "another version of homeward") {
		t.Errorf("got %+v, %v", r, err)
	}
}

// The socket is its user's alone, and so is the directory, or it is not used.
func TestPrivate(t *testing.T) {
	dir := place(t)
	keeps(t, "lab", nil)
	for path, want := range map[string]os.FileMode{dir: 0o700, dir + "/lab.sock": 0o600, dir + "/lab.log": 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", path, st.Mode().Perm(), err, want)
		}
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{open, link, "/dev/null"} {
		t.Setenv(RuntimeEnv, bad)
		if _, err := Listen("lab2"); err == nil {
			t.Errorf("%s was used for a socket", bad)
		}
		if _, _, err := Labs(); err == nil {
			t.Errorf("%s was looked into", bad)
		}
	}
}

// listener is this test as a keeper that does not clean up.
const listenerEnv = "HOMEWARD_TEST_LISTENER"

func TestMain(m *testing.M) {
	if n := os.Getenv(listenerEnv); n != "" {
		c, err := Listen(n)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Fprintln(c.Log, "panic: as an example")
		fmt.Println("listening")
		select {}
	}
	os.Exit(m.Run())
}

// What a killed keeper leaves is recognised, told once with its last words, and
// removed; a living one's name is taken.
func TestStale(t *testing.T) {
	place(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), listenerEnv+"=lab")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("lab"); !errors.As(err, new(*TakenError)) {
		t.Errorf("a name that is taken: %v", err)
	}
	labs, gone, err := Labs()
	if len(labs) != 1 || labs[0].Name != "lab" || len(gone) != 0 || err != nil {
		t.Errorf("labs %v, gone %v, %v, want the one", labs, gone, err)
	}
	if p, err := labs[0].Keeper(); err != nil || p.Pid != cmd.Process.Pid {
		t.Errorf("keeper %v, %v, want %d", p, err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	labs, gone, err = Labs()
	if len(labs) != 0 || len(gone) != 1 || gone[0] != (Gone{"lab", "panic: as an example"}) || err != nil {
		t.Errorf("labs %v, gone %v, %v, want the one gone", labs, gone, err)
	}
	if labs, gone, err = Labs(); len(labs)+len(gone) != 0 || err != nil {
		t.Errorf("told twice: labs %v, gone %v, %v", labs, gone, err)
	}
	keeps(t, "lab", nil)
}

// Many want one name at the same time: one gets it, dead keepers before or not.
func TestOneName(t *testing.T) {
	dir := place(t)
	for range 20 {
		if err := private(dir); err != nil {
			t.Fatal(err)
		}
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/lab.sock", Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		var mu sync.Mutex
		var won []*Claim
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				c, err := Listen("lab")
				if err == nil {
					mu.Lock()
					won = append(won, c)
					mu.Unlock()
				} else if !errors.As(err, new(*TakenError)) {
					t.Error(err)
				}
			})
			wait.Go(func() { Labs() })
		}
		wait.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have the name, want one", len(won))
		}
		if labs, _, err := Labs(); len(labs) != 1 || err != nil {
			t.Fatalf("labs %v, %v, want the one", labs, err)
		}
		if err := won[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever removes the directory does not keep a keeper from ending.
func TestDirectoryGone(t *testing.T) {
	dir := place(t)
	c, err := Listen("lab")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), c.UnixListener, nil) }()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it still serves")
	}
}

// The last lab takes the directory along, whoever comes at that moment gets another
// one, and a directory that the user chose stays.
func TestLastOneOut(t *testing.T) {
	t.Setenv(RuntimeEnv, "")
	home := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", home)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			name := fmt.Sprintf("lab%d", i)
			for range 50 {
				c, err := Listen(name)
				if err != nil {
					t.Error(err)
					return
				}
				if !alive(&Lab{name, filepath.Join(home, "homeward")}) {
					t.Errorf("%s is not found", name)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if left, err := os.ReadDir(home); len(left) != 0 || err != nil {
		t.Errorf("left %v, %v, want nothing", left, err)
	}
	dir := place(t)
	c, err := Listen("lab")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the user's own directory: %v", err)
	}
}

func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	t.Setenv(RuntimeEnv, dir)
	l := keeps(t, "lab", map[string]Handler{"ok": func(context.Context, *Call) error { return nil }})
	if err := l.Call(t.Context(), Ask{Do: "ok"}); err != nil {
		t.Errorf("in a directory of %d characters: %v", len(dir), err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"lab": true, "a-1_b.c": true, "7": true, strings.Repeat("a", 64): true,
		"": false, ".lab": false, "-x": false, "a/b": false, "Lab": false, "a b": false, strings.Repeat("a", 65): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, c := range []struct{ got, want string }{
		{"shop.1.tlil", "did you mean shop.1.till?"},
		{"till", "did you mean shop.1.till?"},
		{"qqqq", "there are shop.1.till, web"},
	} {
		if err := NoSuch("node", c.got, "lab x", []string{"shop.1.till", "web"}); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.got, err, c.want)
		}
	}
}

// A process that may open no more files refuses the call, and goes on.
func TestNoDescriptorsLeft(t *testing.T) {
	place(t)
	l := keeps(t, "lab", map[string]Handler{"ok": func(context.Context, *Call) error { return nil }})
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	var many []*os.File
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	files := []*os.File{f, f, f}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	low := lim
	low.Cur = uint64(len(open)) + 8 // enough for both ends of a call, not for its files
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		many = append(many, f)
	}
	for range 3 { // the caller's end, the keeper's end, and one of three files
		many[len(many)-1].Close()
		many = many[:len(many)-1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	refused := l.Call(ctx, Ask{Do: "ok", Files: files})
	for _, f := range append(many, f) {
		f.Close()
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if refused == nil {
		t.Error("three files came to where one had room")
	}
	if err := l.Call(t.Context(), Ask{Do: "ok"}); err != nil {
		t.Errorf("after it has room again: %v", err)
	}
}
