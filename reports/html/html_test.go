package html

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/homeward-lab/homeward/reports/record/recordtest"
)

var keep = flag.String("keep", "", "also write the page of the fixture to this file, to look at it")

func TestPage(t *testing.T) {
	var got bytes.Buffer
	if err := Write(&got, recordtest.Results()); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		if err := os.WriteFile(*keep, got.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
