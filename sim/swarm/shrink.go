package swarm

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Shrink drops what a failing case does not need, part by part, as long as the same
// rule is broken. It ends when nothing more can go, or with ctx. The violation is
// that of what is left.
func Shrink(ctx context.Context, c *Case, v *Violation, o Options) (*Case, *Violation) {
	for changed := true; changed; {
		changed = false
		for _, k := range cuts {
			for i := k.n(c) - 1; i >= 0; i-- {
				if ctx.Err() != nil {
					return c, v
				}
				less := clone(c)
				k.drop(less, i)
				if alike(less, c) {
					continue
				}
				if _, w := Run(less, o); w != nil && w.Rule == v.Rule {
					c, v, changed = less, w, true
				}
			}
		}
	}
	return c, v
}

// alike reports whether nothing went.
func alike(a, b *Case) bool {
	x, err := Text(a.Scenario)
	y, err2 := Text(b.Scenario)
	return len(a.Steps) == len(b.Steps) && err == nil && err2 == nil && bytes.Equal(x, y)
}

// clone copies a case as deep as cuts change it.
func clone(c *Case) *Case {
	s := *c.Scenario
	s.Datacenters, s.Accounts, s.Sites = slices.Clone(s.Datacenters), slices.Clone(s.Accounts), slices.Clone(s.Sites)
	s.Devices, s.Connectors, s.Internet = slices.Clone(s.Devices), slices.Clone(s.Connectors), slices.Clone(s.Internet)
	s.Traffic, s.Faults = slices.Clone(s.Traffic), slices.Clone(s.Faults)
	for i := range s.Accounts {
		s.Accounts[i].Routes = slices.Clone(s.Accounts[i].Routes)
	}
	for i := range s.Sites {
		s.Sites[i].OnRamps = slices.Clone(s.Sites[i].OnRamps)
	}
	return &Case{Seed: c.Seed, Scenario: &s, Steps: slices.Clone(c.Steps)}
}

// cut is a kind of parts that can go: how many there are, and how one does. What
// names it goes with it.
type cut struct {
	n    func(*Case) int
	drop func(*Case, int)
}

// part is a cut of one of the scenario's lists.
func part[T any](list func(*spec.Scenario) *[]T, id func(*T) string) cut {
	return cut{
		func(c *Case) int { return len(*list(c.Scenario)) },
		func(c *Case, i int) {
			l := list(c.Scenario)
			gone := id(&(*l)[i])
			*l = slices.Delete(*l, i, i+1)
			c.unname(gone)
		},
	}
}

// unname drops routes and traffic that name something.
func (c *Case) unname(id string) {
	names := func(selector string) bool { return selector == id || strings.HasPrefix(selector, id+".") }
	s := c.Scenario
	for i := range s.Accounts {
		s.Accounts[i].Routes = slices.DeleteFunc(s.Accounts[i].Routes, func(r spec.Route) bool { return names(r.Via) })
	}
	s.Faults = slices.DeleteFunc(s.Faults, func(f spec.Fault) bool { return names(f.On) })
	s.Traffic = slices.DeleteFunc(s.Traffic, func(t spec.Traffic) bool { return names(t.From) || names(t.To) })
}

// cuts from the coarse to the fine.
var cuts = [...]cut{
	{func(c *Case) int { return len(c.Steps) }, func(c *Case, i int) { c.Steps = slices.Delete(c.Steps, i, i+1) }},
	part(func(s *spec.Scenario) *[]spec.Fault { return &s.Faults }, func(f *spec.Fault) string { return "fault " + f.ID }),
	part(func(s *spec.Scenario) *[]spec.Traffic { return &s.Traffic }, func(t *spec.Traffic) string { return "traffic " + t.ID }),
	part(func(s *spec.Scenario) *[]spec.Connector { return &s.Connectors }, func(c *spec.Connector) string { return c.ID }),
	part(func(s *spec.Scenario) *[]spec.Device { return &s.Devices }, func(d *spec.Device) string { return d.ID }),
	part(func(s *spec.Scenario) *[]spec.Site { return &s.Sites }, func(x *spec.Site) string { return x.ID }),
	part(func(s *spec.Scenario) *[]spec.InternetHost { return &s.Internet }, func(h *spec.InternetHost) string { return h.ID }),
	part(func(s *spec.Scenario) *[]spec.Account { return &s.Accounts }, func(a *spec.Account) string { return "account " + a.ID }),
	part(func(s *spec.Scenario) *[]spec.Datacenter { return &s.Datacenters }, func(d *spec.Datacenter) string { return "datacenter " + d.ID }),
	{servers, func(c *Case, i int) {
		if d := &c.Scenario.Datacenters[i]; d.Servers > 1 {
			d.Servers--
			d.Egress = []spec.Egress{{Prefix: d.Egress[0].Prefix}}
		}
	}},
	{func(c *Case) int { return len(c.Scenario.Sites) }, func(c *Case, i int) {
		x := &c.Scenario.Sites[i]
		c.unname(x.ID + ".1." + x.OnRamps[len(x.OnRamps)-1].ID)
		x.OnRamps, x.Group, x.CPE = x.OnRamps[:len(x.OnRamps)-1], nil, nil
	}},
	{func(c *Case) int { return len(c.Scenario.Accounts) }, func(c *Case, i int) {
		a := &c.Scenario.Accounts[i]
		*a = spec.Account{ID: a.ID, VNets: a.VNets}
	}},
	{func(c *Case) int { return len(c.Scenario.Links) }, func(c *Case, i int) {
		links := map[string]spec.Impairment{}
		for k, name := range []string{"access", "backbone", "internet"} {
			if x, ok := c.Scenario.Links[name]; ok && k != i {
				links[name] = x
			}
		}
		c.Scenario.Links = links
	}},
	{func(c *Case) int { return min(len(c.Scenario.TCPECN), 1) }, func(c *Case, _ int) { c.Scenario.TCPECN = "" }},
	{func(c *Case) int { return len(c.Scenario.Traffic) }, func(c *Case, i int) { c.Scenario.Traffic[i].Flows /= 2 }},
	{func(c *Case) int { return len(c.Scenario.Traffic) }, func(c *Case, i int) { c.Scenario.Traffic[i].Packets /= 2 }},
	{func(c *Case) int { return min(c.Scenario.Bounds.Flows, 1) }, func(c *Case, _ int) { c.Scenario.Bounds.Flows = 0 }},
}

func servers(c *Case) int { return len(c.Scenario.Datacenters) }
