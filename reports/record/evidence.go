package record

import (
	"errors"
	"os"
	"path/filepath"
)

// Folders of a run's directory that hold what a lab was like when its traffic
// was over: kept, with CaptureFile, of runs that are not as expected.
const (
	// TablesDir has SERVER.json for each server: its live flows.
	TablesDir = "tables"
	// LogsDir has NODE.txt for each process that has said something.
	LogsDir = "logs"
)

// Evidence lists what is kept of a lab in a run's directory, relative to it.
func Evidence(dir string) []string {
	var all []string
	for _, pattern := range []string{CaptureFile, TablesDir + "/*.json", LogsDir + "/*.txt"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the patterns are well formed
		for _, f := range found {
			if rel, err := filepath.Rel(dir, f); err == nil {
				all = append(all, filepath.ToSlash(rel))
			}
		}
	}
	return all
}

// DropEvidence removes it.
func DropEvidence(dir string) error {
	err := os.Remove(filepath.Join(dir, CaptureFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(dir, TablesDir)), os.RemoveAll(filepath.Join(dir, LogsDir)))
}
