package journal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Happened is what a fault does, as a sentence for people.
func Happened(f *plan.Fault) string {
	of := func(list []string) string {
		const most = 4
		if len(list) > most {
			return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
		}
		return strings.Join(list, ", ")
	}
	stops := of(append(slices.Clone(f.Servers), f.Routers...))
	switch f.Do {
	case spec.Cut, spec.Partition:
		return "nothing passes " + of(f.Links)
	case spec.Blackhole:
		return fmt.Sprintf("nothing passes %s %sward", of(f.Links), f.Direction)
	case spec.Flap:
		return fmt.Sprintf("%s is cut and mended every %s", of(f.Links), f.Every)
	case spec.Degrade:
		return of(f.Links) + " gets worse"
	case spec.LowerMTU:
		return fmt.Sprintf("the MTU of %s is %d", f.On, f.MTU)
	case spec.Pause:
		return stops + " stands still"
	case spec.Kill, spec.Restart:
		return stops + " is killed"
	case spec.Move:
		return fmt.Sprintf("%s moves from %s to %s", f.Address, f.On, f.To)
	case spec.Release:
		return fmt.Sprintf("%s gives up %s", f.On, f.Address)
	case spec.Allocate:
		return fmt.Sprintf("%s takes %s", f.On, f.Address)
	case spec.Freeze:
		return of(f.Datacenters) + " hears no more of routes that are learned elsewhere"
	case spec.Reassign:
		return "the buckets of " + of(f.Servers) + " are reassigned"
	case spec.Withdraw:
		if len(f.OnRamps) > 0 {
			return fmt.Sprintf("the router of %s no longer tells %s by BGP", f.On, f.Address)
		}
		return fmt.Sprintf("%s no longer announces %s", of(f.Datacenters), f.Address)
	}
	return of(f.Datacenters) + " withdraws from ingress"
}

// Healed is what is said when a fault has.
func Healed(f *plan.Fault) string { return "healed: all is as it was before " + f.ID }
