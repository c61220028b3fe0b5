// Package load reads scenario files: YAML in, spec out, or every mistake at
// once, each with its line, a caret, and what was probably meant.
//
// It knows the language's short forms, parameters, includes, variants and
// settings, and what makes a scenario meaningless (a route to nowhere, two
// owners of an address). It does not know what an engine can do, what a check
// expression means, or which addresses the lab will use: that is for plan and
// the checks' own compiler.
//
// Its law: a Doc has no mistake in any of its variants, and junk is an error
// with a position, never a panic.
package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// maxFile is the largest file that is read.
const maxFile = 4 << 20

// Doc is a scenario file without mistakes.
type Doc struct {
	// Spec is what the file says, includes taken in, before any variant and
	// without defaults.
	Spec *spec.Scenario

	file    *file
	words   words
	checker Checker
	mu      sync.Mutex
	base    *spec.Scenario               // the variant base, resolved
	results map[*spec.Scenario]*resolver // how resolved scenarios came to be
	recent  []*spec.Scenario             // those in results but base, oldest first
}

// file is one YAML file, decoded.
type file struct {
	src      *source
	root     *yaml.Node
	spec     *spec.Scenario
	tainted  map[*yaml.Node]bool
	sets     map[string][]pair
	includes []included
	// overrides are the params that were set from outside.
	overrides map[string]*yaml.Node
	errs      Errors
	over      bool // a bound was passed: what was read is not all
}

// included is a file that another one takes in.
type included struct {
	*file
	prefix string
}

// File reads a scenario file. The error is an Errors if the file could be read.
func File(path string, options ...Option) (*Doc, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Bytes(path, data, options...)
}

// readFile reads a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("scenario: %s is a directory, want a YAML file", path)
	}
	if info.Size() > maxFile {
		return nil, tooLarge(path, info.Size())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	if len(data) > maxFile { // what is no regular file does not say its size
		return nil, tooLarge(path, int64(len(data)))
	}
	return data, nil
}

func tooLarge(name string, size int64) error {
	return fmt.Errorf("scenario: %s has %d bytes, want at most %d", name, size, maxFile)
}

// Bytes reads a scenario from data; name is what errors call it, and the
// directory in it is where includes are looked for. Every variant is resolved,
// so that a mistake in any of them is an error here.
func Bytes(name string, data []byte, options ...Option) (*Doc, error) {
	if len(data) > maxFile {
		return nil, tooLarge(name, int64(len(data)))
	}
	d := &Doc{words: newWords(), results: map[*spec.Scenario]*resolver{}}
	for _, o := range options {
		o(d)
	}
	in := &includer{words: d.words, open: map[string]bool{filepath.Clean(name): true}}
	f := in.read(newSource(name, data), data, nil)
	if f.root == nil || f.over {
		return nil, f.allErrors().err()
	}
	d.file, d.Spec = f, f.spec
	if err := d.everyVariant(); err != nil {
		return nil, err
	}
	return d, nil
}

// everyVariant resolves all variants and joins their mistakes with those of decoding.
func (d *Doc) everyVariant() error {
	all := d.file.allErrors()
	known := map[Mistake]bool{}
	for _, m := range all {
		known[*m] = true
	}
	if n := len(d.Spec.Variants); n > maxVariants {
		all = append(all, d.Mistake("variants", fmt.Sprintf("%d variants, want at most %d", n, maxVariants)))
		return all.err()
	}
	for _, name := range d.Variants() {
		s, r, err := d.resolve(name, nil)
		if name == spec.Base && err == nil {
			d.base, d.results[s] = s, r
		}
		var errs Errors
		if !errors.As(err, &errs) {
			continue
		}
		for _, m := range errs {
			if known[*m] {
				continue
			}
			if name == spec.Base {
				known[*m] = true
			} else {
				m.Msg = fmt.Sprintf("in variant %s: %s", name, m.Msg)
			}
			all = append(all, m)
		}
	}
	return all.err()
}

// allErrors are the decoding errors of the file and what it includes.
func (f *file) allErrors() Errors {
	all := append(Errors(nil), f.errs...)
	for _, in := range f.includes {
		all = append(all, in.allErrors()...)
	}
	return all
}

// Variants are the names of the file's variants: base, then file order.
func (d *Doc) Variants() []string {
	names := []string{spec.Base}
	for _, v := range d.Spec.Variants {
		if v.Name != spec.Base {
			names = append(names, v.Name)
		}
	}
	return names
}

// parse reads YAML into its tree.
func parse(src *source, data []byte) (*yaml.Node, *Mistake) {
	if strings.TrimSpace(string(data)) == "" {
		return nil, src.mistake(0, 0, "the file is empty, want a scenario such as: version: 1", "")
	}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		var le *yaml.LoadError
		if !errors.As(err, &le) {
			return nil, src.mistake(0, 0, err.Error(), "")
		}
		msg := strings.TrimPrefix(le.Message, "yaml: ")
		switch {
		case strings.Contains(msg, "no documents"):
			msg = "the file holds only comments, want a scenario such as: version: 1"
		case strings.Contains(msg, "multiple"):
			msg = "the file holds several YAML documents, want one"
		case le.ContextMsg != "":
			msg = "not YAML: " + msg + " " + le.ContextMsg
		default:
			msg = "not YAML: " + msg
		}
		return nil, src.mistake(le.Mark.Line, le.Mark.Column, msg, "")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, src.mistake(0, 0, "the file is empty, want a scenario such as: version: 1", "")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, src.mistake(root.Line, root.Column, "want a mapping with version, name and datacenters, not "+kindName(root), "")
	}
	return root, nil
}
