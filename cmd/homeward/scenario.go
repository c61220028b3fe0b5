package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// variant is one variant of one file, ready for an engine.
type variant struct {
	doc    *load.Doc
	spec   *spec.Scenario
	plan   *plan.Plan
	checks []*check.Check
}

// open finds a scenario: a file if there is one, else a shipped name, with
// hyphens as good as underscores.
func open(name string) (*load.Doc, error) {
	if _, err := os.Stat(name); err == nil || strings.ContainsAny(name, "/\\") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		doc, err := load.File(name)
		if err != nil {
			return nil, usage(err)
		}
		return doc, nil
	}
	doc, err := topologies.Load(strings.ReplaceAll(name, "-", "_"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%s: no such file, and no shipped scenario of that name (homeward list)", name)
	}
	if err != nil {
		return nil, usage(err)
	}
	return doc, nil
}

// changes are what the command line does to a file.
type changes struct {
	sets     []spec.Setting
	variants []string // empty means all
}

func parseChanges(sets []string, seed uint64, variants []string) (changes, error) {
	c := changes{variants: variants}
	for _, s := range sets {
		setting, err := load.ParseSet(s)
		if err != nil {
			return c, usagef("--set %s: %w", s, err)
		}
		c.sets = append(c.sets, setting)
	}
	if seed != 0 {
		c.sets = append(c.sets, spec.Setting{Path: "seed", Value: fmt.Sprint(seed)})
	}
	return c, nil
}

// prepare compiles the variants of a file, plan and checks, before anything
// starts: every mistake of the file at once.
func prepare(doc *load.Doc, c changes) ([]*variant, error) {
	names, err := selected(doc, c.variants)
	if err != nil {
		return nil, err
	}
	var all []*variant
	var mistakes []error
	said := map[string]bool{} // variants share most mistakes
	say := func(err error) {
		if msg := err.Error(); !said[msg] {
			said[msg] = true
			mistakes = append(mistakes, err)
		}
	}
	for _, name := range names {
		s, err := doc.Resolve(name, c.sets)
		if err != nil {
			say(err)
			continue
		}
		p, err := plan.CompileVariant(s, name)
		if err != nil {
			for _, e := range positioned(doc, s, err) {
				say(e)
			}
			continue
		}
		v := &variant{doc: doc, spec: s, plan: p}
		var bad []error
		v.checks, bad = compileChecks(doc, s)
		for _, e := range bad {
			say(e)
		}
		all = append(all, v)
	}
	if len(mistakes) > 0 {
		return nil, usage(errors.Join(mistakes...))
	}
	return all, nil
}

func selected(doc *load.Doc, want []string) ([]string, error) {
	if len(want) == 0 {
		return doc.Variants(), nil
	}
	for _, w := range want {
		found := false
		for _, v := range doc.Variants() {
			found = found || v == w
		}
		if !found {
			return nil, usagef("%s has no variant %q (it has: %s)", doc.Spec.Name, w, strings.Join(doc.Variants(), ", "))
		}
	}
	return want, nil
}

// positioned gives plan errors the place in the file that they are about.
func positioned(doc *load.Doc, s *spec.Scenario, err error) []error {
	var out []error
	for _, e := range plan.Errors(err) {
		out = append(out, doc.MistakeIn(s, e.Path, e.Msg))
	}
	return out
}

func compileChecks(doc *load.Doc, s *spec.Scenario) ([]*check.Check, []error) {
	env := check.EnvSpec{}
	for _, t := range s.Traffic {
		env.Traffic = append(env.Traffic, t.ID)
	}
	env.Variants = doc.Variants()
	for _, r := range drop.Reasons() {
		env.Drops = append(env.Drops, r.String())
	}
	var in []check.Input
	for _, c := range s.Checks {
		in = append(in, checkInput(c))
	}
	checks, bad := check.Compile(env, in)
	var errs []error
	for _, b := range bad {
		errs = append(errs, doc.MistakeIn(s, checkPath(s, b.ID), b.Error()))
	}
	return checks, errs
}

func checkInput(c spec.Check) check.Input {
	in := check.Input{ID: c.ID, Vs: c.Vs, Level: c.Level}
	switch {
	case c.Expect != "":
		in.Kind, in.Expr = check.Expect, c.Expect
	case c.Always != "":
		in.Kind, in.Expr = check.Always, c.Always
	case c.Never != "":
		in.Kind, in.Expr = check.Never, c.Never
	default:
		in.Kind, in.Expr = check.Eventually, c.Eventually
	}
	return in
}

func checkPath(s *spec.Scenario, id string) string {
	for i, c := range s.Checks {
		if c.ID == id {
			return fmt.Sprintf("checks[%d].%s", i, checkInput(c).Kind)
		}
	}
	return "checks"
}
