package host_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// pause is how long a program is held up where a test has it come late; told is by how
// much it must say that it was.
const pause, told = 300 * time.Millisecond, 200 * time.Millisecond

// A flow ends when the last of its answer arrives, not when its client comes to read it.
func TestEndIsArrival(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	w.serve(t, "echo", 7, nil)
	for _, f := range []plan.Flow{flow(plan.TCP, 1, 40000, 443), flow(plan.UDP, 2, 40000, 7)} {
		var over time.Time
		out := host.Run(t.Context(), []plan.Flow{f}, host.Config{
			Namespace: func(string) *netns.NS { return w.client.NS },
			Key:       key, Base: time.Now(),
			Late: func(string, time.Time, time.Duration) { time.Sleep(pause) },
			Done: func(int, host.Outcome) { over = time.Now() },
		})
		wantOK(t, f, out[0])
		if after := over.Sub(out[0].End); after < told {
			t.Errorf("%s: over %v after its end, want what its client was held up", f.Proto, after)
		}
		if took := out[0].End.Sub(out[0].Start); f.Proto == plan.UDP && took != out[0].RTT {
			t.Errorf("%s: took %v, want its round trip, %v", f.Proto, took, out[0].RTT)
		}
	}
}

// A client says how late it reads what has arrived, and sends what is due.
func TestClientTellsLateness(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	w.serve(t, "echo", 7, nil)
	web, ask := flow(plan.TCP, 1, 40000, 443), flow(plan.UDP, 2, 40000, 7)
	web.Response = 1 << 20 // more than one read takes
	ask.Packets = 3
	for _, f := range []plan.Flow{web, ask} {
		calls, longest := 0, time.Duration(0)
		out := host.Run(t.Context(), []plan.Flow{f}, host.Config{
			Namespace: func(string) *netns.NS { return w.client.NS },
			Key:       key, Base: time.Now(),
			Late: func(node string, at time.Time, d time.Duration) {
				if node != "a" || time.Since(at) > told || d < 0 {
					t.Errorf("%s: %s was late by %v at %v", f.Proto, node, d, at)
				}
				if calls++; calls == 2 { // behind the connection's set-up; what follows waits
					time.Sleep(pause)
				}
				longest = max(longest, d)
			},
		})
		wantOK(t, f, out[0])
		if longest < told || longest > 10*pause {
			t.Errorf("%s: late by %v at most, want about %v", f.Proto, longest, pause)
		}
	}
}

// So does an origin whose connections wait.
func TestOriginTellsLateness(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	begun := make(chan struct{}, 1)
	var mu sync.Mutex
	longest := time.Duration(0)
	c, err := host.Serve(t.Context(), w.origin.NS, plan.Service{Node: "web", Kind: "http", Address: w.origin.Address, Ports: []uint16{80}}, host.Options{
		Key: key,
		Late: func(node string, _ time.Time, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if node != "web" {
				t.Errorf("%s was late", node)
			}
			if longest = max(longest, d); len(begun) == 0 {
				begun <- struct{}{}
				time.Sleep(pause)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var answer []byte
	hosttest.Do(t, w.client.NS, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("%s:80", originAddr))
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, part := range []string{"GET / HTTP/1.1\r\n", "Host: web\r\nConnection: close\r\n\r\n"} {
			if _, err := io.WriteString(conn, part); err != nil {
				return err
			}
			time.Sleep(pause / 10) // each arrives by itself
		}
		answer, err = io.ReadAll(conn)
		return err
	})
	mu.Lock()
	defer mu.Unlock()
	if longest < told || longest > 10*pause || len(answer) == 0 {
		t.Errorf("late by %v at most, want about %v; answer %q", longest, pause, answer)
	}
}
