package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2/maybe"
)

// Names of the files of a result.
const (
	SummaryFile  = "summary.json"
	ManifestFile = "run.json"
	FlowsFile    = "flows.jsonl"
	SessionsFile = "sessions.jsonl"
	EventsFile   = "events.jsonl"
	CaptureFile  = "capture.pcapng"

	// lockFile is held open and locked for as long as its Out lives. Its name
	// is all that a killed run leaves behind, and that does not count as content.
	lockFile = ".lock"
	// againDir holds runs that are tried again; Read does not look so deep.
	againDir = ".again"
)

var (
	// ErrNotEmpty is wrapped when an output directory already holds something.
	ErrNotEmpty = errors.New("the directory is not empty")
	// ErrInUse is wrapped when another run writes to the directory at this moment.
	ErrInUse = errors.New("the directory is in use by another run")
	// ErrUsage is wrapped when a name cannot be a directory, or a run is written twice.
	ErrUsage = errors.New("bad use of an output directory")
)

// Out is an output directory that is being written. It is safe for concurrent
// use: several runs may be written at once.
type Out struct {
	dir  string
	lock *os.File

	mu        sync.Mutex
	summaries []Summary
	runs      map[string]bool // relative directories handed out
	closed    bool
}

// Create makes the directory (and its parents) and takes it for this process.
// It wraps ErrNotEmpty if the directory holds anything, ErrInUse if another
// process writes to it, and otherwise the system's error if it cannot be written.
func Create(dir string) (*Out, error) {
	if dir == "" {
		return nil, fmt.Errorf("output directory: %w: the name is empty", ErrUsage)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("output directory %s cannot be made: %w; choose a directory that you may write", dir, bare(err))
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	switch {
	case errors.Is(err, ErrInUse):
		return nil, fmt.Errorf("output directory %s: %w; wait for it to end or choose another directory", dir, err)
	case err != nil:
		return nil, fmt.Errorf("output directory %s cannot be written: %w; choose a directory that you may write", dir, bare(err))
	}
	if err := mustBeEmpty(dir); err != nil {
		return nil, errors.Join(err, dropLock(lock))
	}
	return &Out{dir: dir, lock: lock, runs: map[string]bool{}}, nil
}

// mustBeEmpty refuses a directory with anything but a lock in it.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("output directory %s cannot be read: %w", dir, bare(err))
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockFile {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	const show = 3
	text := strings.Join(names[:min(show, len(names))], ", ")
	if len(names) > show {
		text += fmt.Sprintf(" and %d more", len(names)-show)
	}
	return fmt.Errorf("output directory %s: %w (%s): results of two runs are never mixed; choose another directory or remove this one", dir, ErrNotEmpty, text)
}

// bare strips operation and path from an error whose text gives them already.
func bare(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Dir is the directory, as it was given to Create.
func (o *Out) Dir() string { return o.dir }

var component = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Run makes <scenario>/<variant>/<engine>/ with a manifest that says Partial,
// so that a run which never ends is recognised. The caller Closes the RunDir.
func (o *Out) Run(scenario, variant, engine string) (*RunDir, error) {
	for _, name := range []string{scenario, variant, engine} {
		if !component.MatchString(name) {
			return nil, fmt.Errorf("%w: %q cannot name a directory; want letters, digits, '_', '-' and '.'", ErrUsage, name)
		}
	}
	rel := filepath.Join(scenario, variant, engine)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, fmt.Errorf("%w: %s is closed", ErrUsage, o.dir)
	case o.runs[rel]:
		return nil, fmt.Errorf("%w: %s is written a second time", ErrUsage, rel)
	}
	o.runs[rel] = true
	return newRunDir(filepath.Join(o.dir, rel), begun(scenario, variant, engine))
}

// begun is the manifest of a run that has not ended.
func begun(scenario, variant, engine string) Run {
	return Run{Scenario: scenario, Variant: variant, Engine: engine, Started: time.Now().UTC(), Partial: true}
}

// Again makes a directory for another try of a run that is written already. Until
// Replace it is no result, and nothing is lost of the run's directory.
func (o *Out) Again(scenario, variant, engine string) (*RunDir, error) {
	rel := filepath.Join(scenario, variant, engine)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, fmt.Errorf("%w: %s is closed", ErrUsage, o.dir)
	case !o.runs[rel]:
		return nil, fmt.Errorf("%w: %s is tried again before it was tried", ErrUsage, rel)
	}
	d, err := newRunDir(filepath.Join(o.dir, againDir, rel), begun(scenario, variant, engine))
	if err == nil {
		d.replaces = filepath.Join(o.dir, rel)
	}
	return d, err
}

// DropAgain removes what tries have left that replaced nothing.
func (o *Out) DropAgain() error { return os.RemoveAll(filepath.Join(o.dir, againDir)) }

// Summaries adds to summary.json and writes the whole file atomically. Call it
// after each run: what an interruption finds done stays done.
func (o *Out) Summaries(add ...Summary) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.summaries = append(o.summaries, add...)
	all := slices.Clone(o.summaries)
	for i := range all {
		if all[i].Checks == nil {
			all[i].Checks = []CheckResult{} // a list in the file, never null
		}
	}
	if all == nil {
		all = []Summary{}
	}
	return writeJSON(filepath.Join(o.dir, SummaryFile), all)
}

// Close gives the directory free. Later calls do nothing.
func (o *Out) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	return dropLock(o.lock)
}

// WriteFile replaces <dir>/<name> atomically: junit.xml, report.html.
func (o *Out) WriteFile(name string, data []byte) error {
	if err := maybe.WriteFile(filepath.Join(o.dir, name), data, 0o666); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(o.dir, name), bare(err))
	}
	return nil
}

// writeJSON replaces path with v, indented for people, atomically where the
// system can.
func writeJSON(path string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := maybe.WriteFile(path, b.Bytes(), 0o666); err != nil {
		return fmt.Errorf("write %s: %w", path, bare(err))
	}
	return nil
}
