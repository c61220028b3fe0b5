package simbench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed ns3/ns3.cc
var ns3Source []byte

const (
	ns3Headers = "/usr/include/ns3/core-module.h"
	// ns3Version is Debian's; others are not compared with.
	ns3Version = "3.37"
)

// NS3 is the program of ns3/ns3.cc, or why there is none here. Close removes it.
type NS3 struct {
	// Version of ns-3, if Absent is empty.
	Version string
	// Absent says why ns-3 cannot be compared with.
	Absent string
	dir    string
}

// Build compiles it, where a compiler and ns-3 are. The error is of a machine
// that has both, and yet no program.
func Build(ctx context.Context) (*NS3, error) {
	n := &NS3{Version: ns3Version, Absent: lacking()}
	if n.Absent != "" {
		return n, nil
	}
	dir, err := os.MkdirTemp("", "homeward-ns3-")
	if err != nil {
		return nil, err
	}
	n.dir = dir
	source := filepath.Join(dir, "ns3.cc")
	if err := os.WriteFile(source, ns3Source, 0o600); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	// As Debian builds ns-3 itself: optimised.
	cmd := exec.CommandContext(ctx, "g++", "-O3", "-std=c++17", source, "-o", n.program(),
		"-lns3-core", "-lns3-network", "-lns3-internet", "-lns3-point-to-point", "-lns3-traffic-control", "-lns3-applications")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("g++ of a program for ns-3: %w: %s", err, out), n.Close())
	}
	return n, nil
}

// lacking says what of a compiler and ns-3 is not here.
func lacking() string {
	if _, err := exec.LookPath("g++"); err != nil {
		return "not without g++ (apt-get install g++ libns3-dev)"
	}
	if _, err := os.Stat(ns3Headers); err != nil {
		return "not here (apt-get install libns3-dev)"
	}
	if found, _ := filepath.Glob("/usr/lib/*/libns3-core.so" + filepath.Ext(ns3Version)); len(found) == 0 {
		return "not compared with versions other than " + ns3Version
	}
	return ""
}

func (n *NS3) program() string { return filepath.Join(n.dir, "ns3") }

// Close removes the program.
func (n *NS3) Close() error {
	if n.dir == "" {
		return nil
	}
	return os.RemoveAll(n.dir)
}

// Run runs a mode of the program, and returns the numbers that it prints, by
// name.
func (n *NS3) Run(ctx context.Context, mode string, args ...any) (map[string]uint64, error) {
	words := []string{mode}
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, n.program(), words...)
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ns-3 %s: %w: %s", strings.Join(words, " "), err, complaint.String())
	}
	fields, all := strings.Fields(string(out)), map[string]uint64{}
	for i := 0; i+1 < len(fields); i += 2 {
		if all[fields[i]], err = strconv.ParseUint(fields[i+1], 10, 64); err != nil {
			return nil, fmt.Errorf("ns-3 says %q: %w", out, err)
		}
	}
	return all, nil
}
