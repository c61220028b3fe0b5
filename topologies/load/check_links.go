package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// impairments checks what links and impair name.
func (r *resolver) impairments(ix *names) {
	for _, name := range slices.Sorted(maps.Keys(r.s.Links)) {
		r.impairment("links."+name, r.s.Links[name])
		if !linkClasses[name] {
			classes := slices.Sorted(maps.Keys(linkClasses))
			if spec.IsWord(name) && len(ix.first[name]) == 0 {
				r.fail("links."+name, suggest(name, classes), "no links of class %q, want one of %s, or a selector", clip(name), oneOf(classes))
				continue
			}
			r.linkTarget(ix, "links."+name, name)
		}
	}
	for i, imp := range r.s.Impair {
		path := item("impair", i)
		r.impairment(path, imp.Impairment)
		if imp.On == "" {
			r.missing(path, "on", "an impairment of nothing, want on: such as shop.1.wan")
			continue
		}
		r.linkTarget(ix, path+".on", imp.On)
	}
}

// impairment checks the numbers of one impairment.
func (r *resolver) impairment(path string, im spec.Impairment) {
	checkImpairment(im, r.givenIn(path), func(word, msg string) { r.fail(path+"."+word, "", "%s", msg) })
}

// givenIn says of the words of a mapping whether each is there and could be read.
func (r *resolver) givenIn(path string) func(word string) bool {
	return func(word string) bool { return r.present(path+"."+word) && r.refused(path+"."+word) == "" }
}

// checkImpairment checks the numbers of an impairment, wherever it comes from;
// given says whether a word was.
func checkImpairment(im spec.Impairment, given func(word string) bool, fail func(word, msg string)) {
	if im.JitterCorrelation > impair.MaxCorrelation {
		fail("jitter_correlation", fmt.Sprintf("correlation %v, want at most %v", im.JitterCorrelation, unit.Ratio(impair.MaxCorrelation)))
	}
	if least := impair.LeastBurst(float64(im.Loss)); given("loss_burst") && !(im.LossBurst >= least) {
		why := ""
		if least > 1 {
			why = fmt.Sprintf(": with %v lost there is less than a packet between shorter bursts", im.Loss)
		}
		fail("loss_burst", fmt.Sprintf("bursts of %v packets, want %.4g or more%s", im.LossBurst, least, why))
	}
	if given("reorder_gap") && im.ReorderGap < 1 {
		fail("reorder_gap", fmt.Sprintf("every %d-th packet, want 1 or more", im.ReorderGap))
	}
	if im.Rate != 0 && im.Trace.Times != nil {
		fail("trace", "a rate and a trace are given together, want one of them")
	}
	for _, t := range []struct {
		word string
		d    unit.Duration
	}{{"delay", im.Delay.Fixed}, {"jitter", im.Jitter}, {"ce_threshold", im.CEThreshold}} {
		if t.d.D() > impair.MaxDelay {
			fail(t.word, fmt.Sprintf("%v, want at most %v", t.d, unit.Duration(impair.MaxDelay)))
		}
	}
}

// linkTarget checks what a link, an impairment or a fault names: anything with
// an id, or two such things joined by "-".
func (r *resolver) linkTarget(ix *names, path, text string) {
	for part := range strings.SplitSeq(text, "-") {
		sel, err := spec.ParseSelector(part)
		if err != nil {
			r.fail(path, "", "%v", err)
			return
		}
		if sel[0] == "transit" || sel[0] == "*" || len(sel) == 1 && len(ix.first[sel[0]]) > 0 {
			continue
		}
		if found := r.target(ix, path, part, "something with an id such as shop.1.wan or lhr.1", ^kind(0)); len(found) == 0 {
			return
		}
	}
}
