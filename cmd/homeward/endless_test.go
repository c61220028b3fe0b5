package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/check"
)

// Whatever a file asks for, a simulation ends and says why: a transfer without end by
// --timeout, with what is known by then; what nothing can pass, or nobody answers, as
// a lost flow; rates that no link has, and none at all, as any other.
func TestSimulationsEnd(t *testing.T) {
	const file = `version: 1
name: ends
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/30]}
sites:
  - {id: shop, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet:
  - {id: web, address: 203.0.113.9, serve: [http]}
links:
  access: {%s}
traffic:
  - {id: one, from: shop.*.till, to: web, tcp: 443, request: 200B, response: %s, connect: 5s, timeout: %s}
faults:
  - {id: dark, do: cut, on: shop.*.wan, at: %s}
checks:
  - {id: home, expect: one.ok == 1}
`
	for _, tt := range []struct {
		name, link, size, timeout, dark string
		code                            int
		want                            string
	}{
		{"endless", "rate: 10Gbit", "1000GB", "24h", "24h", exitError, "not done after --timeout 1s; its results are partial"},
		{"absurdly slow", "rate: 1bit", "1kB", "1h", "24h", check.ExitFail, "one#1 of shop.1.till is lost"},
		{"absurdly fast", "rate: 9000000Gbit", "10MB", "1h", "24h", exitOK, "pass"},
		{"in no time", "delay: 0s", "10MB", "1h", "24h", exitOK, "pass"},
		{"unreachable", "delay: 1ms", "1kB", "1h", "0s", check.ExitFail, "timed out waiting for the connection"},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "ends.yaml")
		if err := os.WriteFile(name, fmt.Appendf(nil, file, tt.link, tt.size, tt.timeout, tt.dark), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		args := []string{"run", name, "--on", "sim", "--out", filepath.Join(dir, "out")}
		if tt.name == "endless" {
			args = append(args, "--timeout", "1s")
		}
		if code := Main(args, &said, &said); code != tt.code || !strings.Contains(said.String(), tt.want) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", tt.name, code, tt.code, tt.want, &said)
		}
	}
}
