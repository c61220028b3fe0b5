package load

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// port checks a port number that is given.
func (r *resolver) port(path, what string, n int) {
	if n < 1 || n > 65535 {
		r.fail(path, "", "%s %d, want 1 to 65535", what, n)
	}
}

func (r *resolver) traffic(ix *names) {
	for i := range r.s.Traffic {
		t := &r.s.Traffic[i]
		path := item("traffic", i)
		if t.ID != "" && !r.twice[path] {
			path = "traffic." + t.ID
		}
		from := r.end(ix, path, "from", t.From)
		to := r.end(ix, path, "to", t.To)
		r.translated(ix, path+".from", from)
		r.asks(ix, path, t, to)
		r.protocol(path, t)
		r.amounts(path, t)
		r.begins(path, t, len(from), len(to))
		if n := len(from) * len(to); n > 0 && t.Flows > 0 && t.Flows <= maxFlows && n > maxAllFlows/t.Flows {
			r.fail(path, "", "%d hosts, %d targets and %d flows are more than %d flows in all", len(from), len(to), t.Flows, maxAllFlows)
		}
	}
}

// end checks from or to: hosts.
func (r *resolver) end(ix *names, path, word, text string) []string {
	const want = "hosts such as shop.*.till or web"
	if text == "" {
		r.missing(path, word, fmt.Sprintf("no %s, want %s", word, want))
		return nil
	}
	return r.target(ix, path+"."+word, text, want, kindHost)
}

// foreign refuses words that say nothing about this protocol's flows: they
// would be ignored.
func (r *resolver) foreign(path, protocol string) {
	// An echo is as long as its request, so it has no size of its own.
	words, whose := []string{"response", "close", "hold"}, "tcp"
	if protocol == "tcp" {
		words, whose = []string{"packets", "interval"}, "udp and icmp"
	}
	for _, word := range words {
		if at := path + "." + word; r.present(at) && r.refused(at) == "" {
			r.fail(at, "", "%s means nothing to %s flows, it is for %s", word, protocol, whose)
		}
	}
}

// protocol checks that there is exactly one, and its numbers.
func (r *resolver) protocol(path string, t *spec.Traffic) {
	var given []string
	for _, p := range []struct {
		word string
		n    int
	}{{"tcp", t.TCP}, {"udp", t.UDP}, {"icmp", t.ICMP}} {
		at := path + "." + p.word
		if p.n == 0 && !r.present(at) {
			continue
		}
		given = append(given, p.word)
		if r.refused(at) != "" {
			continue
		}
		if p.word == "icmp" {
			r.port(at, "icmp echo id", p.n)
		} else {
			r.port(at, p.word+" port", p.n)
		}
	}
	switch len(given) {
	case 0:
		if !r.tainted(path) {
			r.fail(path, "", "no protocol, want one of tcp, udp, icmp")
		}
	case 1:
		r.foreign(path, given[0])
	default:
		r.fail(path+"."+given[1], "", "%s are given together, want one of them", strings.Join(given, " and "))
	}
	if t.SourcePort != 0 {
		r.port(path+".source_port", "source port", t.SourcePort)
		if slices.Contains(given, "icmp") {
			r.fail(path+".source_port", "", "ICMP has no source port, want the echo id as icmp: alone")
		}
	}
	switch last := t.SourcePort + t.Flows - 1; {
	case t.SourcePort >= 1 && t.SourcePort <= 65535 && last > 65535 && t.Flows <= maxFlows:
		r.fail(path+".source_port", "", "source ports %d to %d, want them to end at 65535", t.SourcePort, last)
	case t.ICMP >= 1 && t.ICMP <= 65535 && t.ICMP+t.Flows-1 > 65535 && t.Flows <= maxFlows:
		r.fail(path+".icmp", "", "echo ids %d to %d, want them to end at 65535", t.ICMP, t.ICMP+t.Flows-1)
	}
}

// amounts checks counts, rates and sizes.
func (r *resolver) amounts(path string, t *spec.Traffic) {
	if t.Flows < 1 || t.Flows > maxFlows || r.zero(path+".flows") {
		r.fail(path+".flows", "", "flows %s, want 1 to %d", r.text(path+".flows", t.Flows), maxFlows)
	}
	const maxPackets = 1_000_000
	if t.Packets < 0 || t.Packets > maxPackets || r.zero(path+".packets") {
		r.fail(path+".packets", "", "packets %s, want 1 to %d", r.text(path+".packets", t.Packets), maxPackets)
	}
	if t.Rate < 0 {
		r.fail(path+".rate", "", "rate %v, want 0 or more", t.Rate)
	}
}

// begins checks that all flows begin within the time that a run may take.
func (r *resolver) begins(path string, t *spec.Traffic, hosts, targets int) {
	if t.Start.D() > maxStart {
		r.fail(path+".start", "", "start %v, want at most %v", t.Start, unit.Duration(maxStart))
	}
	if n := float64(t.Flows) * float64(targets); t.Rate > 0 && n/t.Rate > maxStart.Seconds() {
		r.fail(path+".rate", "", "rate %v: the last of %.0f flows would begin after more than %v", t.Rate, n, unit.Duration(maxStart))
	}
	if t.Stagger.D() > maxStart/time.Duration(max(hosts, 1)) {
		r.fail(path+".stagger", "", "stagger %v: the last of %d hosts would begin after more than %v", t.Stagger, hosts, unit.Duration(maxStart))
	}
}

// zero reports whether a number is written as 0, which a default has covered.
func (r *resolver) zero(path string) bool {
	_, n, exact := r.locate(path)
	return exact && strings.Trim(n.Value, "0_") == "" && n.Value != "" && !isNull(n)
}

// number is text for a number that may be broken.
func (r *resolver) number(path string, v float64) string {
	if r.zero(path) {
		return "0"
	}
	return fmt.Sprint(v)
}

// text is the number as it was written, for an error.
func (r *resolver) text(path string, n int) string {
	if r.zero(path) {
		return "0"
	}
	return fmt.Sprint(n)
}

// judging checks faults and checks.
func (r *resolver) judging(ix *names) {
	faults := each(r.s.Faults, func(f spec.Fault) string { return f.ID })
	r.faults(ix)
	variants := r.doc.Variants()
	for i := range r.s.Checks {
		c := &r.s.Checks[i]
		path := item("checks", i)
		r.oneKind(path, c)
		if c.After != "" && !slices.Contains(faults, c.After) {
			r.fail(path+".after", suggest(c.After, faults), "no fault %q%s", clip(c.After), wantOne(faults))
		}
		if c.Vs != "" && !slices.Contains(variants, c.Vs) {
			r.fail(path+".vs", suggest(c.Vs, variants), "no variant %q%s", clip(c.Vs), wantOne(variants))
		}
	}
}

func wantOne(words []string) string {
	if len(words) == 0 {
		return "; there are none"
	}
	return ", want one of " + oneOf(words)
}

// oneKind checks that a check says exactly one thing.
func (r *resolver) oneKind(path string, c *spec.Check) {
	var given []string
	for _, k := range []struct{ word, expr string }{{"expect", c.Expect}, {"always", c.Always}, {"eventually", c.Eventually}, {"never", c.Never}} {
		if strings.TrimSpace(k.expr) != "" {
			given = append(given, k.word)
		} else if r.present(path+"."+k.word) && r.refused(path+"."+k.word) == "" {
			r.fail(path+"."+k.word, "", "%s is empty, want an expression such as same.ok == same.total", k.word)
			given = append(given, k.word)
		}
	}
	switch len(given) {
	case 0:
		if !r.tainted(path) && !slices.ContainsFunc([]string{"expect", "always", "eventually", "never"}, func(w string) bool { return r.present(path + "." + w) }) {
			r.fail(path, "", "the check says nothing, want one of expect, always, eventually, never")
		}
	case 1:
	default:
		r.fail(path+"."+given[1], "", "%s are given together, want one of them", strings.Join(given, " and "))
	}
	if c.Eventually != "" && c.Within == 0 {
		r.missing(path, "within", "eventually without within, want a duration such as within: 2s")
	}
	if c.Within != 0 && c.Eventually == "" {
		r.fail(path+".within", "", "within belongs to eventually")
	}
}

// variants checks what variants mention. Their settings are checked when they
// are applied.
func (r *resolver) variants() {
	checks := each(r.s.Checks, func(c spec.Check) string { return c.ID })
	for _, v := range r.file.spec.Variants {
		seen := map[string]bool{}
		for i, id := range v.ExpectFail {
			path := fmt.Sprintf("variants.%s.expect_fail[%d]", v.Name, i)
			switch {
			case !slices.Contains(checks, id):
				r.fail(path, suggest(id, checks), "no check %q%s", clip(id), wantOne(checks))
			case seen[id]:
				r.fail(path, "", "check %q is listed twice", id)
			}
			seen[id] = true
		}
	}
}
