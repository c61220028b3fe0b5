package record_test

import (
	"path/filepath"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// The time line is in the order of time, however events arrived; at one
// instant, the order of arrival stands.
func TestEventsAreInTime(t *testing.T) {
	out, err := record.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	dir, err := out.Run("s", "base", "emu-hub")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []record.Event{{AtNs: 30, Node: "c"}, {AtNs: 10, Node: "a"}, {AtNs: 30, Node: "d"}, {AtNs: 20, Node: "b"}} {
		dir.Event(e)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	run, err := record.ReadRun(dir.Dir())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range run.Events {
		got += e.Node
	}
	if got != "abcd" {
		t.Errorf("events in the order %s, want abcd", got)
	}
}
