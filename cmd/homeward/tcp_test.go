//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/compare"
	"github.com/homeward-lab/homeward/reports/record"
	simrun "github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/sim/tcp"
)

// transfer is a download over 10 Mbit/s and 40 ms there and back.
const transfer = `version: 1
name: transfer
tcp_ecn: accept
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/31]}]
sites: [{id: shop, count: 1, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, serve: [http]}]
links: {access: {delay: 20ms, rate: 10Mbit, queue: 30kB}}
traffic: [{id: bulk, from: shop.*.till, to: web, tcp: 443, response: 6MB, timeout: 60s}]
checks: [{id: ok, expect: "bulk.ok == bulk.total"}]
`

// transferred is how much of it.
const transferred = "6000000"

// A transfer takes as long in virtual time as with the kernel's TCP, with either
// algorithm of congestion control: iperf3 says how long it took there.
func TestTCPTakesAsLongAsInTheLab(t *testing.T) { takesAsLong(t, transfer) }

// And where the line marks instead of dropping, and both ends understand that.
func TestMarkedTCPTakesAsLongAsInTheLab(t *testing.T) {
	takesAsLong(t, strings.NewReplacer("accept", "request", "queue: 30kB", "queue: 500kB, ce_threshold: 50ms").Replace(transfer))
}

func takesAsLong(t *testing.T, transfer string) {
	t.Helper()
	need.Root(t)
	need.Tool(t, "iperf3")
	dir := t.TempDir()
	file := filepath.Join(dir, "transfer.yaml")
	if err := os.WriteFile(file, []byte(transfer), 0o600); err != nil {
		t.Fatal(err)
	}
	vs, err := prepareAll([]string{file}, runFlags{})
	if err != nil {
		t.Fatal(err)
	}
	inLab := func(args ...string) *exec.Cmd {
		cmd := homeward(args...)
		cmd.Env = append(cmd.Env, control.RuntimeEnv+"="+filepath.Join(dir, "rt"))
		return cmd
	}
	if out, err := inLab("up", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	defer func() { _ = inLab("down", "--all").Run() }()
	for name, a := range map[string]tcp.Algorithm{"cubic": tcp.Cubic, "reno": tcp.NewReno} {
		var m record.Memory
		if err := simrun.Run(context.Background(), vs[0].plan, &m, simrun.Options{Congestion: a}); err != nil {
			t.Fatal(err)
		}
		f := m.Records().Flows[0]
		marks := int64(0)
		for _, w := range m.Records().Run.Metrics.Wires {
			marks += w.Marked
		}
		if asked := strings.Contains(transfer, "request"); asked != (marks > 0) {
			t.Errorf("%d marks in virtual time, asked for: %v", marks, asked)
		}
		if f.Result != record.OK {
			t.Fatalf("in virtual time: %s: %s", f.Result, f.Reason)
		}
		sim := time.Duration(f.EndNs - f.StartNs)
		near := func(kernel time.Duration) bool {
			return float64(max(sim-kernel, kernel-sim)) <= compare.TimeShare*float64(min(sim, kernel))
		}
		// A machine that is late makes a transfer longer: the shortest counts.
		kernel := download(t, inLab, name)
		for try := 1; try < 3 && kernel > sim && !near(kernel); try++ {
			kernel = min(kernel, download(t, inLab, name))
		}
		t.Logf("%s: %v in virtual time, %v in the lab", name, sim, kernel)
		if !near(kernel) {
			t.Errorf("%s: %v in virtual time and %v in the lab: %v apart", name, sim, kernel, max(sim-kernel, kernel-sim))
		}
	}
}

// download is how long one takes with an algorithm of the kernel's.
func download(t *testing.T, inLab func(...string) *exec.Cmd, algorithm string) time.Duration {
	t.Helper()
	server := inLab("exec", "web", "--", "iperf3", "-s", "-1", "--forceflush")
	says, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	for lines := bufio.NewScanner(says); lines.Scan() && !strings.Contains(lines.Text(), "listening"); {
	}
	out, err := inLab("exec", "shop.1.till", "--", "iperf3", "-c", "203.0.113.9", "-R", "-n", transferred, "-C", algorithm, "-J").Output()
	var said struct {
		Error string
		End   struct {
			Received struct{ Seconds float64 } `json:"sum_received"`
			Sender   string                    `json:"sender_tcp_congestion"`
		}
	}
	if e := json.Unmarshal(out, &said); err != nil || e != nil || said.Error != "" || said.End.Sender != algorithm {
		t.Fatalf("iperf3: %v, %v, %+v\n%s", err, e, said, out)
	}
	return time.Duration(said.End.Received.Seconds * float64(time.Second))
}
