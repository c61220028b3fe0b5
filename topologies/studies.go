package topologies

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/homeward-lab/homeward/topologies/load"
)

// Studies holds the shipped studies, "studies/slice_size.yaml".
//
//go:embed studies/*.yaml
var Studies embed.FS

// StudyList names the shipped studies, sorted by name.
func StudyList() ([]Shipped, error) {
	entries, err := Studies.ReadDir("studies")
	if err != nil {
		return nil, fmt.Errorf("shipped studies: %w", err)
	}
	var out []Shipped
	for _, e := range entries {
		file := path.Join("studies", e.Name())
		data, err := Studies.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("shipped studies: %w", err)
		}
		s, err := load.StudyBytes(path.Join("topologies", file), data)
		if err != nil {
			return nil, err
		}
		out = append(out, Shipped{Name: strings.TrimSuffix(e.Name(), ".yaml"), File: file, Title: s.Spec.Title})
	}
	return out, nil
}
