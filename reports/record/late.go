package record

// Late is when a part of a lab came to packets later than it might have: what the
// machine added to the times of the network.
type Late struct {
	// LeastNs is the length from which on all moments are told.
	LeastNs int64        `json:"least_ns"`
	Moments []LateMoment `json:"moments,omitempty"` // in the order in which they came
}

// LateMoment is one time that a part came late to a packet.
type LateMoment struct {
	AtNs  int64 `json:"at_ns"`  // when it came, since the start of the run
	ForNs int64 `json:"for_ns"` // for how long the packet had waited
}
