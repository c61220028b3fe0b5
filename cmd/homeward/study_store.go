package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// answers keeps what tasks have answered, in files of a directory: a study goes on
// where it was interrupted, and parts that were done elsewhere join.
type answers struct {
	dir   string
	key   string
	file  *os.File
	known map[string][]byte
	// stale says that there were answers of another study, scenario or program.
	stale bool
}

// answered is one line; the first line of a file has the key alone.
type answered struct {
	Key    string          `json:"key,omitempty"`
	ID     string          `json:"id,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
}

const answersPattern = "answers*.jsonl"

// openAnswers reads what is known and appends to answers.jsonl, or to a part's own file.
func openAnswers(dir, key, part string) (*answers, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a := &answers{dir: dir, key: key, known: map[string][]byte{}}
	files, err := filepath.Glob(filepath.Join(dir, answersPattern))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := a.read(f); err != nil {
			return nil, err
		}
	}
	name := filepath.Join(dir, "answers"+part+".jsonl")
	whole, err := a.intact(name)
	if err != nil {
		return nil, err
	}
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if whole == 0 {
		flags |= os.O_TRUNC
	}
	if a.file, err = os.OpenFile(name, flags, 0o644); err != nil {
		return nil, err
	}
	if whole > 0 {
		return a, a.file.Truncate(whole) // a line that was being written
	}
	return a, a.line(answered{Key: key})
}

// read takes a file's answers if they are of this study. Lines end with a newline
// once they are whole.
func (a *answers) read(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	in := bufio.NewReader(bytes.NewReader(data))
	for first := true; ; first = false {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var x answered
		if json.Unmarshal(line, &x) != nil {
			return fmt.Errorf("%s: a line that is no answer: want a directory of a study, or an empty one", name)
		}
		if first && x.Key != a.key {
			a.stale = true
			return nil
		}
		if x.ID != "" {
			a.known[x.ID] = x.Answer
		}
	}
}

// intact is how much of a file may stay: all whole lines of this study's.
func (a *answers) intact(name string) (int64, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var x answered
	first, _, ok := bytes.Cut(data, []byte("\n"))
	if !ok || json.Unmarshal(first, &x) != nil || x.Key != a.key {
		return 0, nil
	}
	return int64(bytes.LastIndexByte(data, '\n') + 1), nil
}

func (a *answers) line(x answered) error {
	out, err := json.Marshal(x)
	if err != nil {
		return err
	}
	_, err = a.file.Write(append(out, '\n'))
	return err
}

// keep writes one answer: it is on its way to the disk before it counts.
func (a *answers) keep(id string, body []byte) error { return a.line(answered{ID: id, Answer: body}) }

func (a *answers) close() error { return a.file.Close() }
