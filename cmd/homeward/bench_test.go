package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/figure"
)

// What a bench has measured when it is interrupted is told as partial, with the
// interruption and not with what broke because of it; the page says so too.
func TestPartialBench(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted by SIGINT"))
	broken := errors.New("ns-3: signal: killed")
	rows := []figure.Row{{ID: "sim.first", Value: 1, Unit: "ns"}, {ID: "sim.second", Value: 2, Unit: "ns"}}

	err := partly(ctx, rows, broken)
	const want = "partial, 2 rows measured, none after sim.second: interrupted by SIGINT"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if err := partly(ctx, nil, broken); err.Error() != "interrupted by SIGINT" {
		t.Errorf("without a row: %q", err)
	}
	if err := partly(t.Context(), rows, broken); !strings.HasSuffix(err.Error(), broken.Error()) {
		t.Errorf("uninterrupted: %q, want %q to be told", err, broken)
	}

	page := filepath.Join(t.TempDir(), "bench.html")
	if err := writeBench(page, "sim", rows, err); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "Partial, 2 rows") || !strings.Contains(string(text), "sim.second") {
		t.Errorf("%v: the page does not say that it is partial", err)
	}
}
