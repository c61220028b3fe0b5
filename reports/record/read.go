package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoResults is wrapped when a directory holds no results.
var ErrNoResults = errors.New("no results here")

// Results are everything in an output directory.
type Results struct {
	Dir       string
	Summaries []Summary
	// Runs are in the order of Summaries; runs without a summary (interrupted,
	// or still going) follow, by path.
	Runs []*Records
}

// Run finds a run, or nil.
func (r *Results) Run(scenario, variant, engine string) *Records {
	for _, run := range r.Runs {
		if run.Run.Scenario == scenario && run.Run.Variant == variant && run.Run.Engine == engine {
			return run
		}
	}
	return nil
}

// Summary finds a run's summary, or nil.
func (r *Results) Summary(run Run) *Summary {
	for i := range r.Summaries {
		s := &r.Summaries[i]
		if s.Scenario == run.Scenario && s.Variant == run.Variant && s.Engine == run.Engine {
			return s
		}
	}
	return nil
}

// Read reads an output directory, or that of one run alone. It wraps ErrNoResults if
// there are none.
// Errors name the file and line.
func Read(dir string) (*Results, error) {
	r := &Results{Dir: dir}
	err := readJSON(filepath.Join(dir, SummaryFile), &r.Summaries)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	manifests, err := filepath.Glob(filepath.Join(globEscape(dir), "*", "*", "*", ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if own := filepath.Join(dir, ManifestFile); len(manifests) == 0 {
		if _, err := os.Stat(own); err == nil {
			manifests = append(manifests, own)
		}
	}
	if len(manifests) == 0 && len(r.Summaries) == 0 {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", dir, ErrNoResults, bare(err))
		}
		return nil, fmt.Errorf("%s: %w: want %s or <scenario>/<variant>/<engine>/%s", dir, ErrNoResults, SummaryFile, ManifestFile)
	}
	slices.Sort(manifests)
	for _, m := range manifests {
		run, err := ReadRun(filepath.Dir(m))
		if err != nil {
			return nil, err
		}
		r.Runs = append(r.Runs, run)
	}
	rank := func(rec *Records) int {
		for i, s := range r.Summaries {
			if s.Scenario == rec.Run.Scenario && s.Variant == rec.Run.Variant && s.Engine == rec.Run.Engine {
				return i
			}
		}
		return len(r.Summaries)
	}
	slices.SortStableFunc(r.Runs, func(a, b *Records) int { return rank(a) - rank(b) })
	return r, nil
}

// globEscape makes a directory's name stand for itself in a pattern.
func globEscape(dir string) string {
	if os.PathSeparator == '\\' {
		return dir // no escapes on systems whose separator is the escape
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// ReadRun reads one run's directory, and wraps ErrNoResults if it is none. Of
// a Partial run, a last line that was cut off is left out; elsewhere it is an error.
func ReadRun(dir string) (*Records, error) {
	r := &Records{Dir: dir}
	err := readJSON(filepath.Join(dir, ManifestFile), &r.Run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: want %s", dir, ErrNoResults, ManifestFile)
	}
	if err != nil {
		return nil, err
	}
	cut := r.Run.Partial
	if r.Flows, err = readLines[Flow](filepath.Join(dir, FlowsFile), cut); err != nil {
		return nil, err
	}
	if r.Sessions, err = readLines[Session](filepath.Join(dir, SessionsFile), cut); err != nil {
		return nil, err
	}
	if r.Events, err = readLines[Event](filepath.Join(dir, EventsFile), cut); err != nil {
		return nil, err
	}
	return r, nil
}

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readLines reads a JSON Lines file. A missing file of a cut run is empty.
func readLines[T any](path string, cut bool) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		if cut && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	var all []T
	in := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		last := err != nil
		if len(line) > 0 {
			var v T
			switch err := json.Unmarshal(line, &v); {
			case err == nil && !(last && cut):
				all = append(all, v)
			case err != nil && !(last && cut):
				return nil, fmt.Errorf("%s:%d: %w", path, n, err)
			}
		}
		if last {
			return all, nil
		}
	}
}
