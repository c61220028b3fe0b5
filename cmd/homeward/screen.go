package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/homeward-lab/homeward/reports/record"
)

// screen shows how far things are: one line that changes on a terminal; a line
// when a lab's traffic begins elsewhere.
type screen struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	last time.Time
	seen map[string]bool
}

func newScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	return &screen{w: w, terminal: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb", seen: map[string]bool{}}
}

const redraw = 100 * time.Millisecond

func (s *screen) progress(run, stage string, done, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		if stage == stageFlows && !s.seen[run] {
			s.seen[run] = true
			fmt.Fprintf(s.w, "%s: %d %s\n", run, total, stage)
		}
		return
	}
	if now := time.Now(); now.Sub(s.last) >= redraw || done == total {
		s.last = now
		line := run + ": " + stage
		if total > 1 {
			line += fmt.Sprintf(" %d/%d", done, total)
		}
		fmt.Fprintf(s.w, "\r\x1b[K%s", fit(line, s.width()))
	}
}

// width of the terminal; 0 if it does not say.
func (s *screen) width() int {
	f, ok := s.w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// fit shortens a line, which is ASCII, from the left to what a terminal shows in
// one row: of a longer one, the terminal would keep the rows above.
func fit(line string, columns int) string {
	if columns < 2 || len(line) < columns {
		return line
	}
	return line[len(line)-columns+1:]
}

// clear takes the changing line away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminal {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

// sink is the screen as a record.Sink: it shows progress and keeps nothing.
func (s *screen) sink(run string) record.Sink { return progressSink{s, run} }

type progressSink struct {
	screen *screen
	run    string
}

func (progressSink) Flow(record.Flow)       {}
func (progressSink) Session(record.Session) {}
func (progressSink) Event(record.Event)     {}
func (progressSink) Run(record.Run)         {}
func (p progressSink) Progress(stage string, done, total int) {
	p.screen.progress(p.run, stage, done, total)
}

// printVerdicts says how each run went: of checks only what is not as it should
// be, for the report has the rest.
func printVerdicts(w io.Writer, all []record.Summary) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		var expected []string
		for _, c := range s.Checks {
			if c.Expected {
				expected = append(expected, c.ID)
			}
		}
		note := count(len(s.Checks)-len(expected), "check")
		if len(expected) > 0 {
			note += "; falling short as expected: " + strings.Join(expected, ", ")
		}
		if s.Tries > 1 {
			note += fmt.Sprintf("; judged by %d tries", s.Tries)
		}
		if s.Checks == nil {
			note = ""
		}
		fmt.Fprintf(tw, "%s\t%s/%s\t%s\t%.1f s\t%s\n", s.Verdict, s.Scenario, s.Variant, s.Engine, float64(s.WallMs)/1000, note)
	}
	tw.Flush()
	for _, s := range all {
		for line := range strings.Lines(s.Reason) {
			fmt.Fprintf(w, "\n%s/%s: %s\n", s.Scenario, s.Variant, strings.TrimSpace(line))
		}
		for _, c := range s.Checks {
			if (c.Verdict != record.Pass && !c.Expected) || c.UnexpectedPass {
				fmt.Fprintf(w, "\n%s/%s %s: %s: %s\n", s.Scenario, s.Variant, c.ID, shortfall(c), c.Detail)
			}
		}
	}
}

func shortfall(c record.CheckResult) string {
	if c.UnexpectedPass {
		return "holds, and was expected to fall short"
	}
	return string(c.Verdict)
}
