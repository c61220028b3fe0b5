package run_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/run"
)

// What every lab of these tests has: three tills with one address, one origin.
const (
	tills  = 3
	till   = "10.0.1.5"
	router = "10.0.1.1" // of the LAN
	origin = "203.0.113.9"
)

// pool are the egress addresses of the lab's datacenters.
var pool = netip.MustParsePrefix("198.51.100.0/29")

// rooms are the nodes of a running lab, by id, to start programs in.
type rooms map[string]run.Door

func roomsOf(doors []run.Door) rooms {
	r := rooms{}
	for _, d := range doors {
		r[d.Node] = d
	}
	return r
}

func tillNode(site int) string { return fmt.Sprintf("shop.%d.till", site) }

// do runs f on a thread inside a node.
func (r rooms) do(t *testing.T, node string, f func() error) {
	t.Helper()
	ns, err := netns.Open(r[node].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if err := ns.Do(f); err != nil {
		t.Fatalf("in %s: %v", node, err)
	}
}

// said is what a program wrote, safe to read while it runs.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// socket is what a server is to listen on: "tcp" or "udp", and the port.
type socket struct {
	proto string
	port  int
}

// serve starts a server in the origin and returns when it listens. Nobody here
// ends it: the keeper does, with the lab, so t must be the lab's test.
func (r rooms) serve(t *testing.T, cmd *exec.Cmd, listens ...socket) {
	t.Helper()
	out := new(said)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 2*time.Second
	if err := r["web"].Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed by the keeper, or too early: then clients tell
		close(ended)
	}()
	t.Cleanup(func() { <-ended })
	deadline := time.Now().Add(time.Minute)
	for _, want := range listens {
		for !listening(cmd.Process.Pid, want) {
			select {
			case <-ended:
				t.Fatalf("%s ended: %s", cmd.Path, out)
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not listen on %v: %s", cmd.Path, want, out)
			}
		}
	}
}

// listening says whether anything in the namespace of a process has the
// socket: asking by connecting would disturb servers of one client.
func listening(pid int, want socket) bool {
	const listen, open = "0A", "07" // TCP_LISTEN; an unconnected UDP socket
	for _, version := range []string{"", "6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s%s", pid, want.proto, version))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text()) // sl local_address rem_address st …
			if len(fields) < 4 || (fields[3] != listen && fields[3] != open) {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil && int(port) == want.port {
				f.Close()
				return true
			}
		}
		f.Close()
	}
	return false
}

// answer is what a program said on one till, and how it ended.
type answer struct {
	site        int
	out, stderr string
	err         error
}

// atOnce runs a program on every till at the same moment, each for no longer
// than limit. command is given the site's number, from 1.
func (r rooms) atOnce(t *testing.T, limit time.Duration, command func(site int) *exec.Cmd) []answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	answers := make([]answer, tills)
	var wait sync.WaitGroup
	for i := range answers {
		a := &answers[i]
		a.site = i + 1
		wait.Go(func() {
			c := command(a.site)
			var out, stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, c.Path, c.Args[1:]...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.Stdin, &out, &stderr, time.Second
			if a.err = r[tillNode(a.site)].Spawn(cmd); a.err == nil {
				a.err = cmd.Wait()
			}
			a.out, a.stderr = out.String(), stderr.String()
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		t.Errorf("not done within %s", limit)
	}
	return answers
}

// wantEnd reports a program that did not end well.
func (a answer) wantEnd(t *testing.T) bool {
	t.Helper()
	if a.err != nil {
		t.Errorf("%s: %v\n%s%s", tillNode(a.site), a.err, a.out, a.stderr)
	}
	return a.err == nil
}
