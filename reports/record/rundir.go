package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// RunDir is the directory of one variant on one engine, and a Sink. Records
// are streamed to their files, buffered until Close. The first write that
// fails is reported by Close; later records are then discarded.
type RunDir struct {
	dir      string
	replaces string // of another try: the run's directory

	mu       sync.Mutex
	manifest Run
	flows    *lines
	sessions *lines
	events   *lines
	err      error
	closed   bool
}

var _ Sink = (*RunDir)(nil)

func newRunDir(dir string, manifest Run) (*RunDir, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("run directory %s cannot be made: %w", dir, bare(err))
	}
	d := &RunDir{dir: dir, manifest: manifest}
	if err := writeJSON(filepath.Join(dir, ManifestFile), manifest.complete()); err != nil {
		return nil, err
	}
	var err error
	for _, f := range []struct {
		to   **lines
		name string
	}{{&d.flows, FlowsFile}, {&d.sessions, SessionsFile}, {&d.events, EventsFile}} {
		if *f.to, err = newLines(filepath.Join(dir, f.name)); err != nil {
			return nil, errors.Join(err, d.closeFiles())
		}
	}
	return d, nil
}

// Dir is the run's directory; captures go there too.
func (d *RunDir) Dir() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dir
}

// Replace puts another try, which is closed, in the place of the run's directory.
func (d *RunDir) Replace() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed || d.replaces == "" {
		return fmt.Errorf("%w: %s is not closed, or no other try", ErrUsage, d.dir)
	}
	earlier := d.dir + ".earlier"
	if err := os.Rename(d.replaces, earlier); err != nil {
		return fmt.Errorf("replace %s: %w", d.replaces, err)
	}
	if err := os.Rename(d.dir, d.replaces); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", d.replaces, err), os.Rename(earlier, d.replaces))
	}
	d.dir, d.replaces = d.replaces, ""
	return os.RemoveAll(earlier)
}

// Flow appends to flows.jsonl.
func (d *RunDir) Flow(f Flow) { d.append(d.flows, f) }

// Session appends to sessions.jsonl.
func (d *RunDir) Session(s Session) { d.append(d.sessions, s) }

// Event appends to events.jsonl.
func (d *RunDir) Event(e Event) { d.append(d.events, e) }

// Progress is not recorded.
func (d *RunDir) Progress(string, int, int) {}

// Run writes the manifest in place of the one that says Partial. Scenario,
// variant and engine stay those of the directory.
func (d *RunDir) Run(r Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.err != nil {
		return
	}
	r.Scenario, r.Variant, r.Engine = d.manifest.Scenario, d.manifest.Variant, d.manifest.Engine
	d.err = writeJSON(filepath.Join(d.dir, ManifestFile), r.complete())
}

// append writes v as one line.
func (d *RunDir) append(to *lines, v any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.err != nil {
		return
	}
	d.err = to.add(v)
}

// Close flushes, puts the events in the order of time, and reports the first
// error of the run's files. Later calls
// do nothing and later records are discarded.
func (d *RunDir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if err := errors.Join(d.err, d.closeFiles()); err != nil {
		return err
	}
	return inTime(filepath.Join(d.dir, EventsFile))
}

func (d *RunDir) closeFiles() error {
	var all error
	for _, l := range []*lines{d.flows, d.sessions, d.events} {
		if l != nil {
			all = errors.Join(all, l.close())
		}
	}
	return all
}

// complete makes every map and list of a manifest present in the file.
func (r Run) complete() Run {
	if r.Versions == nil {
		r.Versions = map[string]string{}
	}
	if r.Features == nil {
		r.Features = map[string]string{}
	}
	if r.Metrics.Servers == nil {
		r.Metrics.Servers = map[string]map[string]int64{}
	}
	if r.Topology.Nodes == nil {
		r.Topology.Nodes = []TopologyNode{}
	}
	if r.Topology.Links == nil {
		r.Topology.Links = []TopologyLink{}
	}
	return r
}

// lines is a JSON Lines file.
type lines struct {
	file *os.File
	buf  *bufio.Writer
	enc  *json.Encoder
}

func newLines(path string) (*lines, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be made: %w", path, bare(err))
	}
	buf := bufio.NewWriterSize(f, 1<<16)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false) // "10.0.0.1 > 10.0.0.2" must stay greppable
	return &lines{file: f, buf: buf, enc: enc}, nil
}

func (l *lines) add(v any) error {
	if err := l.enc.Encode(v); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), bare(err))
	}
	return nil
}

func (l *lines) close() error {
	err := errors.Join(l.buf.Flush(), l.file.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	return nil
}
