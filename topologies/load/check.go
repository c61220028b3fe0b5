package load

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// labRange is what the lab keeps for its own links, tunnels and loopbacks
// (RFC 2544: benchmarking; no scenario has a use for it).
var labRange = netip.MustParsePrefix("198.18.0.0/15")

// shape checks what has to hold before instances are written out: counts and
// ids. Counts that are out of bounds are brought down, so that the rest of the
// file can be looked at.
func (r *resolver) shape() {
	r.header()
	r.counts()
	r.ids()
}

// check looks at the scenario as it will be: instances, settings and defaults in it.
func (r *resolver) check() {
	ix := newNames(r.s)
	r.limits()
	r.addresses()
	r.datacenters()
	r.sites()
	r.accounts(ix)
	r.nears(ix)
	r.transit()
	r.traffic(ix)
	r.population()
	r.workloads(ix)
	r.judging(ix)
	r.impairments(ix)
	r.uplinks(ix)
	r.variants()
}

// present reports whether a path is written, in the file or by a setting.
func (r *resolver) present(path string) bool {
	_, _, exact := r.locate(path)
	return exact
}

// missing is a mistake unless the word is there, where its value was refused
// already, or beside it a word that is probably it, misspelt.
func (r *resolver) missing(path, word, want string) {
	if r.present(path+"."+word) || r.tainted(path) || path != "" && r.refused(path) != "" {
		return
	}
	r.fail(path, "", "%s", want)
}

// tainted reports whether the mapping at a path has a word in it that is unknown.
func (r *resolver) tainted(path string) bool {
	if _, w, ok := r.written(path); ok {
		return r.odd[w.node]
	}
	f, w := r.file.place(path)
	return f.tainted[w.node]
}

// header checks the words of the file as a whole.
func (r *resolver) header() {
	s := r.s
	switch {
	case s.Version == 1:
	case r.present("version"):
		if s.Version != 0 || r.refused("version") == "" {
			r.fail("version", "", "version %d, want 1", s.Version)
		}
	default:
		r.missing("", "version", "the file does not say its version, want version: 1")
	}
	if s.Name == "" {
		r.missing("", "name", "the scenario has no name, want name: [a-z][a-z0-9_]*")
	} else {
		r.word("name", "name", s.Name)
	}
	if len(s.Datacenters) == 0 && r.refused("datacenters") == "" {
		if r.present("datacenters") {
			r.fail("datacenters", "", "no datacenters, want at least one")
		} else {
			r.missing("", "datacenters", "no datacenters, want at least one such as datacenters: [{id: lhr}]")
		}
	}
	if s.Account != nil && len(s.Accounts) > 0 && r.present("account") && r.present("accounts") {
		r.fail("accounts", "", "account and accounts are both given, want one of them")
	}
	if len(s.Routes) > 0 && s.Account == nil && len(s.Accounts) > 1 {
		r.fail("routes", "", "routes stand outside of %d accounts, want them inside one", len(s.Accounts))
	}
}

// limits checks the timers and bounds, which settings may still have changed
// after instances were written out.
func (r *resolver) limits() {
	if scale := r.s.Timers.Scale; scale < minScale || scale > maxScale || r.zero("timers.scale") {
		r.fail("timers.scale", "", "scale %s, want 0.000001 to 1000", r.number("timers.scale", scale))
	}
	if hold := r.s.Timers.BGPHold; hold < 0 || hold.D() > maxHold {
		r.fail("timers.bgp_hold", "", "bgp_hold %v, want at most %v", hold, unit.Duration(maxHold))
	}
	if n := r.s.Bounds.Flows; n < 0 || n > maxAllFlows || r.zero("bounds.flows") {
		r.fail("bounds.flows", "", "%d flows, want 1 to %d", n, maxAllFlows)
	}
	if n := r.s.Bounds.Slice; n != 0 && (n < 64 || n > 16384 || n&(n-1) != 0) || r.zero("bounds.slice") {
		r.fail("bounds.slice", "", "slices of %d ports, want a power of two from 64 to 16384", n)
	}
}

// refused tells what was wrong with the value at a path, if anything was.
func (r *resolver) refused(path string) string {
	src, n, exact := r.locate(path)
	if !exact {
		return ""
	}
	value := n
	if f, w := r.file.place(path); w.exact && f.src == src {
		value = w.node
	}
	for _, errs := range []Errors{r.file.allErrors(), r.errs} {
		for _, m := range errs {
			if m.File == src.name && m.Line == value.Line && m.Col == value.Column {
				return m.Msg
			}
		}
	}
	return ""
}

// word checks an id.
func (r *resolver) word(path, what, id string) bool {
	if spec.IsWord(id) {
		if len(id) > maxWord {
			r.fail(path, "", "%s of %d characters, want at most %d", what, len(id), maxWord)
		}
		return true
	}
	hint := ""
	if lower := strings.ReplaceAll(strings.ToLower(id), "-", "_"); spec.IsWord(lower) {
		hint = strconv.Quote(lower)
	}
	r.fail(path, hint, "%s %q, want [a-z][a-z0-9_]*", what, clip(id))
	return false
}

// counted is a word whose number must be at least 1 where it is given.
func (r *resolver) counted(path, what string, n, most int) int {
	switch {
	case n == 0 && (!r.present(path) || r.refused(path) != ""):
		return 0
	case n < 1 || n > most:
		r.fail(path, "", "%s %d, want 1 to %d", what, n, most)
		return 1
	}
	return n
}

// counts checks how many of everything there are.
func (r *resolver) counts() {
	s := r.s
	sites, hosts := 0, 0
	for i := range s.Sites {
		o := &s.Sites[i]
		path := item("sites", i)
		o.Count = r.counted(path+".count", "count", o.Count, maxSites)
		n := max(o.Count, 1)
		sites, hosts = sites+n, hosts+n*(len(o.Hosts)+len(o.OnRamps))
		if sites > maxSites || hosts > maxHosts {
			r.fail(path, "", "%d sites with %d hosts and on-ramps so far, want at most %d and %d", sites, hosts, maxSites, maxHosts)
			sites, hosts, o.Count = sites-n+1, hosts-n*(len(o.Hosts)+len(o.OnRamps)), 1
		}
	}
	devices := 0
	for i := range s.Devices {
		o := &s.Devices[i]
		path := item("devices", i)
		o.Count = r.counted(path+".count", "count", o.Count, maxHosts)
		if devices += max(o.Count, 1); devices > maxHosts {
			r.fail(path, "", "%d devices so far, want at most %d", devices, maxHosts)
			devices, o.Count = 0, 1
		}
	}
	origins := 0
	for i := range s.Internet {
		o := &s.Internet[i]
		path := item("internet", i)
		o.Count = r.counted(path+".count", "count", o.Count, maxSites)
		if origins += max(o.Count, 1); origins > maxSites {
			r.fail(path, "", "%d Internet hosts so far, want at most %d", origins, maxSites)
			origins, o.Count = 0, 1
		}
	}
}

// servers checks the counts that settings may still have changed after
// instances were written out.
func (r *resolver) servers() {
	for i := range r.s.Datacenters {
		d := &r.s.Datacenters[i]
		d.Servers = r.counted(item("datacenters", i)+".servers", "servers", d.Servers, maxServers)
	}
}

func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// ids checks that everything has an id, spelt as one, and its own.
func (r *resolver) ids() {
	s := r.s
	reserved := append(r.doc.words.top(), spec.Base)
	space := map[string]string{} // id → path of the first
	for _, c := range idLists(s) {
		for i, id := range c.ids {
			path := item(c.word, i)
			if !r.id(path, id, space) || c.word == "checks" {
				continue
			}
			if slices.Contains(reserved, id) {
				r.fail(path+".id", "", "%q is a word of the language, want another id", id)
			}
		}
		if c.alone {
			space = map[string]string{}
		}
	}
	for _, v := range s.Variants {
		path := "variants." + v.Name
		r.word(path, "variant", v.Name)
		if v.Name == spec.Base {
			r.fail(path, "", "%q is the file itself, want another name", spec.Base)
		}
	}
}

// id checks one id against those of its namespace.
func (r *resolver) id(path, id string, space map[string]string) bool {
	if id == "" {
		if r.present(path+".id") && r.refused(path+".id") == "" {
			r.word(path+".id", "id", id)
		} else {
			r.missing(path, "id", "no id, want id: [a-z][a-z0-9_]*")
		}
		return false
	}
	if !r.word(path+".id", "id", id) {
		return false
	}
	if first, taken := space[id]; taken {
		m := r.mistake(first+".id", "", "")
		where := fmt.Sprintf("line %d", m.Line)
		if here := r.mistake(path+".id", "", ""); here.File != m.File {
			where += " of " + m.File
		}
		r.fail(path+".id", "", "%q is the id of two things, first in %s", id, where)
		r.twice[path] = true
		return false
	}
	space[id] = path
	return true
}

// idList are the ids of one list.
type idList struct {
	word string
	ids  []string
	// alone says that the namespace ends with this list.
	alone bool
}

// idLists are the lists whose items have ids, by namespace: what selectors
// name, faults, checks, accounts.
func idLists(s *spec.Scenario) []idList {
	return []idList{
		{word: "datacenters", ids: datacenterIDs(s)},
		{word: "transit", ids: transitIDs(s)},
		{word: "sites", ids: each(s.Sites, func(o spec.Site) string { return o.ID })},
		{word: "devices", ids: each(s.Devices, func(o spec.Device) string { return o.ID })},
		{word: "connectors", ids: each(s.Connectors, func(o spec.Connector) string { return o.ID })},
		{word: "internet", ids: each(s.Internet, func(o spec.InternetHost) string { return o.ID })},
		{word: "traffic", ids: each(s.Traffic, func(o spec.Traffic) string { return o.ID })},
		{word: "workload", ids: each(s.Workload, func(o spec.Workload) string { return o.ID })},
		{word: "faults", ids: each(s.Faults, func(o spec.Fault) string { return o.ID }), alone: true},
		{word: "checks", ids: each(s.Checks, func(o spec.Check) string { return o.ID }), alone: true},
		{word: "accounts", ids: each(s.Accounts, func(o spec.Account) string { return o.ID }), alone: true},
	}
}

func datacenterIDs(s *spec.Scenario) []string {
	return each(s.Datacenters, func(d spec.Datacenter) string { return d.ID })
}

func transitIDs(s *spec.Scenario) []string {
	return each(s.Transit, func(t spec.Transit) string { return t.ID })
}

func each[T any](list []T, id func(T) string) []string {
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = id(o)
	}
	return out
}
