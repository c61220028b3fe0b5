package swarm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// written is a failing case beside its scenario.
type written struct {
	Seed uint64 `json:"seed"`
	// Command finds the whole case again.
	Command   string     `json:"command"`
	Violation *Violation `json:"violation"`
	Scenario  string     `json:"scenario"` // the file, in the same directory
	Steps     []Step     `json:"steps"`
}

// Command is what finds a seed's case again.
func Command(seed uint64) string { return fmt.Sprintf("homeward swarm --seed %d --runs 1", seed) }

// Write writes a failing case into a directory: its scenario as a file of the
// language, and beside it what happens, which the language has no words for. It
// returns the path of the latter, which Read takes.
func Write(dir string, c *Case, v *Violation) (string, error) {
	text, err := Text(c.Scenario)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("swarm-%d", c.Seed)
	var head strings.Builder
	first, _, _ := strings.Cut(v.Error(), "\n")
	fmt.Fprintf(&head, "# %s\n# The whole case: %s\n", first, Command(c.Seed))
	for _, s := range c.Steps {
		fmt.Fprintf(&head, "# At %v: %s %s, for %v\n", s.At, s.Do, s.On, s.For)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".yaml"), append([]byte(head.String()), text...), 0o666); err != nil {
		return "", err
	}
	all, err := json.MarshalIndent(written{c.Seed, Command(c.Seed), v, name + ".yaml", c.Steps}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".json")
	return path, os.WriteFile(path, append(all, '\n'), 0o666)
}

// Read reads what Write wrote. The scenario may have been changed since.
func Read(path string) (*Case, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var w written
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if w.Scenario == "" || filepath.Base(w.Scenario) != w.Scenario {
		return nil, fmt.Errorf("%s: scenario %q, want the name of a file beside it", path, w.Scenario)
	}
	for _, s := range w.Steps {
		if s.At < 0 || s.For < 0 || s.At > time.Hour || s.For > time.Hour {
			return nil, fmt.Errorf("%s: step %q at %v for %v, want times of an hour at most", path, s.Do, s.At, s.For)
		}
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), w.Scenario))
	if err != nil {
		return nil, err
	}
	return &Case{Seed: w.Seed, Text: text, Steps: w.Steps}, nil
}
