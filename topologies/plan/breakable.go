package plan

import (
	"maps"
	"slices"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Breakable are the names that each word of spec.Fault.Do can be on.
func (p *Plan) Breakable() map[string][]string {
	var links, onramps, parts, machines, servers, datacenters []string
	links = append(links, p.LinkNames()...)
	if len(p.Servers) > 0 {
		for _, o := range p.Servers[0].Config.OnRamps {
			onramps = append(onramps, o.Name)
		}
	}
	sites := map[string]bool{}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Site != "" {
			sites[n.Site] = true
		}
		if n.Kind != KindHost && n.Kind != KindOrigin && n.Kind != KindDevice {
			machines = append(machines, n.ID)
		}
	}
	for i := range p.Servers {
		servers = append(servers, p.Servers[i].Node)
	}
	for _, d := range p.Datacenters {
		datacenters = append(datacenters, d.Name)
	}
	parts = slices.Concat(slices.Sorted(maps.Keys(sites)), datacenters)
	return map[string][]string{
		spec.Cut: links, spec.Flap: links, spec.Blackhole: links, spec.Degrade: links, spec.LowerMTU: slices.Concat(onramps, links), spec.Partition: parts,
		spec.Pause: machines, spec.Kill: machines, spec.Restart: machines, spec.Withdraw: slices.Concat(datacenters, onramps), spec.Drain: datacenters, spec.Move: datacenters, spec.Release: datacenters, spec.Allocate: datacenters, spec.Freeze: datacenters, spec.Reassign: servers,
	}
}
