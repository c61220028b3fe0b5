package load_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
)

// FuzzBytes: junk is an error, never a panic; a document or an error, never
// both or neither; and a document resolves in each of its variants.
func FuzzBytes(f *testing.F) {
	files, err := filepath.Glob("testdata/errors/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../overlapping_branches.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(small))
	f.Add([]byte(everyWord))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "include") {
			return // would read files of the machine
		}
		d, err := load.Bytes("fuzz.yaml", data)
		if (d == nil) == (err == nil) {
			t.Fatalf("document %v and error %v, want one of them", d != nil, err)
		}
		if err != nil {
			var errs load.Errors
			if !errors.As(err, &errs) || len(errs) == 0 || err.Error() == "" {
				t.Fatalf("error %v is not Errors", err)
			}
			return
		}
		for _, v := range d.Variants() {
			if _, err := d.Resolve(v, nil); err != nil {
				t.Fatalf("variant %s of a good document: %v", v, err)
			}
		}
	})
}
