package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "out")
	out := create(t, dir)
	rd, err := out.Run("s", "base", "emu-hub")
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	sink := Tee(rd, &mem)
	want := &Records{
		Dir:      rd.Dir(),
		Run:      Run{Scenario: "s", Variant: "base", Engine: "emu-hub", Seed: 1<<64 - 1, Started: time.Unix(5, 7).UTC(), WallMs: 9}.complete(),
		Flows:    []Flow{{Traffic: "same", N: 1, Src: "10.0.1.5:40000", Result: OK, BytesDown: 1 << 40}, {Traffic: "same", N: 2, Result: Misdelivered}},
		Sessions: []Session{{SessionID: strings.Repeat("ab", 16), EgressPort: 2048}},
		Events:   []Event{{AtNs: 4, Kind: "handover", Flow: "tcp 10.0.1.5:40000 > 203.0.113.9:443"}},
	}
	for _, f := range want.Flows {
		sink.Flow(f)
	}
	sink.Session(want.Sessions[0])
	sink.Event(want.Events[0])
	sink.Progress("traffic", 1, 2)
	sink.Run(want.Run)
	if err := rd.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRun(rd.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	inMemory := mem.Records()
	inMemory.Dir = want.Dir
	if diff := cmp.Diff(want, inMemory); diff != "" {
		t.Errorf("collected (-want +got):\n%s", diff)
	}
	text := read(t, filepath.Join(rd.Dir(), EventsFile))
	if !strings.Contains(text, "10.0.1.5:40000 > 203.0.113.9:443") {
		t.Errorf("events are not greppable: %s", text)
	}
	if err := rd.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestConcurrentSink(t *testing.T) {
	rd, err := create(t, t.TempDir()).Run("s", "base", "sim")
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 8, 500
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				rd.Flow(Flow{Traffic: "t", N: w*each + i})
				rd.Event(Event{AtNs: int64(i)})
			}
		})
	}
	wg.Wait()
	rd.Run(Run{})
	if err := rd.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRun(rd.Dir())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, f := range got.Flows {
		seen[f.N] = true
	}
	if len(seen) != workers*each || len(got.Flows) != workers*each || len(got.Events) != workers*each {
		t.Errorf("%d different flows of %d, %d events; want %d each", len(seen), len(got.Flows), len(got.Events), workers*each)
	}
}

func TestCreateRefuses(t *testing.T) {
	full := t.TempDir()
	for _, n := range []string{"a", "b", "c", "d"} {
		write(t, filepath.Join(full, n), "")
	}
	used := t.TempDir()
	create(t, used)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	tests := []struct {
		name, dir string
		is        error
		text      string
	}{
		{"not empty", full, ErrNotEmpty, "(a, b, c and 1 more)"},
		{"in use", used, ErrInUse, fmt.Sprintf("process %d", os.Getpid())},
		{"below a file", filepath.Join(file, "x"), nil, "cannot be made: not a directory"},
		{"no name", "", ErrUsage, "name is empty"},
		{"read-only file system", "/proc/homeward", nil, "cannot be made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Create(tt.dir)
			if err == nil {
				out.Close()
				t.Fatal("it was made")
			}
			if tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want one that wraps %v and says %q", err, tt.is, tt.text)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(full, lockFile)); err == nil {
		t.Error("a refused directory keeps a lock file")
	}
}

// TestKilledHolder: the lock of a process that died without cleaning up does
// not keep the directory.
func TestKilledHolder(t *testing.T) {
	if dir := os.Getenv("RECORD_TEST_HOLD"); dir != "" {
		if _, err := Create(dir); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // without Close, as if killed
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledHolder$")
	cmd.Env = append(os.Environ(), "RECORD_TEST_HOLD="+dir)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		t.Fatalf("the child left no lock, so this test shows nothing: %v", err)
	}
	create(t, dir)
}

func TestCloseFrees(t *testing.T) {
	dir := t.TempDir()
	out := create(t, dir)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := out.Run("s", "v", "sim"); !errors.Is(err, ErrUsage) {
		t.Errorf("Run after Close: got %v, want ErrUsage", err)
	}
	create(t, dir)
}

func TestRunNames(t *testing.T) {
	out := create(t, t.TempDir())
	if _, err := out.Run("s", "v", "sim"); err != nil {
		t.Fatal(err)
	}
	for _, n := range [][3]string{{"s", "v", "sim"}, {"..", "v", "sim"}, {"s", "a/b", "sim"}, {"s", "v", ""}} {
		if _, err := out.Run(n[0], n[1], n[2]); !errors.Is(err, ErrUsage) {
			t.Errorf("Run(%q): got %v, want ErrUsage", n, err)
		}
	}
}

// TestInterrupted: what was done before an interruption can be read, and the
// half-written run says that it is one.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	out := create(t, dir)
	done, err := out.Run("s", "done", "sim")
	if err != nil {
		t.Fatal(err)
	}
	done.Flow(Flow{Traffic: "t", N: 1})
	done.Run(Run{})
	if err := errors.Join(done.Close(), out.Summaries(Summary{Scenario: "s", Variant: "done", Engine: "sim", Verdict: Pass})); err != nil {
		t.Fatal(err)
	}
	half, err := out.Run("s", "base", "sim")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(half.Dir(), FlowsFile), `{"traffic":"t","n":1}`+"\n"+`{"traffic":"t","n`)
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Runs) != 2 || got.Runs[0].Run.Variant != "done" || got.Runs[0].Run.Partial || !got.Runs[1].Run.Partial {
		t.Fatalf("got runs %+v, want done, then base as partial", got.Runs)
	}
	if n := len(got.Runs[1].Flows); n != 1 {
		t.Errorf("got %d flows of the cut file, want 1", n)
	}
	if got.Summary(got.Runs[0].Run) == nil || got.Summary(got.Runs[1].Run) != nil {
		t.Error("summaries do not belong to their runs")
	}
	if got.Run("s", "base", "sim") != got.Runs[1] || got.Run("s", "x", "sim") != nil {
		t.Error("Run does not find a run by name")
	}
	if alone, err := Read(done.Dir()); err != nil || len(alone.Runs) != 1 || len(alone.Runs[0].Flows) != 1 {
		t.Errorf("a run's own directory: %+v, %v, want the one", alone, err)
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, ErrNoResults) {
		t.Errorf("empty directory: got %v, want ErrNoResults", err)
	}
	if _, err := Read(filepath.Join(dir, "none")); !errors.Is(err, ErrNoResults) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: got %v, want ErrNoResults and ErrNotExist", err)
	}
	if _, err := ReadRun(dir); !errors.Is(err, ErrNoResults) {
		t.Errorf("no run: got %v, want ErrNoResults", err)
	}
	write(t, filepath.Join(dir, ManifestFile), "{}")
	write(t, filepath.Join(dir, FlowsFile), "{}\n{broken\n")
	if _, err := ReadRun(dir); err == nil || !strings.Contains(err.Error(), FlowsFile+":2: ") {
		t.Errorf("broken line: got %v, want file and line", err)
	}
}

// TestWriteErrors: a file that cannot be written is reported by Close, not lost.
func TestWriteErrors(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal("this system has no /dev/full to write to")
	}
	rd, err := create(t, t.TempDir()).Run("s", "v", "sim")
	if err != nil {
		t.Fatal(err)
	}
	full, err := newLines("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	rd.flows.close()
	rd.flows = full
	rd.Flow(Flow{})
	rd.Run(Run{})
	if err := rd.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Close: got %v, want the failed write", err)
	}
}

// TestSessionSchema: field names and types of sessions.jsonl are those of the
// Network Session Log, as a sample and the newest page give them (SEMANTICS 6.4).
func TestSessionSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("session.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	good := Session{
		SessionID: strings.Repeat("0f", 16), ConnectionCloseReason: "CLIENT_CLOSED",
		Offramp: "INTERNET", OnrampType: "MAGIC", Protocol: "TCP", SessionStartTime: 1 << 60, OriginTLSValidation: "NONE",
	}
	if err := schema.Validate(decoded(t, good)); err != nil {
		t.Errorf("a session does not have the log's fields: %v", err)
	}
	for name, bad := range map[string]any{
		"renamed": map[string]any{"sessionID": "x"},
		"enum":    decoded(t, Session{SessionID: good.SessionID, ConnectionCloseReason: "closed", OriginTLSValidation: "NONE", Offramp: "INTERNET", OnrampType: "MAGIC", Protocol: "TCP"}),
	} {
		if schema.Validate(bad) == nil {
			t.Errorf("%s: the schema accepts it, so it would accept anything", name)
		}
	}
}

// TestFlowFields pins the names that others read: they may be added to, not renamed.
func TestFlowFields(t *testing.T) {
	want := strings.Fields(`traffic n client server proto src dst onramp ingress_dc home_server egress_dc
		egress_server egress_ip egress_port return_onramp delivered_to result reason
		bytes_up bytes_down rtt_ns start_ns end_ns`)
	line := decoded(t, Flow{}).(map[string]any)
	for _, name := range want {
		if _, ok := line[name]; !ok {
			t.Errorf("flows.jsonl lacks %q", name)
		}
	}
	if got := reflect.TypeFor[Flow]().NumField(); got < len(want) {
		t.Errorf("Flow has %d fields, want at least %d", got, len(want))
	}
}

func TestSummaryFile(t *testing.T) {
	dir := t.TempDir()
	out := create(t, dir)
	if err := out.Summaries(Summary{Scenario: "s", Variant: "v", Engine: "sim", Verdict: Skip, Reason: "no root"}); err != nil {
		t.Fatal(err)
	}
	if text := read(t, filepath.Join(dir, SummaryFile)); !strings.Contains(text, `"checks": []`) {
		t.Errorf("a run without checks has no empty list:\n%s", text)
	}
}

func create(t *testing.T, dir string) *Out {
	t.Helper()
	out, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

func decoded(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
