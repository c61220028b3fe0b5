package studypage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/homeward-lab/homeward/reports/record"
)

// Names of what a study's directory holds.
const (
	JSON = "study.json"
	HTML = "report.html"
)

// Write writes a study into a directory: the page, its numbers as JSON, and everything
// that it plots as CSV, Parquet and SVG. A reader never sees half of a file.
func Write(dir string, s *record.Study) error {
	files, err := Files(s)
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := replace(path, f.Data); err != nil {
			return fmt.Errorf("study: %w", err)
		}
	}
	return nil
}

// File is one file of a study.
type File struct {
	Name string
	Data []byte
}

// Files are all files of a study: the same study, the same bytes.
func Files(s *record.Study) ([]File, error) {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return nil, err
	}
	files := []File{{JSON, append(text, '\n')}}
	for _, sh := range sheets(s) {
		if len(sh.rows) == 0 {
			continue
		}
		var b bytes.Buffer
		if err := writeCSV(&b, sh); err != nil {
			return nil, err
		}
		columns, err := writeParquet(sh)
		if err != nil {
			return nil, err
		}
		files = append(files, File{filepath.Join("data", sh.name+".csv"), b.Bytes()}, File{filepath.Join("data", sh.name+".parquet"), columns})
	}
	for _, c := range charts(s) {
		for _, format := range []string{"svg", "png"} {
			drawn, err := c.draw(format)
			if err != nil {
				return nil, err
			}
			files = append(files, File{filepath.Join("plots", c.Name+"."+format), drawn})
		}
	}
	page, err := Page(s)
	if err != nil {
		return nil, err
	}
	return append(files, File{HTML, page}), nil
}

// Partial writes the page and its numbers alone, while the study runs.
func Partial(dir string, s *record.Study) error {
	page, err := Page(s)
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, HTML), page)
}

// replace puts a whole file where another may be, on every system.
func replace(path string, data []byte) error {
	beside := path + ".new"
	if err := os.WriteFile(beside, data, 0o644); err != nil {
		return err
	}
	return os.Rename(beside, path)
}
