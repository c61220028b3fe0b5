// Package golden compares what a test made with a file of what it should be.
//
// `go test ./the/package -update` rewrites the files; the reviewer reads the
// difference. It is for tests alone. Its law: without -update no file changes.
package golden

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files instead of comparing with them")

// Equal fails the test unless got is the content of the file, byte for byte,
// and says at which line they part.
func Equal(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no golden file %s: run the test with -update and read what it writes", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if at := diff(got, want); at != "" {
		t.Errorf("%s: %s\nif the change is meant, run the test with -update", path, at)
	}
}

// diff says where two texts part; empty if nowhere.
func diff(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := 0; i < len(g) && i < len(w); i++ {
		if !bytes.Equal(g[i], w[i]) {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("got %d lines, want %d", len(g), len(w))
}
