package simbench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// recipe says how a program for another simulator is made: of C++, with the
// libraries of Debian's package.
type recipe struct {
	name, version string // others are not compared with
	source        []byte
	header        string   // that is there where the package is
	library       string   // the file of that version
	flags         []string // for the linker
	packet        string   // Debian's
}

// Judge is a program of another simulator's, or why there is none here. Close
// removes it.
type Judge struct {
	// Name and Version of the simulator.
	Name, Version string
	// Absent says why it cannot be compared with.
	Absent string
	dir    string
}

// build compiles the program, where a compiler and the simulator are. The error is
// of a machine that has both, and yet no program.
func (r recipe) build(ctx context.Context) (*Judge, error) {
	j := &Judge{Name: r.name, Version: r.version, Absent: r.lacking()}
	if j.Absent != "" {
		return j, nil
	}
	dir, err := os.MkdirTemp("", "homeward-judge-")
	if err != nil {
		return nil, err
	}
	j.dir = dir
	source := filepath.Join(dir, "main.cc")
	if err := os.WriteFile(source, r.source, 0o600); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	// As Debian builds both simulators themselves: optimised.
	cmd := exec.CommandContext(ctx, "g++", append([]string{"-O3", "-std=c++17", source, "-o", j.program()}, r.flags...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("g++ of a program for %s: %w: %s", r.name, err, out), j.Close())
	}
	return j, nil
}

// lacking says what of a compiler and the simulator is not here.
func (r recipe) lacking() string {
	if _, err := exec.LookPath("g++"); err != nil {
		return fmt.Sprintf("not without g++ (apt-get install g++ %s)", r.packet)
	}
	if _, err := os.Stat(r.header); err != nil {
		return fmt.Sprintf("not here (apt-get install %s)", r.packet)
	}
	if found, _ := filepath.Glob(filepath.Join("/usr/lib/*", r.library)); len(found) == 0 {
		return "not compared with versions other than " + r.version
	}
	return ""
}

func (j *Judge) program() string { return filepath.Join(j.dir, "judge") }

// Close removes the program.
func (j *Judge) Close() error {
	if j.dir == "" {
		return nil
	}
	return os.RemoveAll(j.dir)
}

// output is what a mode of the program prints for these arguments and input.
func (j *Judge) output(ctx context.Context, in io.Reader, mode string, args ...any) ([]string, error) {
	words := []string{mode}
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, j.program(), words...)
	cmd.Stdin, cmd.Stderr = in, &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", j.Name, strings.Join(words, " "), err, complaint.String())
	}
	return strings.Fields(string(out)), nil
}

// Run runs a mode of the program, and returns the numbers that it prints, by name.
func (j *Judge) Run(ctx context.Context, mode string, args ...any) (map[string]uint64, error) {
	fields, err := j.output(ctx, nil, mode, args...)
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	for i := 0; i+1 < len(fields); i += 2 {
		if all[fields[i]], err = strconv.ParseUint(fields[i+1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s says %q: %w", j.Name, fields, err)
		}
	}
	return all, nil
}
