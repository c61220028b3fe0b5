package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/reports/check"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// variant is one variant of one file, ready for an engine.
type variant struct {
	doc     *load.Doc
	spec    *spec.Scenario
	plan    *plan.Plan
	checks  []*check.Check
	chanced chanced
}

// open finds a scenario: a file if there is one, else a shipped name, with
// hyphens as good as underscores.
func open(name string) (*load.Doc, error) {
	if _, err := os.Stat(name); err == nil || strings.ContainsAny(name, "/\\") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		doc, err := load.File(name, load.WithChecker(checkMistakes))
		if err != nil {
			return nil, usage(err)
		}
		return doc, nil
	}
	doc, err := topologies.Load(strings.ReplaceAll(name, "-", "_"), load.WithChecker(checkMistakes))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%s: no such file, and no shipped scenario of that name (there are: %s)", cmp.Or(name, `""`), strings.Join(shippedNames(topologies.List), ", "))
	}
	if err != nil {
		return nil, usage(err)
	}
	return doc, nil
}

// shippedNames are what may stand for a file, of topologies.List, All or StudyList.
func shippedNames(list func() ([]topologies.Shipped, error)) []string {
	shipped, err := list()
	if err != nil {
		return nil
	}
	names := make([]string, len(shipped))
	for i, s := range shipped {
		names[i] = s.Name
	}
	return names
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
		var bad []load.Finding
		v.checks, bad = compileChecks(s, doc.Variants())
		for _, f := range bad { // none: load has asked checkMistakes
			say(doc.MistakeIn(s, f.Path, f.Msg))
		}
		all = append(all, v)
	}
	if len(mistakes) > 0 {
		return nil, usage(errors.Join(mistakes...))
	}
	return all, nil
}

// selected are the variants that are wanted, each once; all of them if none is named.
func selected(doc *load.Doc, want []string) ([]string, error) {
	if len(want) == 0 {
		return doc.Variants(), nil
	}
	var each []string
	for _, w := range want {
		if !slices.Contains(doc.Variants(), w) {
			return nil, usagef("%s has no variant %q (it has: %s)", doc.Spec.Name, w, strings.Join(doc.Variants(), ", "))
		}
		if !slices.Contains(each, w) {
			each = append(each, w)
		}
	}
	return each, nil
}

// positioned gives plan errors the place in the file that they are about.
func positioned(doc *load.Doc, s *spec.Scenario, err error) []error {
	var out []error
	for _, e := range plan.Errors(err) {
		out = append(out, doc.MistakeIn(s, e.Path, e.Msg))
	}
	return out
}

// checkMistakes finds mistakes in the expressions of checks, for load to tell
// with the file's others.
func checkMistakes(s *spec.Scenario, variants []string) []load.Finding {
	_, bad := compileChecks(s, variants)
	return bad
}

// compileChecks compiles every check by itself, so that one mistake hides no
// other. What load tells of is left to it: ids that stand twice, checks that say
// nothing, variants that are not there.
func compileChecks(s *spec.Scenario, variants []string) (checks []*check.Check, bad []load.Finding) {
	env := environment(s, variants)
	for _, id := range env.Traffic {
		if slices.Contains(check.Reserved(), id) {
			bad = append(bad, load.Finding{Path: "traffic." + id + ".id", Msg: fmt.Sprintf("traffic %q has a name that means something else in checks, want another", id)})
		}
	}
	if bad != nil {
		return nil, bad
	}
	language := check.NewLanguage(env)
	for i, c := range s.Checks {
		in := checkInput(c)
		if strings.TrimSpace(in.Expr) == "" {
			continue
		}
		if in.Vs != "" && !slices.Contains(variants, in.Vs) {
			in.Vs = variants[0]
		}
		one, mistakes := language.Compile([]check.Input{in})
		checks = append(checks, one...)
		for _, m := range mistakes {
			bad = append(bad, load.Finding{Path: fmt.Sprintf("checks[%d].%s", i, in.Kind), Msg: m.Error()})
		}
	}
	return checks, bad
}

// environment is what checks of a scenario can speak of.
func environment(s *spec.Scenario, variants []string) check.EnvSpec {
	env := check.EnvSpec{Variants: variants}
	for _, t := range s.Traffic {
		env.Traffic = append(env.Traffic, t.ID)
	}
	if s.Population == nil {
		for _, w := range s.Workload {
			env.Traffic = append(env.Traffic, w.ID)
		}
	}
	env.Datacenters, env.Countries, env.Rules = departures(s)
	env.Names = named(s)
	env.Drops = map[string]string{}
	for _, r := range drop.Reasons() {
		env.Drops[r.String()] = r.About()
	}
	return env
}

// departures are what flows of a scenario may leave by: its datacenters, any
// country, and the egress policies of its accounts.
func departures(s *spec.Scenario) (datacenters, countries, rules []string) {
	for _, d := range s.Datacenters {
		datacenters = append(datacenters, d.ID)
	}
	for _, code := range place.Codes() {
		p, _ := place.Lookup(code)
		countries = append(countries, strings.ToLower(p.Country))
	}
	slices.Sort(countries)
	accounts := slices.Clone(s.Accounts)
	if s.Account != nil {
		accounts = append(accounts, *s.Account)
	}
	for _, a := range accounts {
		for _, r := range a.Policies.Egress {
			rules = append(rules, r.ID)
		}
	}
	return datacenters, slices.Compact(countries), rules
}

// named are the hosts that a name of the scenario stands for.
func named(s *spec.Scenario) []string {
	hosts := map[string]bool{}
	for _, o := range s.Internet {
		for _, id := range o.Resolves {
			hosts[id] = true
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

func checkInput(c spec.Check) check.Input {
	in := check.Input{ID: c.ID, Vs: c.Vs, Level: c.Level, After: c.After, Within: c.Within.D()}
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
