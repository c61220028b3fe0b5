package pathbench

import (
	"fmt"
	"slices"
	"time"
)

// What is measured of a way that has flows is a packet of either direction, as many
// of one as of the other: one out of the tunnel to the Internet, translated, and one
// from the Internet back into the tunnel. Of plain routing both are the same: as
// many bytes of a packet, without any tunnel.

// repeat has a packet measured.
func (r *room) repeat(packet []byte) error {
	s, err := newSource(r.index, append(slices.Clone(r.frame), packet...))
	if err != nil {
		return err
	}
	r.sources = append(r.sources, s)
	r.closers = append(r.closers, s.program.Close)
	return nil
}

// measure notes what a packet of each source takes, which share the length, and
// the mean of those.
func (r *room) measure(length time.Duration) error {
	sum := 0.0
	for i, s := range r.sources {
		ns, err := r.cost(s, length/time.Duration(len(r.sources)))
		if err != nil {
			return err
		}
		r.each[i] = append(r.each[i], ns)
		sum += ns
	}
	r.ns = append(r.ns, sum/float64(len(r.sources)))
	return nil
}

// cost floods for so long and returns the processor time, ns, for each packet that
// came out: the sender's, in which the kernel forwards, and the servers'.
func (r *room) cost(s *source, length time.Duration) (float64, error) {
	before, err := r.delivered()
	if err != nil {
		return 0, err
	}
	agents, err := r.agentsTime()
	if err != nil {
		return 0, err
	}
	spent, err := r.flood(s, length)
	if err != nil {
		return 0, err
	}
	time.Sleep(30 * time.Millisecond) // what still is on its way
	after, err := r.delivered()
	if err != nil {
		return 0, err
	}
	later, err := r.agentsTime()
	if err != nil {
		return 0, err
	}
	if after-before < 1000 {
		return 0, fmt.Errorf("only %d packets came out", after-before)
	}
	return float64(spent+later-agents) / float64(after-before), nil
}
