package host_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Who asks again after an answer went astray is answered for what is asked now.
func TestDropHalfOpen(t *testing.T) { eachFamily(t, dropsHalfOpen) }

func dropsHalfOpen(t *testing.T, a family) {
	w := a.world(t)
	w.serve(t, "http", 80, nil)
	astray := netlink.NewRule()
	astray.Dst, astray.Type, astray.Priority = netlink.NewIPNet(a.client.AsSlice()), unix.FR_ACT_BLACKHOLE, 1
	inside(t, w.router, func() error { return netlink.RuleAdd(astray) })

	f := a.flow(plan.TCP, 1, 40000, 80)
	f.Connect = 50 * time.Millisecond
	if o := run(t, map[string]world{"a": w}, f)[0]; o.Result != record.Lost {
		t.Fatalf("without a way back: %s, want %s", o.Result, record.Lost)
	}
	if n := halfOpen(t, w.origin.NS); n != 1 {
		t.Fatalf("%d half-open connections, want the one", n)
	}
	if err := host.DropHalfOpen(w.origin.NS); err != nil {
		t.Fatal(err)
	}
	if n := halfOpen(t, w.origin.NS); n != 0 {
		t.Errorf("%d half-open connections are left", n)
	}

	inside(t, w.router, func() error { return netlink.RuleDel(astray) })
	again := a.flow(plan.TCP, 2, 40000, 80)
	wantOK(t, again, run(t, map[string]world{"a": w}, again)[0])
}

func inside(t *testing.T, ns *netns.NS, f func() error) {
	t.Helper()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// halfOpen counts the connections in SYN_RECV.
func halfOpen(t *testing.T, ns *netns.NS) (n int) {
	t.Helper()
	inside(t, ns, func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			for line := range bytes.Lines(text) {
				if fields := bytes.Fields(line); len(fields) > 3 && string(fields[3]) == "03" {
					n++
				}
			}
		}
		return nil
	})
	return n
}
