package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/fixture"
)

// TestSessions: the log of a result, filtered by any field; a wrong field is a
// mistake that names the right ones.
func TestSessions(t *testing.T) {
	dir := fixture.Write(t)
	call := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := Main(append([]string{"sessions"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	code, out, errs := call(dir, "--json")
	all := strings.Count(out, "\n")
	if code != 0 || all == 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")]), &first); err != nil || first["OriginTLSVersion"] == nil {
		t.Errorf("%v: %v", err, first)
	}
	one := filepath.Join(dir, fixture.Scenario, "base", fixture.Engine)
	if code, out, _ := call(one, "--json"); code != 0 || strings.Count(out, "\n") == 0 || strings.Count(out, "\n") > all {
		t.Errorf("one run: %d, %d records of %d", code, strings.Count(out, "\n"), all)
	}
	if _, out, _ := call(dir, "--json", "--where", "egresscoloname=lhr", "--where", "OriginIP=203.*", "--where", "Refused="); strings.Count(out, "\n") == 0 {
		t.Error("nothing passes a filter that all pass")
	}
	if code, out, _ := call(dir, "--where", "EgressColoName=NRT"); code != 0 || out != "" {
		t.Errorf("a filter that none passes: %d %s", code, out)
	}
	if code, out, _ := call(dir); code != 0 || !strings.Contains(out, "LHR → LHR") {
		t.Errorf("%d %s", code, out)
	}
	for _, bad := range [][]string{{}, {dir, "--where", "Egress"}, {dir, "--where", "Egress=1"}, {dir, "--where", "EgressIP=["}, {t.TempDir()}} {
		if code, _, errs := call(bad...); code != 2 || errs == "" {
			t.Errorf("%v: %d %s", bad, code, errs)
		}
	}
	if _, out, _ := call("--schema"); !strings.Contains(out, "EGRESS_PORT_ALLOCATION_ERROR") {
		t.Error("no schema")
	}
}

// TestGeofeed: the addresses of a scenario, aggregated (RFC 8805).
func TestGeofeed(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Main([]string{"geofeed", "dedicated_egress"}, &out, &errs); code != 0 {
		t.Fatalf("%d %s", code, errs.String())
	}
	for _, line := range []string{"192.0.2.33/32,JP,,,\n", "198.51.100.0/30,JP,,,\n", "2001:db8:100::/64,JP,,,\n", "2001:db8:102::/64,US,,,\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
}
