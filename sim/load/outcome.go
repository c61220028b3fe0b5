package load

import "slices"

// Measure is one number of an outcome.
type Measure struct {
	// Name as Measures lists it, with a datacenter's id after a point where there is
	// one for each: "users.lhr".
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Description says what a measure is.
type Description struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Each says for what there is one: "datacenter", "cause", "design" or "" for the whole.
	Each string `json:"each,omitempty"`
	Text string `json:"text"`
}

// Descriptions are all measures that there are, in the order in which an outcome
// lists them. Names are part of the interface: they are added to, never renamed.
func Descriptions() []Description {
	return slices.Clone([]Description{
		{"users", "users", "", "who is there, at the mean over the run"},
		{"unreached", "share", "", "of users whose AS has no route to any datacenter at the end of the run"},
		{"moved", "share", "", "of users who land elsewhere at the end of the run than if every datacenter were up"},
		{"landing", "share", "datacenter", "of users, at the end of the run"},
		{"offered", "flows/s", "", "new flows, retries not counted"},
		{"carried", "flows/s", "", "flows that got a port, at the first try or a later one"},
		{"blocked", "share", "", "of offered flows that never got a port"},
		{"refusals", "share", "", "of tries that found no port free"},
		{"erlang", "share", "", "of tries that Erlang's formula B says are refused at the loads of the run, without retries"},
		{"flows", "flows", "datacenter", "open at once, at the peak"},
		{"flow_rate", "flows/s", "datacenter", "that begin, at the peak"},
		{"gbps", "Gbit/s", "datacenter", "from origins to users, at the peak"},
		{"utilisation", "share", "datacenter", "of ports toward the busiest destination, at the peak of the busiest server"},
		{"ports_peak", "share", "", "the greatest utilisation of all"},
		{"backbone", "Gbit/s", "", "replies that land elsewhere than their address is, and flows that leave elsewhere, at the peak"},
		{"backbone_full", "share", "", "of what wanted to cross the backbone and found no room, by max-min fairness"},
		{"elsewhere", "share", "", "of flows that leave from another datacenter than they land in: by an account's address, or a country's"},
		{"detour", "ms", "", "the mean way of a flow from where it lands to where it leaves, and back"},
		{"extra_rtt", "ms", "", "the mean way of a user's flow beyond the straight one to its nearest datacenter and back"},
		{"extra_rtt_p95", "ms", "", "of users, nineteen of twenty have less"},
		{"lost_minutes", "user-minutes", "", "of users who could not open flows or lost them"},
		{"lost", "user-minutes", "cause", "by cause: unreached, converging, ports, backbone, egress (the address that a policy names is down)"},
		{"state", "flows", "", "that the busiest server remembers, at the peak"},
		{"addresses", "addresses", "", "egress addresses in use"},
		{"announced", "addresses", "", "of the blocks that the Internet's routing table holds for them, of 256 at least"},
		{"misdelivered", "share", "design", "of replies that go to another site than asked, or to none"},
		{"flow_state", "entries", "design", "kept for a flow, in the network and at sites"},
		{"site_state", "entries", "design", "kept for a site, beside its on-ramp"},
		{"objects", "objects", "design", "of configuration that somebody writes"},
		{"one_more", "objects", "design", "to write for one more site"},
		{"restart_lost", "share", "design", "of live flows that end when a server restarts, the busiest"},
		{"failover_lost", "share", "design", "of a site's live flows that end when it moves to its other on-ramp"},
	})
}

// Outcome is what a run of a Model found.
type Outcome struct {
	// Seed of the run.
	Seed uint64 `json:"seed"`
	// Measures in the order of Descriptions.
	Measures []Measure `json:"measures"`
	// Datacenters in the order of the file.
	Datacenters []Datacenter `json:"datacenters"`
	// Countries, those with most users first.
	Countries []Country `json:"countries"`
	// ASes that have most users, at most a hundred.
	ASes []AS `json:"ases"`
	// Takeover are the users that moved, by where from and where to, the most first;
	// an empty To is nowhere.
	Takeover []Takeover `json:"takeover,omitempty"`
	// Backbone are pairs of datacenters with traffic between them, the most first.
	Backbone []Pair `json:"backbone"`
	// Ports are the groups of slices that were near their bound, the fullest first.
	Ports []Ports `json:"ports,omitempty"`
	// Timeline is the whole network over the run.
	Timeline []Moment `json:"timeline"`
	// Times are quantiles of how long things take users.
	Times []Time `json:"times,omitempty"`
	// Designs compares ways to bring replies home, where the file has sites.
	Designs []Design `json:"designs,omitempty"`

	why map[string][]string
}

// Datacenter is what one of them had.
type Datacenter struct {
	ID   string  `json:"id"`
	City string  `json:"city"`
	Lat  float64 `json:"lat"`
	Lon  float64 `json:"lon"`
	// Down at the end of the run.
	Down bool `json:"down,omitempty"`
	// Users at the beginning and at the end.
	Before float64 `json:"users_before"`
	Users  float64 `json:"users"`
	// Flows, FlowRate and Gbps are peaks.
	Flows    float64 `json:"flows"`
	FlowRate float64 `json:"flow_rate"`
	Gbps     float64 `json:"gbps"`
	// Utilisation is the high-water mark of its ports toward any one destination.
	Utilisation float64 `json:"utilisation"`
	// Offered and Blocked flows of the run.
	Offered float64 `json:"offered"`
	Blocked float64 `json:"blocked"`
}

// Landing is a part of users that lands at a datacenter; an empty ID is nowhere.
type Landing struct {
	Datacenter string  `json:"datacenter"`
	Share      float64 `json:"share"`
}

// Country is where its users land at the end of the run.
type Country struct {
	Code  string  `json:"code"`
	Users float64 `json:"users"`
	// Landings, the greatest first.
	Landings []Landing `json:"landings"`
	// Lost user-minutes of those who reached nobody.
	Lost float64 `json:"lost"`
}

// AS is where one lands, and why.
type AS struct {
	Number  uint32  `json:"asn"`
	Country string  `json:"country"`
	City    string  `json:"city"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
	Users   float64 `json:"users"`
	// Datacenter at the end of the run; empty is nowhere. Before, where every
	// datacenter is up.
	Datacenter string `json:"datacenter"`
	Before     string `json:"before"`
	// Rule of routing that decided: "customer route", "peer route", "provider route",
	// with the length of the path.
	Rule string `json:"rule"`
}

// Takeover is who got whose users.
type Takeover struct {
	From  string  `json:"from"`
	To    string  `json:"to"`
	Users float64 `json:"users"`
}

// Pair is traffic between two datacenters, both ways.
type Pair struct {
	A    string  `json:"a"`
	B    string  `json:"b"`
	Gbps float64 `json:"gbps"`
	// Wanted is what would have crossed without bounds.
	Wanted float64 `json:"wanted_gbps"`
}

// Ports is a group of slices that share their flows, and how full it was.
type Ports struct {
	Datacenter string `json:"datacenter"`
	// Server within the datacenter, from 1; 0 is any of them, which are alike.
	Server int `json:"server"`
	// Destination and Protocol that the ports are toward.
	Destination string `json:"destination"`
	Protocol    string `json:"protocol"`
	// Pool of addresses: "shared", the country that they are published with, or the one address that is an account's own.
	Pool string `json:"pool"`
	// Ports of one server, and the most that one of them had taken.
	Ports int `json:"ports"`
	Peak  int `json:"peak"`
	// Load in Erlang of one server, at the busiest time, hold included.
	Load float64 `json:"load"`
	// Tries, Refused and Lost of the run: lost are those that gave up.
	Tries   float64 `json:"tries"`
	Refused float64 `json:"refused"`
	Lost    float64 `json:"lost"`
	// Erlang is what formula B says of Load: without retries.
	Erlang float64 `json:"erlang"`
}

// Moment is the network at a time.
type Moment struct {
	// At in seconds from the start of traffic.
	At float64 `json:"at"`
	// Rate of new flows per second, Flows open, Gbps, Unreached users.
	Rate      float64 `json:"rate"`
	Flows     float64 `json:"flows"`
	Gbps      float64 `json:"gbps"`
	Unreached float64 `json:"unreached"`
	// Blocked flows per second.
	Blocked float64 `json:"blocked"`
}

// Design is a way to bring replies home, over the sites of the file.
type Design struct {
	// Name: routes, vrf_per_site, nat_per_site or arr.
	Name string `json:"name"`
	// Misdelivered share of replies.
	Misdelivered float64 `json:"misdelivered"`
	// FlowState and SiteState are entries that the network keeps.
	FlowState float64 `json:"flow_state"`
	SiteState float64 `json:"site_state"`
	// Objects that somebody writes, and how many more for one more site.
	Objects int `json:"objects"`
	OneMore int `json:"one_more"`
	// RestartLost and FailoverLost are shares of live flows that end when a server
	// restarts, and when a site moves to its other on-ramp.
	RestartLost  float64 `json:"restart_lost"`
	FailoverLost float64 `json:"failover_lost"`
	// Notes say what each number rests on.
	Notes []string `json:"notes"`
}

// Value is a measure by its name.
func (o *Outcome) Value(name string) (float64, bool) {
	for _, m := range o.Measures {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// Why says what a measure comes from: which constraint bound, which AS landed
// where by which rule. It is empty for a name that there is not.
func (o *Outcome) Why(name string) []string { return o.why[name] }
