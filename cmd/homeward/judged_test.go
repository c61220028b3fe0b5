//go:build linux

package main

import (
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// saturated is how a run says that the machine had no time for its lab.
const saturated = "the lab was saturated"

// judged CMD ARGS... is exec for runs whose checks have to be judged: where a run
// ends with "could not be judged", and because its lab was saturated by its own
// measure, it is made again, at most four times, in a folder --out that is new again.
func judged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: judged PROGRAM ARG...")
	}
	for range 4 {
		err := ts.Exec(args[0], args[1:]...)
		said := ts.ReadFile("stdout")
		if err == nil {
			return
		}
		if code(err) != exitError || !strings.Contains(said, saturated) {
			ts.Fatalf("%v: %v", args, err)
		}
		ts.Logf("not judged, so once more")
		if i := slices.Index(args, "--out"); i >= 0 && i+1 < len(args) {
			ts.Check(os.RemoveAll(ts.MkAbs(args[i+1])))
		}
	}
	ts.Fatalf("%v was saturated each time", args)
}
