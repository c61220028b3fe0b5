// Package need lets a test skip only for a lack that it has proved.
//
// A skip is a claim about the machine, so each function tries the thing
// itself. Where HOMEWARD_REQUIRE names the need ("root,bpf,tools"), as in CI,
// the lack is a failure instead.
package need

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Env is the environment variable that turns skips into failures: a comma
// separated list of root, bpf, tools, data, userns, schedstat and netem.
const Env = "HOMEWARD_REQUIRE"

func lack(tb testing.TB, what string, err error) {
	tb.Helper()
	if slices.Contains(strings.Split(os.Getenv(Env), ","), what) {
		tb.Fatalf("%s is required here, and lacking: %v", what, err)
	}
	tb.Skipf("needs %s: %v", what, err)
}

// Proven is for a lack that the caller has proved by trying: err says how.
func Proven(tb testing.TB, what string, err error) {
	tb.Helper()
	lack(tb, what, err)
}

// Tool needs a program on the path, and returns where it is.
func Tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lack(tb, "tools", err)
	}
	return path
}

// Data needs the folder of real inputs that HOMEWARD_DATA names, and returns it.
func Data(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("HOMEWARD_DATA")
	if dir == "" {
		lack(tb, "data", errors.New("HOMEWARD_DATA is not set"))
	}
	if _, err := os.Stat(dir); err != nil {
		tb.Fatalf("HOMEWARD_DATA: %v", err) // set, and wrong: never a skip
	}
	return dir
}
