package load

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// prefixed returns a copy of an included scenario in which every id of its own
// has the prefix, and so has every mention of it.
func prefixed(s *spec.Scenario, prefix string) *spec.Scenario {
	s = clone(s)
	if prefix == "" {
		return s
	}
	p := &prefixer{prefix: prefix, things: map[string]bool{}, transit: map[string]bool{}, faults: map[string]bool{}, accounts: map[string]bool{}}
	p.collect(s)
	p.objects(s)
	p.network(s)
	p.judging(s)
	return s
}

// prefixer renames ids. Things are what selectors name, ASes of transit among them.
type prefixer struct {
	prefix                            string
	things, transit, faults, accounts map[string]bool
}

func (p *prefixer) collect(s *spec.Scenario) {
	for _, id := range objectIDs(s) {
		p.things[id] = true
	}
	for _, id := range transitIDs(s) {
		p.transit[id] = true
	}
	for _, f := range s.Faults {
		p.faults[f.ID] = true
	}
	for _, a := range s.Accounts {
		p.accounts[a.ID] = true
	}
}

func (p *prefixer) own(id *string) {
	if *id != "" {
		*id = p.prefix + *id
	}
}

// mention prefixes a selector, or a code, whose first segment is ours.
func (p *prefixer) mention(sel *string) {
	if first, _, _ := strings.Cut(*sel, "."); p.things[first] {
		*sel = p.prefix + *sel
	}
}

// link prefixes the name of a link: a selector, or those of its ends joined by "-".
// The routers of transit are called by their AS, or by a place that is nobody's own.
func (p *prefixer) link(name *string) {
	ends := strings.Split(*name, "-")
	for i := range ends {
		if as, ok := strings.CutPrefix(ends[i], "transit."); !ok {
			p.mention(&ends[i])
		} else if p.transit[as] {
			ends[i] = "transit." + p.prefix + as
		}
	}
	*name = strings.Join(ends, "-")
}

func (p *prefixer) mentions(sels []string) {
	for i := range sels {
		p.mention(&sels[i])
	}
}

func (p *prefixer) near(n spec.Near) {
	for i := range n {
		p.mention(&n[i].Code)
	}
}

func (p *prefixer) account(id *string) {
	if p.accounts[*id] {
		p.own(id)
	}
}

// objects renames what has an id of its own.
func (p *prefixer) objects(s *spec.Scenario) {
	for i := range s.Datacenters {
		d := &s.Datacenters[i]
		if d.Place == "" {
			d.Place = d.ID // the new id is no code of a place
		}
		p.own(&d.ID)
	}
	for i := range s.Transit {
		t := &s.Transit[i]
		p.own(&t.ID)
		p.near(t.Near)
		p.mentions(t.Providers)
		p.mentions(t.Peers)
		p.mentions(t.Customers)
	}
	for i := range s.Sites {
		p.own(&s.Sites[i].ID)
		p.account(&s.Sites[i].Account)
		p.near(s.Sites[i].Near)
	}
	for i := range s.Devices {
		p.own(&s.Devices[i].ID)
		p.account(&s.Devices[i].Account)
		p.near(s.Devices[i].Near)
	}
	for i := range s.Connectors {
		p.own(&s.Connectors[i].ID)
		p.account(&s.Connectors[i].Account)
		p.near(s.Connectors[i].Near)
	}
	for i := range s.Internet {
		o := &s.Internet[i]
		p.own(&o.ID)
		p.near(o.Near)
		for view, host := range o.Resolves {
			p.mention(&host)
			o.Resolves[view] = host
		}
		for k := range o.AsksFrom {
			p.mention(&o.AsksFrom[k].Datacenter)
		}
	}
	for i := range s.Traffic {
		t := &s.Traffic[i]
		p.own(&t.ID)
		p.mention(&t.From)
		p.mention(&t.To)
		p.mention(&t.Resolver)
	}
	for i := range s.Workload {
		w := &s.Workload[i]
		p.own(&w.ID)
		if w.From != spec.FromPopulation {
			p.mention(&w.From)
		}
		if w.To != spec.ToInternet {
			p.mention(&w.To)
		}
	}
}

// network renames mentions in accounts, routes, links and announcements.
func (p *prefixer) network(s *spec.Scenario) {
	routes := func(rs []spec.Route) {
		for i := range rs {
			p.mention(&rs[i].Via)
			p.mentions(rs[i].Datacenters)
		}
	}
	account := func(a *spec.Account) {
		routes(a.Routes)
		for i := range a.Dedicated {
			p.mention(&a.Dedicated[i].Datacenter)
		}
		for i := range a.Policies.Egress {
			p.mentions(a.Policies.Egress[i].Match.Host)
		}
		for i := range a.Policies.Firewall {
			p.mentions(a.Policies.Firewall[i].Match.Host)
		}
		for i := range a.Policies.Network {
			p.mentions(a.Policies.Network[i].Match.Host)
		}
	}
	routes(s.Routes)
	if s.Account != nil {
		account(s.Account)
	}
	for i := range s.Accounts {
		p.own(&s.Accounts[i].ID)
		account(&s.Accounts[i])
	}
	for i := range s.Announce {
		p.mentions(s.Announce[i].From)
		p.mentions(s.Announce[i].To)
	}
	for i := range s.Impair {
		p.link(&s.Impair[i].On)
	}
	for i := range s.Uplink {
		p.mention(&s.Uplink[i].Host)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Links)) {
		if renamed := key; !linkClasses[key] {
			imp := s.Links[key]
			delete(s.Links, key)
			p.link(&renamed)
			s.Links[renamed] = imp
		}
	}
}

// expression takes an expression apart: text in quotes, numbers, members of a
// compared variant, members that are named after a datacenter or host, members of
// anything else, and words that begin a chain.
var expression = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[0-9][a-z0-9_.]*|\bvs\.[a-z][a-z0-9_]*|\.(?:ingress|from|at)\.[a-z][a-z0-9_]*|\.\s*[a-z][a-z0-9_]*|[a-z][a-z0-9_]*`)
})

// judging renames faults and checks, and what they mention.
func (p *prefixer) judging(s *spec.Scenario) {
	for i := range s.Faults {
		p.own(&s.Faults[i].ID)
		p.link(&s.Faults[i].On)
		p.mention(&s.Faults[i].To)
	}
	rename := func(chain string) string {
		last := strings.LastIndexByte(chain, '.') + 1
		front, word := chain[:last], chain[last:]
		if p.things[word] && front != "." {
			return front + p.prefix + word
		}
		return chain
	}
	for i := range s.Checks {
		c := &s.Checks[i]
		p.own(&c.ID)
		if p.faults[c.After] {
			p.own(&c.After)
		}
		for _, expr := range []*string{&c.Expect, &c.Always, &c.Eventually, &c.Never} {
			*expr = expression().ReplaceAllStringFunc(*expr, rename)
		}
	}
}
