package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Fixed names what of a lab would have to be built anew for it to become the
// other plan; nothing else can keep Apply from making it so.
//
// What changes while a lab is up is what servers decide by (policies, routes,
// ARR, timers, bounds), what links do, and what is asked of the lab: traffic and checks.
func Fixed(now, next *plan.Plan) []string {
	var all []string
	say := func(same bool, format string, a ...any) {
		if !same {
			all = append(all, fmt.Sprintf(format, a...))
		}
	}
	say(now.Scenario == next.Scenario, "the scenario is %s, not %s", now.Scenario, next.Scenario)
	say(now.Seed == next.Seed, "the seed is %d, not %d: it decides where every flow is at home", now.Seed, next.Seed)
	all = append(all, members("node", now.Nodes, next.Nodes, func(n *plan.Node) string { return n.ID })...)
	all = append(all, members("link", now.Links, changeable(now.Links, next.Links), func(l *plan.Link) string { return l.ID })...)
	all = append(all, members("tunnels of", now.Branches, next.Branches, func(b *plan.Branch) string { return b.Node })...)
	all = append(all, members("interconnect", now.Interconnects, next.Interconnects, func(i *plan.Interconnect) string { return i.Name })...)
	all = append(all, members("service of", now.Services, next.Services, func(s *plan.Service) string { return s.Node + " " + s.Kind })...)
	all = append(all, members("program of", now.Programs, next.Programs, func(p *plan.Program) string { return p.Node })...)
	all = append(all, members("datacenter", now.Datacenters, next.Datacenters, func(d *plan.Datacenter) string { return d.Name })...)
	all = append(all, members("speaker", now.Speakers, next.Speakers, func(s *plan.Speaker) string { return s.Node })...)
	say(now.Dataplane == next.Dataplane, "the dataplane is %q, not %q", now.Dataplane, next.Dataplane)
	say(now.Hold == next.Hold, "the hold time of BGP is %v, not %v", now.Hold, next.Hold)
	say(same(now.Faults, next.Faults), "faults begin with the lab")
	if len(now.Servers) == len(next.Servers) {
		for i := range now.Servers {
			a, b := &now.Servers[i], &next.Servers[i]
			say(a.Node == b.Node && same(a.Config.Egress, b.Config.Egress), "server %s: its egress addresses and slices, which are watched on the wire", a.Node)
		}
	}
	return all
}

// changeable are the next links, but those that are the same otherwise do what
// they do now: that changes while a lab is up.
func changeable(now, next []plan.Link) []plan.Link {
	before := map[string]*plan.Link{}
	for i := range now {
		before[now[i].ID] = &now[i]
	}
	all := slices.Clone(next)
	for i := range all {
		if old := before[all[i].ID]; old != nil {
			all[i].AB, all[i].BA, all[i].Pumped = old.AB, old.BA, old.Pumped
		}
	}
	return all
}

// members says which of a kind are new, gone or other than they were.
func members[T any](kind string, now, next []T, name func(*T) string) []string {
	var all []string
	before := map[string]*T{}
	for i := range now {
		before[name(&now[i])] = &now[i]
	}
	for i := range next {
		id := name(&next[i])
		switch old := before[id]; {
		case old == nil:
			all = append(all, fmt.Sprintf("%s %s is new", kind, id))
		case !same(*old, next[i]):
			all = append(all, fmt.Sprintf("%s %s would be another", kind, id))
		}
		delete(before, id)
	}
	for i := range now {
		if id := name(&now[i]); before[id] != nil {
			all = append(all, fmt.Sprintf("%s %s would be gone", kind, id))
		}
	}
	return all
}

// same compares what plans say, as their JSON does: an empty list is no list.
func same(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && slices.Equal(x, y)
}

// Reconfigured are the servers that the other plan gives another configuration.
func Reconfigured(now, next *plan.Plan) []string {
	var all []string
	for i := range min(len(now.Servers), len(next.Servers)) {
		if !same(now.Servers[i].Config, next.Servers[i].Config) {
			all = append(all, now.Servers[i].Node)
		}
	}
	return all
}

// Apply makes the lab what the plan says, which Fixed must have nothing against.
// Flows that live go on, but for those that could not be served truthfully any
// more (hub.Reconfigure). If a server refuses, the ones before it have what they
// had again.
func (l *Lab) Apply(ctx context.Context, next *plan.Plan) error {
	l.busy.Lock() // a round of traffic is of one plan
	defer l.busy.Unlock()
	if broken := l.Broken(); len(broken) > 0 {
		return fmt.Errorf("fault %s has changed what servers know: want it mended first", broken[0].Fault.ID)
	}
	now := l.Plan()
	if fixed := Fixed(now, next); len(fixed) > 0 {
		return fmt.Errorf("needs a new lab: %s", fixed[0])
	}
	changed := Reconfigured(now, next)
	for i, s := range next.Servers {
		if !slices.Contains(changed, s.Node) {
			continue
		}
		if err := l.configure(ctx, i, s.Config); err != nil {
			for j := range i {
				if slices.Contains(changed, now.Servers[j].Node) {
					err = errors.Join(err, l.configure(ctx, j, now.Servers[j].Config))
				}
			}
			return err
		}
	}
	l.mu.Lock()
	l.plan = next
	l.mu.Unlock()
	return l.r.reapply(next)
}

// configure gives a server a configuration.
func (l *Lab) configure(ctx context.Context, i int, c hub.Config) error {
	return l.r.fleet.configure(ctx, i, c)
}
