package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// groups are the sites that have more than one way out, and who chooses among
// them: the network for replies, the site's router for what it sends.
func (s *shown) groups() *table {
	t := &table{title: "Failover", header: []string{"SITE", "REPLIES BY", "FOLLOW A FLOW", "AND GO BACK", "ROUTER SENDS BY"}}
	for i := range s.spec.Sites {
		x := &s.spec.Sites[i]
		if x.Group == nil && x.CPE == nil {
			continue
		}
		row := []string{fmt.Sprintf("%s.%d", x.ID, max(x.Instance, 1)), "", "", "", "the first on-ramp"}
		if g := x.Group; g != nil {
			row[1] = strings.Join(append([]string{g.Primary}, g.Backups...), ", then ")
			row[2], row[3] = cmp.Or(g.Repin, "after"), cmp.Or(g.Failback, "immediate")
			if row[2] == "after" && g.RepinAfter > 0 {
				row[2] += " " + g.RepinAfter.String()
			}
			if g.HoldDown > 0 {
				row[3] += " " + g.HoldDown.String()
			}
		}
		if c := x.CPE; c != nil {
			row[4] = cmp.Or(c.Select, spec.PrimaryBackup) + ", detects by " + cmp.Or(c.Detect, spec.DetectProbe)
		}
		t.add(row...)
	}
	return t
}

// faults are what goes wrong, and when it heals.
func (s *shown) faults() *table {
	t := &table{title: "Faults", header: []string{"ID", "AT", "DO", "ON", "FOR"}}
	for i := range s.plan.Faults {
		f := &s.plan.Faults[i]
		do := f.Do
		for _, more := range []string{f.Direction, f.Address, span(f.Every.D()), span(f.Wait.D())} {
			if more != "" {
				do += " " + more
			}
		}
		if f.MTU > 0 {
			do += fmt.Sprintf(" %d", f.MTU)
		}
		on := f.On
		if f.Pick > 0 {
			on = fmt.Sprintf("%d of %s", f.Pick, on)
		}
		t.add(f.ID, f.At.String(), do, on, cmp.Or(span(f.For.D()), "the rest of the run"))
	}
	return t
}
