package record

// Wire is one direction of an impaired link: what it was asked to do to packets,
// and what was measured at its ends.
type Wire struct {
	Link string `json:"link"` // as in Topology.Links
	From string `json:"from"` // nodes
	To   string `json:"to"`

	// Packets that came; of them the numbers that met what was asked for.
	Packets    int64 `json:"packets"`
	Lost       int64 `json:"lost,omitempty"`
	Overflowed int64 `json:"overflowed,omitempty"` // found the queue full
	Marked     int64 `json:"marked,omitempty"`     // as having met congestion
	Overtook   int64 `json:"overtook,omitempty"`
	Duplicated int64 `json:"duplicated,omitempty"`
	Corrupted  int64 `json:"corrupted,omitempty"`
	// Unasked were lost although nobody asked for it.
	Unasked int64 `json:"unasked,omitempty"`

	// Asked is how long packets were to take, waiting for the rate included, and
	// Measured how long a sample of them took, by the clock of the kernels at both
	// ends. N of Measured is 0 where none was seen at both.
	Asked    Times `json:"asked"`
	Measured Times `json:"measured"`
	// Late is when packets left it later than they were asked to; nil is unknown.
	Late *Late `json:"late,omitempty"`
	// Saturated says why the figures of the run are not those of the links that
	// were asked for; empty if they are.
	Saturated string `json:"saturated,omitempty"`
}

// Times is a distribution of durations.
type Times struct {
	N     int64 `json:"n"`
	P50Ns int64 `json:"p50_ns"`
	P99Ns int64 `json:"p99_ns"`
	MaxNs int64 `json:"max_ns"`
}
