package pump_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/pump"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// The test binary is its own pump: the lab starts it again with this word.
const pumpWord = "serve-as-pump"

func TestMain(m *testing.M) {
	children := map[string]func() error{pumpWord: func() error { return pump.Main(os.Stdin, os.Stdout) }, labWord: hold}
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		if err := children[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	left, right = "10.0.0.1", "10.0.0.2"
	linkID      = "left-right"
)

// twoHosts is one link between two hosts; the same impairment each way.
func twoHosts(im spec.Impairment) *plan.Plan {
	end := func(node, own, other string, mac byte) plan.Endpoint {
		return plan.Endpoint{
			Node: node, Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac},
			Addresses: []netip.Prefix{netip.MustParsePrefix(own + "/24")}, Neighbors: []netip.Addr{netip.MustParseAddr(other)},
		}
	}
	return &plan.Plan{
		Scenario: "two_hosts", Seed: 7,
		Nodes: []plan.Node{{ID: "left", Kind: plan.KindHost}, {ID: "right", Kind: plan.KindHost}},
		Links: []plan.Link{{ID: linkID, MTU: 1500, A: end("left", left, right, 1), B: end("right", right, left, 2), AB: im, BA: im}},
	}
}

// lab is a running twoHosts.
type lab struct {
	*keeper.Lab
	pump  *pump.Pump
	meter *pump.Meter
}

func up(t testing.TB, p *plan.Plan) lab {
	t.Helper()
	need.Root(t)
	before, err := keeper.TakeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := keeper.Leftovers(before); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	l, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := pump.Start(l.Spawn, p, pump.Options{Exe: "/proc/self/exe", Args: []string{pumpWord}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	m, err := pump.StartMeter(l.NS, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab{l, w, m}
}

// run runs a program in a node and returns what it said.
func (l lab) run(t testing.TB, node, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(need.Tool(t, name), args...)
	out, err := l.output(node, cmd)
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return out
}

func (l lab) output(node string, cmd *exec.Cmd) (string, error) {
	var out writer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.Spawn(node, cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return string(out), err
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }
