package load

import "github.com/homeward-lab/homeward/topologies/spec"

// Bounds of what a scenario may ask for.
const (
	maxSites    = 10_000    // site instances in all
	maxHosts    = 100_000   // hosts in all
	maxServers  = 1_000     // of a datacenter
	maxFlows    = 1_000_000 // of one traffic, per pair of host and target
	maxAllFlows = 10_000_000
	maxVariants = 64
)

// linkClasses are the links that one word impairs.
var linkClasses = map[string]bool{
	"access": true, "backbone": true, "edge": true, "server": true, "lan": true, "internet": true, "transit": true,
}

// objectIDs are the ids that selectors name, in the order of the language's words.
func objectIDs(s *spec.Scenario) []string {
	var out []string
	for _, d := range s.Datacenters {
		out = append(out, d.ID)
	}
	for _, t := range s.Transit {
		out = append(out, t.ID)
	}
	for _, o := range s.Sites {
		out = append(out, o.ID)
	}
	for _, o := range s.Devices {
		out = append(out, o.ID)
	}
	for _, o := range s.Connectors {
		out = append(out, o.ID)
	}
	for _, o := range s.Internet {
		out = append(out, o.ID)
	}
	for _, o := range s.Traffic {
		out = append(out, o.ID)
	}
	for _, o := range s.Workload {
		out = append(out, o.ID)
	}
	return out
}
