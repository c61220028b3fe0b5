package control

import (
	"strings"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// What somebody can do to a lab by hand.
const (
	DoImpair = "impair" // ImpairArgs → Wire, each; without Words and None nothing changes
	DoBreak  = "break"  // BreakArgs → Broken
	DoBroken = "broken" // → Breakable
	DoMend   = "mend"   // MendArgs → Broken, each
)

// ImpairArgs says what links are to do.
type ImpairArgs struct {
	// On names links as `impair:` of the file does, by id or by class; empty
	// means all that can be impaired.
	On string `json:"on,omitempty"`
	// Direction is up, down or both.
	Direction string `json:"direction,omitempty"`
	// Impairment has the values of Words; the other words stay as they are.
	Impairment spec.Impairment `json:"impairment"`
	Words      []string        `json:"words,omitempty"`
	// None has the links do again what the file says.
	None bool   `json:"none,omitempty"`
	By   string `json:"by,omitempty"`
}

// Wire is one direction of a link that can be impaired.
type Wire struct {
	Link  string     `json:"link"`
	Name  string     `json:"name"` // what people call it
	Class plan.Class `json:"class"`
	From  string     `json:"from"`
	To    string     `json:"to"`
	// Direction is up or down.
	Direction string `json:"direction"`
	// Asked are the words in force; none is a plain wire.
	Asked map[string]string `json:"asked"`
	// Degraded says that a fault is in force instead.
	Degraded bool `json:"degraded,omitempty"`
	// By is who asked for it by hand, and when; empty where the file did.
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Since the last change: packets that came, those lost as asked, those marked
	// as having met congestion and those lost unasked, and how long a sample of those
	// that passed took.
	Packets  uint64       `json:"packets"`
	Lost     uint64       `json:"lost"`
	Marked   uint64       `json:"marked,omitempty"`
	Unasked  uint64       `json:"unasked,omitempty"`
	Measured record.Times `json:"measured"`
}

// BreakArgs is a fault to happen now, in the file's words.
type BreakArgs struct {
	// Fault without Do is the one of the file with its id.
	Fault spec.Fault `json:"fault"`
	By    string     `json:"by,omitempty"`
}

// Broken is a fault that has happened.
type Broken struct {
	spec.Fault
	// What it is on, exactly: links, nodes, datacenters.
	What  []string  `json:"what"`
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since"`
	// Heals is when it heals by itself; zero if it waits for somebody.
	Heals time.Time `json:"heals,omitzero"`
}

// Breakable is what is broken, and what can be.
type Breakable struct {
	Broken []Broken `json:"broken"`
	// Faults of the file, each of which can happen now.
	Faults []spec.Fault `json:"faults,omitempty"`
	// On are what each word of Fault.Do can be on.
	On map[string][]string `json:"on"`
}

// MendArgs names faults; none means all.
type MendArgs struct {
	IDs []string `json:"ids,omitempty"`
	By  string   `json:"by,omitempty"`
}

// Quote is an argument as a shell wants it.
func Quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"$&|;<>()*?[]{}#~\\`!") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
