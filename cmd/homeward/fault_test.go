//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/need"
)

// broken is a scenario in the middle of several faults, of which one has stopped
// a process and one has killed another.
const broken = `version: 1
name: broken
datacenters: [{id: lhr, servers: 3, egress: [198.51.100.0/31]}]
sites: [{id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, serve: [echo]}]
traffic: [{id: beat, from: shop.*.till, to: web, udp: 7, packets: 200, interval: 50ms}]
faults:
  - {id: stopped, at: 0s, do: pause, on: lhr.1}
  - {id: dead, at: 0s, do: kill, on: lhr.2}
  - {id: cut, at: 100ms, do: flap, every: 100ms, on: shop.1.wan}
checks: [{id: some, expect: "beat.total == 1"}]
`

// SIGKILL in the middle of faults leaves nothing: not the server that stands
// still either.
func TestKillInFaultLeavesNothing(t *testing.T) {
	need.Root(t)
	before := machine(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(file, []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	cmd := homeward("run", file, "--out", out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var events []byte
		if found, _ := filepath.Glob(filepath.Join(out, "broken", "base", "emu-*", "events.jsonl")); len(found) == 1 {
			events, _ = os.ReadFile(found[0])
		}
		if strings.Count(string(events), `"kind":"fault"`) == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("the faults did not happen: %s", events)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	clean(t, before)
}
