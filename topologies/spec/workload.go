package spec

import "github.com/homeward-lab/homeward/dataplane/unit"

// Population is who uses the network, and by which ASes they come: too many for
// hosts of their own. A datacenter's users are those whose AS its anycast routes
// draw to it.
type Population struct {
	// Users that are there at once, on average over the day.
	Users float64 `yaml:"users" json:"users"`
	// ASes of the Internet that is drawn for them; 0 means as many as there are, 78,643.
	ASes int `yaml:"ases,omitempty" json:"ases,omitempty"`
	// Countries weighs their people, by two letters: 0 has no users here, 2 twice its share. Those not named have weight 1.
	Countries map[string]float64 `yaml:"countries,omitempty" json:"countries,omitempty"`
	// Sample numbers the Internet that is drawn; 0 means 1. Another seed of the scenario changes traffic, not the Internet.
	Sample uint64 `yaml:"sample,omitempty" json:"sample,omitempty"`
	// Transit is how many of the greatest providers the network buys from, in every datacenter; 0 means 3.
	Transit int `yaml:"transit,omitempty" json:"transit,omitempty"`
	// Peers is the share of the networks near a datacenter with which it peers; 0 means 40%.
	Peers unit.Ratio `yaml:"peers,omitempty" json:"peers,omitempty"`
	// Noise is the share of relations between ASes of which a guess has that they are otherwise; 0 trusts them all.
	Noise unit.Ratio `yaml:"noise,omitempty" json:"noise,omitempty"`
}

// DatapathProxy is Scenario.Datapath where servers end connections and open their own.
const DatapathProxy = "proxy"

// Words that stand for hosts in Workload.From and Workload.To.
const (
	FromPopulation = "population"
	ToInternet     = "internet"
)

// Destinations are how many are drawn where popularity does not say.
const Destinations = 1000

// Workload is drawn traffic: flows that begin by chance, so many per second. The flow level counts
// them; hosts of the file send their packets in every engine.
type Workload struct {
	ID string `yaml:"id" json:"id"`
	// From selects the hosts that open flows, or is population.
	From string `yaml:"from" json:"from"`
	// To selects the hosts to which, or is internet: destinations as popularity says, drawn for a population, the file's for hosts.
	To string `yaml:"to" json:"to"`
	// Rate of flows per second, of each host or user.
	Rate float64 `yaml:"rate" json:"rate"`
	// Mix is the share of each protocol: tcp, udp, dns (UDP with its own timer) and icmp; none means tcp alone. Shares are
	// parts of their sum.
	Mix map[string]float64 `yaml:"mix,omitempty" json:"mix,omitempty"`
	// Size of what a flow carries down in bytes: a size, a distribution such as lognormal(median=20kB, sigma=2) or pareto(least=1kB,
	// shape=1.2), or file(NAME) with lines of value and cumulative share; not given, 64 KiB.
	Size Sizes `yaml:"size,omitempty" json:"size,omitzero"`
	// Holding is how long a flow lasts: a duration, a distribution such as exponential(mean=20s) or lognormal(median=5s, sigma=1.5), or
	// file(NAME); not given, what the size takes at Speed.
	Holding Times `yaml:"holding,omitempty" json:"holding,omitzero"`
	// Speed is the most that one flow takes; 0 means 20Mbit.
	Speed unit.BitRate `yaml:"speed,omitempty" json:"speed,omitempty"`
	// Popularity of the destinations of internet: zipf(exponent, number of them); not given, the exponent is 1, and a population has
	// 1,000 of them.
	Popularity Popularity `yaml:"popularity,omitempty" json:"popularity,omitzero"`
	// Close is who closes first: client, server, or either by half; empty means client. It decides whether a proxy holds the port
	// after a flow (datapath); a translated port is held whoever it was (SEMANTICS 5.5).
	Close string `yaml:"close,omitempty" json:"close,omitempty" jsonschema:"enum=client,enum=server,enum=either"`
	// Retries of a flow that was refused, at the flow level; 0 means none.
	Retries int `yaml:"retries,omitempty" json:"retries,omitempty"`
	// Backoff before the first retry, which doubles each time and is drawn between half of that and all; 0 means 1 s.
	Backoff unit.Duration `yaml:"backoff,omitempty" json:"backoff,omitempty"`
	// Diurnal is how far the rate swings over the day around its mean, by local time: 60% is 1.6 times at Peak.
	Diurnal unit.Ratio `yaml:"diurnal,omitempty" json:"diurnal,omitempty"`
	// Peak is the local hour at which the rate is greatest; 0 means 20.
	Peak float64 `yaml:"peak,omitempty" json:"peak,omitempty"`
	// Clock is the hour of the day in UTC at which the run begins.
	Clock float64 `yaml:"clock,omitempty" json:"clock,omitempty"`
	// Crowds are bursts on top of it.
	Crowds []Crowd `yaml:"crowds,omitempty" json:"crowds,omitempty"`
	// For is how long flows begin; 0 means 10 m.
	For unit.Duration `yaml:"for,omitempty" json:"for,omitempty"`
}

// Crowd is a flash crowd: for a while more flows begin, of a country or of all,
// to one destination or to any.
type Crowd struct {
	// At is when, from the start of traffic.
	At unit.Duration `yaml:"at,omitempty" json:"at,omitempty"`
	// For is how long.
	For unit.Duration `yaml:"for" json:"for"`
	// Times as many flows as usual; above 1.
	Times float64 `yaml:"times" json:"times"`
	// Country whose users they are, two letters; empty means all.
	Country string `yaml:"country,omitempty" json:"country,omitempty"`
	// To is the rank of the drawn destination that they all want; 0 means any.
	To int `yaml:"to,omitempty" json:"to,omitempty"`
}

// Kinds of Draw.
const (
	Constant    = "constant"
	Exponential = "exponential"
	LogNormal   = "lognormal"
	Pareto      = "pareto"
	Weibull     = "weibull"
	Empirical   = "file"
)

// Draw is a distribution of positive numbers: bytes, or seconds. The zero value
// is none.
type Draw struct {
	Kind string `json:"kind"`
	// A is the constant, the mean of an exponential, the median of a log-normal, the least of a Pareto, the scale of a Weibull;
	// B is sigma or shape.
	A float64 `json:"a,omitempty"`
	B float64 `json:"b,omitempty"`
	// Most cuts the tail off, 0 does not.
	Most float64 `json:"most,omitempty"`
	// File of an empirical one, and its points: values, and the cumulative shares at them, from 0 or more to 1.
	File   string    `json:"file,omitempty"`
	Values []float64 `json:"values,omitempty"`
	Shares []float64 `json:"shares,omitempty"`
}

// Popularity is how often each of a number of destinations is wanted: the k-th
// in proportion to k to the power of -Exponent. The zero value is none.
type Popularity struct {
	Exponent float64 `json:"exponent"`
	Number   int     `json:"number"`
}

// Given reports whether there is a distribution.
func (d Draw) Given() bool { return d.Kind != "" }

// Sizes are bytes, Times seconds, by chance.
type (
	Sizes struct{ Draw }
	Times struct{ Draw }
)
