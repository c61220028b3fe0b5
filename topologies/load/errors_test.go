package load_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/internal/golden"
	"github.com/homeward-lab/homeward/topologies/load"
)

// TestErrors reads files that are wrong, one class of mistakes each, and
// compares everything that is said about them.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			doc, err := load.File(file)
			var errs load.Errors
			if doc != nil || !errors.As(err, &errs) {
				t.Fatalf("got %v and %v, want no document and Errors", doc, err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(file)+string(filepath.Separator), "") + "\n"
			golden.Equal(t, strings.TrimSuffix(file, ".yaml")+".golden", []byte(got))
		})
	}
}
