package spec

import "github.com/homeward-lab/homeward/dataplane/unit"

// StudyVersion is the version of the language of studies.
const StudyVersion = 1

// NoneDown is the point that others are compared with where datacenters fail: the
// same with all of them up.
const NoneDown = "none_down"

// RareSplitting is Study.Rare.
const RareSplitting = "splitting"

// Study asks what a scenario does when something about it changes: what to vary, how
// often to repeat, what to measure, what to compare.
type Study struct {
	// Version of the language: 1.
	Version int `yaml:"version" json:"version"`
	// Name is a word.
	Name string `yaml:"name" json:"name"`
	// Title is one line for people.
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Description says what the study answers, and what its numbers do not.
	Description string `yaml:"description,omitempty" json:"description,omitempty"`
	// Scenario is the name of a shipped scenario, or a file beside this one.
	Scenario string `yaml:"scenario" json:"scenario"`
	// Level of fidelity: packets (the scenario's traffic through the dataplane's own code), flows (its workload, flow by flow),
	// catchment (who lands in which datacenter, over a graph like the Internet), convergence (how BGP finds the way after a
	// datacenter fails).
	Level string `yaml:"level" json:"level" jsonschema:"enum=packets,enum=flows,enum=catchment,enum=convergence"`
	// Seed of all that is drawn; 0 means 1.
	Seed uint64 `yaml:"seed,omitempty" json:"seed,omitempty"`
	// Internet is the graph of the levels flows, catchment and convergence.
	Internet StudyInternet `yaml:"internet,omitempty" json:"internet,omitempty"`
	// Set changes the scenario in every point: selectors and values.
	Set []Setting `yaml:"set,omitempty" json:"set,omitempty"`
	// Cases are named changes that are compared: a mapping name → settings. None means one case, base.
	Cases []StudyCase `yaml:"cases,omitempty" json:"cases,omitempty"`
	// Vary are the knobs.
	Vary []Knob `yaml:"vary,omitempty" json:"vary,omitempty"`
	// Design says which values of the knobs are tried together: grid (every combination, the default), latin (Points drawn so
	// that each knob's range is covered evenly) or each (one knob at a time, the others at their first value).
	Design string `yaml:"design,omitempty" json:"design,omitempty" jsonschema:"enum=grid,enum=latin,enum=each"`
	// Points of the design latin.
	Points int `yaml:"points,omitempty" json:"points,omitempty"`
	// Failures are the datacenters that are down, each set of them a point beside that in which all are up.
	Failures *Failures `yaml:"failures,omitempty" json:"failures,omitempty"`
	// Replicas of each point; a number is that many seeds over one graph.
	Replicas Replicas `yaml:"replicas,omitempty" json:"replicas,omitempty"`
	// Rare says how blocking is found that no run would ever see, of the level flows: splitting continues a run several times from
	// wherever it comes near the bound, and weighs what that sees. Empty means that runs are counted as they are.
	Rare string `yaml:"rare,omitempty" json:"rare,omitempty" jsonschema:"enum=splitting"`
	// Measures that tables and charts show, the first being the one that matters most; none means all.
	Measures []string `yaml:"measures,omitempty" json:"measures,omitempty"`
	// Compare gives the differences of every point from one, with the same random numbers: the name of a case, or none_down.
	// Empty means the first point.
	Compare string `yaml:"compare,omitempty" json:"compare,omitempty"`
	// Solve are inverse questions.
	Solve []Solve `yaml:"solve,omitempty" json:"solve,omitempty"`
	// Sensitivity asks which assumption flips the answer.
	Sensitivity *Sensitivity `yaml:"sensitivity,omitempty" json:"sensitivity,omitempty"`
}

// StudyInternet is the graph that users and datacenters are connected by.
type StudyInternet struct {
	// ASes is how many networks are drawn; 0 means 5,000.
	ASes int `yaml:"ases,omitempty" json:"ases,omitempty"`
	// Ensemble is how many guesses are made at what nobody outside can know, such as ties; 0 means 5.
	Ensemble int `yaml:"ensemble,omitempty" json:"ensemble,omitempty"`
	// Announcers are the datacenters that announce the prefix, of convergence: all, the default, is anycast; one is an address of
	// its own.
	Announcers string `yaml:"announcers,omitempty" json:"announcers,omitempty"`
	// MRAI is the least time between two announcements to one neighbour, of convergence.
	MRAI unit.Duration `yaml:"mrai,omitempty" json:"mrai,omitempty"`
}

// StudyCase is a named change of the scenario.
type StudyCase struct {
	Name string `json:"name"`
	// Title is one line for people.
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Variant of the scenario that the case starts from; empty means base.
	Variant string `yaml:"variant,omitempty" json:"variant,omitempty"`
	// Set holds selectors and values.
	Set []Setting `yaml:"set,omitempty" json:"set,omitempty"`
}

// Knob is something that a study turns.
type Knob struct {
	// ID is what tables call it; empty means the last word of what is set.
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Set selects what it changes in the scenario, or in the study's Internet: internet.ases, internet.mrai.
	Set string `yaml:"set" json:"set"`
	// Values to try, in order.
	Values []string `yaml:"values,omitempty" json:"values,omitempty"`
	// From and To are a range instead: numbers, with the same unit if any.
	From string `yaml:"from,omitempty" json:"from,omitempty"`
	To   string `yaml:"to,omitempty" json:"to,omitempty"`
	// Steps of the range, its ends included; 0 means 5.
	Steps int `yaml:"steps,omitempty" json:"steps,omitempty"`
	// Log spaces steps by equal factors.
	Log bool `yaml:"log,omitempty" json:"log,omitempty"`
}

// Failures says which datacenters are down together.
type Failures struct {
	// Of lists datacenters; none means all of the scenario's.
	Of []string `yaml:"of,omitempty" json:"of,omitempty"`
	// Together is how many are down at once: 1, or 2 for single and double failures; 0 means 1.
	Together int `yaml:"together,omitempty" json:"together,omitempty"`
	// Do says how they fail: withdraw (they take their announcements back, the default) or kill (they fall silent, and neighbours
	// find out by their hold timers), of the level flows.
	Do string `yaml:"do,omitempty" json:"do,omitempty" jsonschema:"enum=withdraw,enum=kill"`
	// At is when, from the start of traffic, of the level flows.
	At unit.Duration `yaml:"at,omitempty" json:"at,omitempty"`
	// MTBF is the mean time between failures of one datacenter, and MTTR until it is repaired. With them the study weighs every
	// state by how likely it is, so that rare ones need no luck to be seen.
	MTBF unit.Duration `yaml:"mtbf,omitempty" json:"mtbf,omitempty"`
	MTTR unit.Duration `yaml:"mttr,omitempty" json:"mttr,omitempty"`
}

// Replicas says how often a point is repeated: over graphs, and seeds on each.
type Replicas struct {
	// Topologies is how many graphs are drawn; 0 means 1.
	Topologies int `yaml:"topologies,omitempty" json:"topologies,omitempty"`
	// Seeds on each graph; 0 means 1.
	Seeds int `yaml:"seeds,omitempty" json:"seeds,omitempty"`
	// Until is how narrow half the interval of each measure must be, as a share of the mean: more seeds, or graphs if there are
	// several, are added until it is.
	Until unit.Ratio `yaml:"until,omitempty" json:"until,omitempty"`
	// Most replicas of a point; 0 means eight times what it begins with.
	Most int `yaml:"most,omitempty" json:"most,omitempty"`
	// Confidence of intervals; 0 means 95%.
	Confidence unit.Ratio `yaml:"confidence,omitempty" json:"confidence,omitempty"`
}

// Solve is an inverse question: the greatest or least value of a knob at which something holds.
type Solve struct {
	// ID is what the report calls it; empty means the knob.
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Max or Min selects what is searched.
	Max string `yaml:"max,omitempty" json:"max,omitempty"`
	Min string `yaml:"min,omitempty" json:"min,omitempty"`
	// SuchThat is a measure, a comparison and a number: blocked < 1e-4.
	SuchThat string `yaml:"such_that" json:"such_that"`
	// From and To bound the search: numbers, with the same unit if any.
	From string `yaml:"from" json:"from"`
	To   string `yaml:"to" json:"to"`
	// Within is how close the answer shall be, as a share of it; 0 means 2%.
	Within unit.Ratio `yaml:"within,omitempty" json:"within,omitempty"`
	// Each asks in every case and for every value of the varied knobs; otherwise it is asked at the first point alone.
	Each bool `yaml:"each,omitempty" json:"each,omitempty"`
}

// Sensitivity turns one knob at a time, from the first point, and looks at one answer.
type Sensitivity struct {
	// SuchThat is a measure, a comparison and a number: blocked < 1e-4.
	SuchThat string `yaml:"such_that" json:"such_that"`
	// Knobs, each with the least and the greatest value that somebody could defend: two values, or from and to.
	Knobs []Knob `yaml:"knobs" json:"knobs"`
}
