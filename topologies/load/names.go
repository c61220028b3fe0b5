package load

import (
	"slices"
	"strconv"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// kind of what a selector can name.
type kind uint8

const (
	kindHost    kind = 1 << iota // a machine that can have traffic
	kindRamp                     // a site's on-ramp
	kindGateway                  // a connector, as a route's next hop
	kindDevice                   // a machine that is its own on-ramp, and no route's next hop
	kindOther                    // routers, servers, whole sites and datacenters, transit
)

func (k kind) String() string {
	if k&kindDevice != 0 {
		return "a device"
	}
	return map[kind]string{kindHost: "a host", kindRamp: "an on-ramp", kindGateway: "a connector", kindOther: "neither a host nor an on-ramp"}[k]
}

// names is everything that selectors name, by canonical id.
type names struct {
	kinds map[string]kind
	first map[string][]string // first segment → canonical ids, in file order
	all   []string
	// internet are the hosts of the Internet.
	internet map[string]*spec.InternetHost
	// translated are the hosts behind connectors that translate sources, with the connector.
	translated map[string]string
}

func newNames(s *spec.Scenario) *names {
	ix := &names{kinds: map[string]kind{}, first: map[string][]string{}, internet: map[string]*spec.InternetHost{}, translated: map[string]string{}}
	for _, d := range s.Datacenters {
		ix.add(kindOther, d.ID)
		ix.add(kindOther, d.ID, "edge")
		for n := 1; n <= d.Servers; n++ {
			ix.add(kindOther, d.ID, strconv.Itoa(n))
		}
	}
	for _, t := range s.Transit {
		ix.add(kindOther, t.ID)
	}
	for i := range s.Sites {
		o := &s.Sites[i]
		n := strconv.Itoa(o.Instance)
		ix.add(kindOther, o.ID, n)
		ix.add(kindOther, o.ID, n, "router")
		for name := range o.Hosts {
			ix.add(kindHost, o.ID, n, name)
		}
		for _, ramp := range o.OnRamps {
			ix.add(kindRamp, o.ID, n, ramp.ID)
		}
	}
	for _, o := range s.Devices {
		ix.add(kindHost|kindDevice, o.ID, strconv.Itoa(o.Instance))
	}
	for _, o := range s.Connectors {
		ix.add(kindGateway, o.ID)
		ix.add(kindOther, o.ID, "router")
		for name := range o.Hosts {
			ix.add(kindHost, o.ID, name)
			if o.Source == spec.Translate {
				ix.translated[o.ID+"."+name] = o.ID
			}
		}
	}
	for i := range s.Internet {
		o := &s.Internet[i]
		if o.Instance == 0 {
			ix.add(kindHost, o.ID)
		} else {
			ix.add(kindHost, o.ID, strconv.Itoa(o.Instance))
		}
		ix.internet[called(o.ID, o.Instance)] = o
	}
	return ix
}

func (ix *names) add(k kind, parts ...string) {
	id := strings.Join(parts, ".")
	if _, twice := ix.kinds[id]; !twice {
		ix.first[parts[0]] = append(ix.first[parts[0]], id)
		ix.all = append(ix.all, id)
	}
	ix.kinds[id] |= k
}

// candidates are the ids that share a selector's first segment.
func (ix *names) candidates(sel spec.Selector) []string {
	if sel[0] == "*" {
		return ix.all
	}
	return ix.first[sel[0]]
}

// match lists the ids of the given kinds that a selector selects.
func (ix *names) match(sel spec.Selector, kinds kind) []string {
	var out []string
	for _, id := range ix.candidates(sel) {
		if ix.kinds[id]&kinds != 0 && sel.Match(id) {
			out = append(out, id)
		}
	}
	return out
}

// target checks a selector at a path: it must select something of the kinds.
// It returns how many things it selects.
func (r *resolver) target(ix *names, path, text, want string, kinds kind) []string {
	sel, err := spec.ParseSelector(text)
	if err != nil {
		r.fail(path, "", "%v", err)
		return nil
	}
	if found := ix.match(sel, kinds); len(found) > 0 {
		return found
	}
	if len(ix.first[sel[0]]) == 0 && sel[0] != "*" && r.lost() || len(ix.first[sel[0]]) > 0 && r.misspelt(sel[0]) {
		return nil // what it means was refused already
	}
	if others := ix.match(sel, ^kind(0)); len(others) > 0 {
		r.fail(path, ix.suggest(sel, kinds), "%q is %s, want %s", clip(text), ix.kinds[others[0]], want)
		return nil
	}
	r.fail(path, ix.suggest(sel, kinds), "%q selects nothing, want %s", clip(text), want)
	return nil
}

// suggest finds a selector that would have worked: with the instances' star,
// or the nearest id.
func (ix *names) suggest(sel spec.Selector, kinds kind) string {
	if len(sel) == 2 {
		starred := spec.Selector{sel[0], "*", sel[1]}
		if len(ix.match(starred, kinds)) > 0 {
			return strconv.Quote(starred.String())
		}
	}
	if starred := append(append(spec.Selector{}, sel...), "*"); len(ix.match(starred, kinds)) > 0 {
		return strconv.Quote(starred.String())
	}
	const most = 1000 // enough for a hint
	general := map[string]bool{}
	var words []string
	for _, id := range ix.all[:min(len(ix.all), most)] {
		if ix.kinds[id]&kinds == 0 {
			continue
		}
		parts := strings.Split(id, ".")
		for i, p := range parts {
			if i < len(sel) && sel[i] == "*" && spec.IsNumber(p) {
				parts[i] = "*"
			}
		}
		if g := strings.Join(parts, "."); !general[g] {
			general[g] = true
			words = append(words, g)
		}
	}
	return suggest(sel.String(), words)
}

// lost reports whether part of the file could not be read, so that a name may
// be missing for that reason alone.
func (r *resolver) lost() bool {
	return slices.ContainsFunc(collections, r.lostIn)
}

// misspelt reports whether an object has words that were refused.
func (r *resolver) misspelt(id string) bool {
	return r.tainted(id) || r.refused(id+".hosts") != "" || r.refused(id+".onramps") != ""
}
