package host_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Who closes first is who is left in TIME_WAIT (RFC 9293, 3.6).
func TestCloserIsHonoured(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	byClient, byServer := flow(plan.TCP, 1, 40000, 443), flow(plan.TCP, 2, 40001, 443)
	byServer.Close = "server"
	for i, o := range run(t, map[string]world{"a": w}, byClient, byServer) {
		wantOK(t, []plan.Flow{byClient, byServer}[i], o)
	}
	for _, c := range []struct {
		name string
		ns   *netns.NS
		port uint16 // the client's
	}{{"client", w.client.NS, 40000}, {"origin", w.origin.NS, 40001}} {
		deadline := time.Now().Add(20 * time.Second)
		for got := timeWait(t, c.ns); len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf(":%04X ", c.port)); got = timeWait(t, c.ns) {
			if time.Now().After(deadline) {
				t.Fatalf("in TIME_WAIT at the %s: %q, want the flow from port %d alone", c.name, got, c.port)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func timeWait(t *testing.T, ns *netns.NS) (lines []string) {
	t.Helper()
	hosttest.Do(t, ns, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/tcp")
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "06" {
				lines = append(lines, f[1]+" "+f[2]+" ")
			}
		}
		return err
	})
	return lines
}
