package run_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

const stayTraffic = `traffic:
  - {id: same, from: shop.*.till, to: web, tcp: 443, source_port: 40000, response: 64KiB, close: client}
  - {id: ask, from: shop.*.till, to: web, udp: 53, source_port: 41000}
  - {id: ping, from: shop.*.till, to: web, icmp: 7}
`

// stays brings a lab up that goes down with the test.
func stays(t *testing.T, arr bool, sink record.Sink) *run.Lab {
	t.Helper()
	need.Root(t)
	labtest.Clean(t)
	routes := ""
	if !arr {
		routes = equalRoutes
	}
	l, err := run.Up(t.Context(), compile(t, fmt.Sprintf(lab, arr, routes+stayTraffic)), sink, run.Options{AgentArgs: []string{agentWord}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return l
}

// The same flows again and again, from the same ports: each round has its own
// account, and nothing of an earlier one in it.
func TestLiveRounds(t *testing.T) {
	var memory record.Memory
	l := stays(t, true, &memory)
	for i, ids := range [][]string{nil, {"same"}, {"ask", "ping"}, nil} {
		flows, err := l.Traffic(t.Context(), run.Round{IDs: ids})
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if want := map[int]int{0: 9, 1: 3, 2: 6}[len(ids)]; len(flows) != want {
			t.Errorf("round %d: %d flows, want %d", i, len(flows), want)
		}
		for _, f := range flows {
			if f.Result != record.OK || f.SessionID == "" || f.HomeServer == "" || f.ReturnOnRamp != f.OnRamp {
				t.Errorf("round %d: %s#%d: %s (%s), session %q at %q back by %q", i, f.Traffic, f.N, f.Result, f.Reason, f.SessionID, f.HomeServer, f.ReturnOnRamp)
			}
		}
	}
	if _, err := l.Traffic(t.Context(), run.Round{IDs: []string{"sane"}}); !errors.As(err, new(*run.TrafficError)) || !strings.Contains(err.Error(), "same, ask, ping") {
		t.Errorf("traffic that there is not: %v", err)
	}
	looks, err := l.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	live := 0
	for server, look := range looks {
		for _, s := range l.Sessions(server, look.Sessions) {
			if live++; s.HomeServer != server || !strings.HasPrefix(s.OnRamp, "shop.") {
				t.Errorf("session %+v of %s", s, server)
			}
		}
	}
	if len(looks) != 4 || live < 6 { // datagrams' sessions live on
		t.Errorf("%d live sessions on %d servers, want at least 6 on 4", live, len(looks))
	}
	if m := l.Manifest(t.Context()); m.Partial || m.Metrics.Servers["lhr.1"]["packets"] == 0 {
		t.Errorf("manifest: partial %t, %v", m.Partial, m.Metrics.Servers)
	}
}

func misdelivered(f record.Flow) bool { return f.Result == record.Misdelivered }

// Where routes decide, a misdelivery is seen in every round, and is that round's own.
func TestLiveRoundsMisdeliver(t *testing.T) {
	l := stays(t, false, &record.Memory{})
	for i := range 2 {
		flows, err := l.Traffic(t.Context(), run.Round{IDs: []string{"ask"}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(flows, misdelivered) {
			t.Errorf("round %d: nothing misdelivered with equal routes: %+v", i, flows)
		}
	}
}

// A server that is killed is named, the others still serve, and all goes down.
func TestLiveServerKilled(t *testing.T) {
	need.Root(t)
	labtest.Clean(t)
	l, err := run.Up(t.Context(), compile(t, fmt.Sprintf(lab, true, stayTraffic)), &record.Memory{}, run.Options{AgentArgs: []string{agentWord}})
	if err != nil {
		t.Fatal(err)
	}
	pid := l.Pids()["lhr.1"]
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	looks, err := l.Look(t.Context())
	if err == nil || !strings.Contains(err.Error(), "lhr.1") || len(looks) != 3 {
		t.Errorf("a look at a killed server: %v and %d others", err, len(looks))
	}
	if lost := l.Lost(); len(lost) != 1 || lost["lhr.1"] == nil {
		t.Errorf("lost: %v, want lhr.1", lost)
	}
	if err := l.Down(); err == nil || !strings.Contains(err.Error(), "lhr.1") {
		t.Errorf("down: %v, want a word about lhr.1", err)
	}
}
