package load

import (
	"time"

	"github.com/homeward-lab/homeward/topologies/spec"
)

// Bounds of what a scenario may ask for.
const (
	maxSites    = 10_000    // site instances in all
	maxHosts    = 100_000   // hosts in all
	maxServers  = 1_000     // of a datacenter
	maxFlows    = 1_000_000 // of one traffic, per pair of host and target
	maxAllFlows = 10_000_000
	maxVariants = 64
	maxWord     = 64 // characters of an id: names of directories, columns of tables

	maxStart = 365 * 24 * time.Hour // of flows, after traffic began

	// Timers, whatever their scale, go from microseconds to a year.
	minScale = 0.000001
	maxScale = 1e3
)

// linkClasses are the links that one word impairs.
var linkClasses = map[string]bool{
	"access": true, "backbone": true, "edge": true, "server": true, "lan": true, "internet": true, "transit": true,
}

// objectIDs are the ids that selectors name, in the order of the language's words.
func objectIDs(s *spec.Scenario) []string {
	var out []string
	for _, list := range idLists(s) {
		if out = append(out, list.ids...); list.alone {
			break
		}
	}
	return out
}
