package record

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/google/renameio/v2/maybe"
)

// inTime puts a file of events in the order of time. Events of different nodes
// arrive a little out of order while a run streams them; equal times keep the
// order of arrival.
func inTime(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type line struct {
		at   int64
		text []byte
	}
	var all []line
	for text := range bytes.Lines(data) {
		var e struct {
			AtNs int64 `json:"at_ns"`
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, line{e.AtNs, text})
	}
	byTime := func(a, b line) int { return cmp.Compare(a.at, b.at) }
	if slices.IsSortedFunc(all, byTime) {
		return nil
	}
	slices.SortStableFunc(all, byTime)
	sorted := make([]byte, 0, len(data))
	for _, l := range all {
		sorted = append(sorted, l.text...)
	}
	return maybe.WriteFile(path, sorted, 0o644)
}
