package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/study"
	"github.com/homeward-lab/homeward/sim/study/models"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// longer than any run: a failure of a study does not heal.
const longer = 1 << 50

// studyText is a study with all that a worker needs to do its tasks.
type studyText struct {
	Name string `json:"name"`
	Text []byte `json:"text"`
	// ScenarioName and ScenarioText; a shipped scenario has no text.
	ScenarioName string `json:"scenario_name"`
	ScenarioText []byte `json:"scenario_text,omitempty"`
	// Program that asks: workers are the same.
	Program string `json:"program"`
}

// key is what answers of tasks depend on.
func (t *studyText) key() string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(t.Program), t.Text, []byte(t.ScenarioName), t.ScenarioText} {
		fmt.Fprintf(h, "%d ", len(part))
		h.Write(part)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:32]
}

// ownProgram is this program: answers of another one may differ in their last digits.
func ownProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:32], nil
}

// readStudy finds a study, a file if there is one, else a shipped name.
func readStudy(name string) (*studyText, error) {
	t := &studyText{Name: name}
	var err error
	if t.Program, err = ownProgram(); err != nil {
		return nil, judgeless(err)
	}
	if isFile(name) {
		if t.Text, err = os.ReadFile(name); err != nil {
			return nil, usagef("study: %w", err)
		}
		return t, nil
	}
	word := strings.ReplaceAll(name, "-", "_")
	t.Name = "topologies/studies/" + word + ".yaml"
	t.Text, err = topologies.Studies.ReadFile("studies/" + word + ".yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%s: no such file, and no shipped study of that name (there are: %s)", name, strings.Join(shippedNames(topologies.StudyList), ", "))
	}
	return t, err
}

// isFile says whether a name means a file rather than something shipped.
func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil || strings.ContainsAny(name, "/\\") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// openedStudy is a study ready to run.
type openedStudy struct {
	*studyText
	study       *load.Study
	doc         *load.Doc
	maker       study.Maker
	datacenters []string
}

// open reads the study's text, its scenario, and all that is wrong with either.
func (t *studyText) open() (*openedStudy, error) {
	s, err := load.StudyBytes(t.Name, t.Text)
	if err != nil {
		return nil, usage(err)
	}
	o := &openedStudy{studyText: t, study: s}
	if err := o.openScenario(); err != nil {
		return nil, err
	}
	base, err := o.doc.Resolve(spec.Base, s.Spec.Set)
	if err == nil || !isMistakes(err) {
		err = s.Check(o.doc)
	} else {
		err = errors.Join(s.Check(o.doc), err)
	}
	if err != nil {
		return nil, usage(err)
	}
	for _, d := range base.Datacenters {
		o.datacenters = append(o.datacenters, d.ID)
	}
	o.maker = o.makerOf(base)
	return o, usageOf(o.names())
}

func isMistakes(err error) bool {
	var errs load.Errors
	return errors.As(err, &errs)
}

func usageOf(err error) error {
	if err == nil {
		return nil
	}
	return usage(err)
}

// openScenario reads the scenario: what came with the text, a shipped one, or a file
// beside the study.
func (o *openedStudy) openScenario() (err error) {
	name := o.study.Spec.Scenario
	if o.ScenarioText == nil && o.ScenarioName == "" {
		beside := filepath.Join(filepath.Dir(o.Name), name)
		if _, err := os.Stat(beside); err == nil && strings.ContainsAny(name, "./\\") {
			o.ScenarioName = beside
			if o.ScenarioText, err = os.ReadFile(beside); err != nil {
				return usagef("scenario: %w", err)
			}
		} else {
			o.ScenarioName = strings.ReplaceAll(name, "-", "_")
		}
	}
	if o.ScenarioText != nil {
		if o.doc, err = load.Bytes(o.ScenarioName, o.ScenarioText, load.WithChecker(checkMistakes)); err != nil {
			return usage(err)
		}
		return nil
	}
	o.doc, err = topologies.Load(o.ScenarioName, load.WithChecker(checkMistakes))
	if errors.Is(err, fs.ErrNotExist) {
		return usage(o.study.Unknown("scenario", "shipped scenario or file", name, shippedNames(topologies.All)))
	}
	return usageOf(err)
}

// resolve makes the scenario of a point.
func (o *openedStudy) resolve(p study.Point, more ...spec.Setting) (*spec.Scenario, error) {
	var sets []spec.Setting
	for _, s := range p.Settings(o.study.Spec) {
		if !load.InternetKnob(s.Path) {
			sets = append(sets, s)
		}
	}
	return o.doc.Resolve(p.Variant(o.study.Spec), append(sets, more...))
}

func (o *openedStudy) makerOf(base *spec.Scenario) study.Maker {
	s := o.study.Spec
	switch s.Level {
	case "catchment":
		return &models.Catchment{Study: s, Resolve: o.resolve, Datacenters: o.datacenters}
	case "flows":
		return &models.Flows{Study: s, Resolve: o.resolve, Datacenters: o.datacenters, Landing: base.Population != nil}
	case "convergence":
		return &models.Convergence{Study: s, Resolve: o.resolve}
	}
	return &packets{study: s, doc: o.doc, resolve: o.resolve}
}

// names finds measures and datacenters that there are not.
func (o *openedStudy) names() error {
	s := o.study.Spec
	var known []string
	for _, m := range o.maker.Measures() {
		known = append(known, m.Name)
	}
	var all load.Errors
	measure := func(at, name string) {
		if !contains(known, name) {
			all = append(all, o.study.Unknown(at, "measure", name, known))
		}
	}
	for i, m := range s.Measures {
		measure(fmt.Sprintf("measures[%d]", i), m)
	}
	for i, q := range s.Solve {
		if c, err := spec.ParseCondition(q.SuchThat); err == nil {
			measure(fmt.Sprintf("solve[%d].such_that", i), c.Measure)
		}
	}
	if t := s.Sensitivity; t != nil {
		if c, err := spec.ParseCondition(t.SuchThat); err == nil {
			measure("sensitivity.such_that", c.Measure)
		}
	}
	if f := s.Failures; f != nil {
		for i, d := range f.Of {
			if !contains(o.datacenters, d) {
				all = append(all, o.study.Unknown(fmt.Sprintf("failures.of[%d]", i), "datacenter", d, o.datacenters))
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func contains(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// runner is the study's, without what carries its tasks.
func (o *openedStudy) runner() *study.Runner {
	return &study.Runner{
		Study: o.study.Spec, Maker: o.maker, Datacenters: o.datacenters, Scenario: o.doc.Spec.Name,
		Version: versions()["homeward"],
	}
}

// whyOf is what a report says about where a measure comes from.
func whyOf(r *record.Study, measure string) []string {
	var out []string
	for _, p := range r.Points {
		if lines := p.Why[measure]; len(lines) > 0 {
			out = append(out, p.ID+":")
			for _, l := range lines {
				out = append(out, "  "+l)
			}
		}
	}
	return out
}
