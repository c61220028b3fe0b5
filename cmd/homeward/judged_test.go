//go:build linux

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/homeward-lab/homeward/reports/check"
)

// saturated is how a run says that the machine had no time for its lab.
const saturated = "the lab was saturated"

// judged CMD ARGS... is exec for runs whose checks have to be judged, and hold, or
// with ! in front fall short: where a run ends with "could not be judged", and because
// its lab was saturated by its own measure, it is made again, at most four times, in a
// folder --out that is new again.
func judged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] judged PROGRAM ARG...")
	}
	want := exitOK
	if neg {
		want = check.ExitFail
	}
	for range 4 {
		err := ts.Exec(args[0], args[1:]...)
		said := ts.ReadFile("stdout")
		if code(err) == want {
			return
		}
		if code(err) != exitError || !strings.Contains(said, saturated) {
			ts.Fatalf("%v: exit code %d, want %d", args, code(err), want)
		}
		ts.Logf("not judged, so once more")
		if i := slices.Index(args, "--out"); i >= 0 && i+1 < len(args) {
			ts.Check(os.RemoveAll(ts.MkAbs(args[i+1])))
		}
	}
	ts.Fatalf("%v was saturated each time", args)
}

// eventually PATTERN CMD ARGS... is exec again and again, until what the command
// says matches.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN PROGRAM ARG...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(100 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%v never said %s, at last\n%s", args[1:], args[0], ts.ReadFile("stdout"))
}
