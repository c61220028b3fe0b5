package load

import (
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Finding is what a Checker says is wrong with a scenario.
type Finding struct {
	// Path is where, as Doc.Mistake takes it: "checks[0].expect".
	Path string
	// Msg says what is wrong and what was wanted.
	Msg string
}

// Checker looks at a resolved scenario for what this package does not
// understand, such as the expressions of checks. variants are the names of the
// file's variants. The scenario may have other mistakes.
type Checker func(s *spec.Scenario, variants []string) []Finding

// Option changes how a file is read.
type Option func(*Doc)

// WithChecker has c look at every variant, so that its findings stand among
// the file's other mistakes.
func WithChecker(c Checker) Option { return func(d *Doc) { d.checker = c } }

// findings asks the Checker. Where traffic could not be read, expressions that
// speak of it would seem wrong for that reason alone.
func (r *resolver) findings() {
	if r.doc.checker == nil || r.lostIn("traffic") {
		return
	}
	for _, f := range r.doc.checker(r.s, r.doc.Variants()) {
		if r.refused(f.Path) == "" {
			r.fail(f.Path, "", "%s", f.Msg)
		}
	}
}

// lostIn reports whether part of a list could not be read.
func (r *resolver) lostIn(list string) bool {
	if r.refused(list) != "" || r.tainted("") {
		return true
	}
	return slices.ContainsFunc(r.items(list), func(path string) bool {
		return r.tainted(path) || r.refused(path) != "" || r.refused(path+".id") != "" && !r.twice[path]
	})
}

// items are the paths of a list's items, those of included files too.
func (r *resolver) items(list string) []string {
	paths := make([]string, r.file.total(list))
	for i := range paths {
		paths[i] = item(list, i)
	}
	return paths
}
