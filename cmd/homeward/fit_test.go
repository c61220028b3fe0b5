package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A log becomes a workload that a scenario takes, and files that it can use.
func TestFitALog(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	for i := range 200 {
		fmt.Fprintf(&log, `{"Protocol":"TCP","OriginPort":443,"BytesReceived":%d,"SessionStartTime":%d,"SessionEndTime":%d,"ConnectionCloseReason":"ORIGIN_CLOSED"}`+"\n",
			1000+i*i, 1_000_000_000+i*500_000_000, 1_000_000_000+i*500_000_000+(i%40+1)*100_000_000)
	}
	path := filepath.Join(dir, "sessions.jsonl")
	if err := os.WriteFile(path, []byte(log.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := Main([]string{"fit", path, "--cdf", filepath.Join(dir, "m")}, &out, &said); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &said)
	}
	for _, want := range []string{"rate: 2 ", "mix: {tcp: 1}", "close: server", "size: ", "holding: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	file := filepath.Join(dir, "f.yaml")
	text := "version: 1\nname: f\ndatacenters: [{id: lhr, egress: [198.51.100.0/32]}]\npopulation: {users: 1000}\n" + out.String() +
		"  - {id: as_logged, from: population, to: internet, rate: 1, size: file(m.size.txt), holding: file(m.holding.txt)}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := Main([]string{"validate", file}, &out, &said); code != exitOK {
		t.Errorf("the workload is refused: %s\n%s", &said, text)
	}
	if err := os.WriteFile(path, []byte("{\"SessionStartTime\":\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	if code := Main([]string{"fit", path}, &out, &said); code != exitUsage || !strings.Contains(said.String(), "sessions.jsonl:1: no session record") {
		t.Errorf("exit code %d for a broken log: %s", code, &said)
	}
}

// TestFitGivesBackWhatWasAsked: the log of a run whose workload was drawn by chance
// gives back that workload: rate, mix, times, sizes, and who closes.
func TestFitGivesBackWhatWasAsked(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "asked.yaml"), filepath.Join(dir, "out")
	text := `
version: 1
name: asked
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites: [{id: shop, count: 4, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
workload:
  - {id: w, from: shop.*.till, to: web, rate: 12, mix: {tcp: 0.7, udp: 0.3}, size: "lognormal(median=8kB, sigma=1)", holding: "exponential(mean=2s)", for: 30s}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said, fitted bytes.Buffer
	if code := Main([]string{"run", file, "--on", "sim", "--out", out}, &said, &said); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &said)
	}
	logs, err := filepath.Glob(filepath.Join(out, "*", "base", "sim", "sessions.jsonl"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v %v", logs, err)
	}
	if code := Main([]string{"fit", logs[0]}, &fitted, &said); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &said)
	}
	for _, tt := range []struct {
		form      string
		want, off float64
	}{
		{"rate: %f", 48, 3}, {"mix: {tcp: %f", 0.7, 0.04}, {"holding: exponential(mean=%fs", 2, 0.3}, {"size: lognormal(median=%fB", 8000, 800},
	} {
		var got float64
		head, _, _ := strings.Cut(tt.form, "%")
		_, rest, ok := strings.Cut(fitted.String(), head)
		if _, err := fmt.Sscanf(head+rest, tt.form, &got); !ok || err != nil || math.Abs(got-tt.want) > tt.off {
			t.Errorf("%s is %v (%v), want %v ± %v", tt.form, got, err, tt.want, tt.off)
		}
	}
	if !strings.Contains(fitted.String(), "close: client") {
		t.Error("somebody else closes")
	}
	if t.Failed() {
		t.Log(fitted.String())
	}
}
