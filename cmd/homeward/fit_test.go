package main

import (
	"bytes"
	"fmt"
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
