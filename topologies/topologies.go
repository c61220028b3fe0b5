// Package topologies holds the scenarios that ship with homeward.
//
// It is files and their list, nothing else: package load reads them.
package topologies

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/load"
)

// FS holds the shipped files, "overlapping_branches.yaml".
//
//go:embed *.yaml
var FS embed.FS

// Shipped is one scenario of ours.
type Shipped struct {
	// Name is the word for the command line, "overlapping_branches".
	Name string
	// File is the name in FS.
	File string
	// Title is one line for people.
	Title string
	// FlowLevel scenarios have users by the million, for studies alone: no engine that
	// moves packets plays them.
	FlowLevel bool
}

// List names the shipped scenarios that engines play, sorted by name.
func List() ([]Shipped, error) {
	all, err := All()
	return slices.DeleteFunc(all, func(s Shipped) bool { return s.FlowLevel }), err
}

// All is List with those for the flow level.
func All() ([]Shipped, error) {
	entries, err := FS.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("shipped scenarios: %w", err)
	}
	var out []Shipped
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".yaml")
		doc, err := Load(name)
		if err != nil {
			return nil, err
		}
		out = append(out, Shipped{Name: name, File: e.Name(), Title: doc.Spec.Title, FlowLevel: doc.Spec.Population != nil})
	}
	return out, nil
}

// Load reads a shipped scenario by its name. The error wraps fs.ErrNotExist if
// there is none of that name.
func Load(name string, options ...load.Option) (*load.Doc, error) {
	file := name + ".yaml"
	data, err := FS.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("shipped scenario %q: %w", name, err)
	}
	return load.Bytes(path.Join("topologies", file), data, options...)
}
