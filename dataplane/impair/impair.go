// Package impair says what one direction of a link does to packets: rate and
// queue, delay and jitter, loss, reordering, duplicates, corruption, and
// capacity that follows a trace.
//
// It is sans-IO: a Line takes the time and the length of a packet, and answers
// when it comes out at the other end, if at all. It holds no packet; the lab
// and the simulator do. A packet goes through, in this order:
//
//	arrives ─▶ queue (drop-tail, marks) ─▶ transmitter (rate or trace) ─▶ loss ─▶ corrupt, duplicate ─▶ delay + jitter, or overtakes ─▶ comes out
//
// Chance is counter-based (random.go): what happens to the n-th packet depends
// on the seed, the link, the direction and n, never on the time. So the same
// seed loses the same packets whatever the machine's load, and to change one
// word of an impairment moves no other draw.
//
// Sizes and rates are of IP packets: what frames them is not modelled.
package impair

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

// Config is what one direction of a link does. The zero value is a plain wire.
type Config struct {
	// Delay is one way, from the end of transmission.
	Delay time.Duration `json:"delay,omitempty"`
	// Jitter is how much the delay varies: half the width of the uniform
	// distribution, the standard deviation of the others. The sum of delay and
	// jitter is never negative, and packets keep their order.
	Jitter time.Duration `json:"jitter,omitempty"`
	// Distribution of the jitter; empty means Uniform.
	Distribution Distribution `json:"distribution,omitempty"`
	// Correlation of the jitter of successive packets, 0 to below 1.
	Correlation float64 `json:"correlation,omitempty"`

	// Loss is the share of packets lost in the long run, 0 to 1.
	Loss float64 `json:"loss,omitempty"`
	// LossBurst is the mean number of successive packets lost; 0 means that
	// each packet is lost independently (which is a mean of 1/(1-Loss)).
	LossBurst float64 `json:"loss_burst,omitempty"`

	// Reorder is the share of packets that overtake: they take neither delay nor
	// jitter, as with netem.
	Reorder float64 `json:"reorder,omitempty"`
	// ReorderGap lets only every so manieth packet overtake; 0 and 1 mean any.
	ReorderGap int `json:"reorder_gap,omitempty"`

	// Duplicate is the share of packets that come out twice.
	Duplicate float64 `json:"duplicate,omitempty"`
	// Corrupt is the share of packets of which one bit is flipped.
	Corrupt float64 `json:"corrupt,omitempty"`

	// Rate of the transmitter; 0 means unlimited.
	Rate unit.BitRate `json:"rate,omitempty"`
	// Queue is how many bytes may wait or be in transmission before the next
	// packet is dropped; a packet that finds nothing before it always passes. 0
	// means DefaultQueue.
	Queue unit.Bytes `json:"queue,omitempty"`
	// CEThreshold marks packets that wait longer than this before their
	// transmission begins, if their ends understand marks (RFC 3168), as fq_codel's
	// ce_threshold does; 0 means never. What the queue has no room for is dropped
	// as ever.
	CEThreshold time.Duration `json:"ce_threshold,omitempty"`
	// Trace gives the capacity instead of Rate; nil means none.
	Trace *Trace `json:"trace,omitempty"`
}

// Distribution of jitter.
type Distribution string

// Distributions. Jitter is J, mean 0 for all.
const (
	// Uniform is from -J to J.
	Uniform Distribution = "uniform"
	// Normal has the standard deviation J and is cut at 4 J.
	Normal Distribution = "normal"
	// Pareto has the shape 3 and, before it is cut at 10 J, the standard
	// deviation J: most packets are early by up to 0.58 J, a few very late.
	Pareto Distribution = "pareto"
)

// ErrConfig is wrapped by what Check returns.
var ErrConfig = fmt.Errorf("impairment that cannot be")

// Check says what of the config cannot be.
func (c *Config) Check() error {
	share := func(name string, v, most float64) error {
		if math.IsNaN(v) || v < 0 || v > most {
			return fmt.Errorf("%w: %s %v, want 0 to %v", ErrConfig, name, v, most)
		}
		return nil
	}
	for _, s := range []struct {
		name    string
		v, most float64
	}{{"loss", c.Loss, 1}, {"reorder", c.Reorder, 1}, {"duplicate", c.Duplicate, 1}, {"corrupt", c.Corrupt, 1}, {"correlation", c.Correlation, MaxCorrelation}} {
		if err := share(s.name, s.v, s.most); err != nil {
			return err
		}
	}
	if c.Delay < 0 || c.Jitter < 0 || c.Delay > MaxDelay || c.Jitter > MaxDelay {
		return fmt.Errorf("%w: delay %v and jitter %v, want 0 to %v", ErrConfig, c.Delay, c.Jitter, MaxDelay)
	}
	switch c.Distribution {
	case "", Uniform, Normal, Pareto:
	default:
		return fmt.Errorf("%w: distribution %q, want %s, %s or %s", ErrConfig, c.Distribution, Uniform, Normal, Pareto)
	}
	if least := LeastBurst(c.Loss); c.LossBurst != 0 && !(c.LossBurst >= least && c.LossBurst <= maxBurst) {
		return fmt.Errorf("%w: bursts of %v packets, want %.4g or more: with %v lost there are fewer than one packet between shorter ones", ErrConfig, c.LossBurst, least, c.Loss)
	}
	if c.ReorderGap < 0 || c.Rate < 0 || c.Queue < 0 {
		return fmt.Errorf("%w: reorder_gap %d, rate %v or queue %v is negative", ErrConfig, c.ReorderGap, c.Rate, c.Queue)
	}
	if c.Rate != 0 && c.Trace != nil {
		return fmt.Errorf("%w: a rate and a trace", ErrConfig)
	}
	if err := c.Trace.check(); err != nil {
		return err
	}
	return c.checkThreshold()
}

// checkThreshold refuses a threshold that no packet can ever meet.
func (c *Config) checkThreshold() error {
	limit := cmp.Or(c.Queue, DefaultQueue(c.Rate))
	switch {
	case c.CEThreshold < 0 || c.CEThreshold > MaxDelay:
		return fmt.Errorf("%w: ce_threshold %v, want 0 to %v", ErrConfig, c.CEThreshold, MaxDelay)
	case c.CEThreshold == 0 || c.Trace != nil:
	case c.Rate == 0:
		return fmt.Errorf("%w: ce_threshold %v without a rate: nothing waits", ErrConfig, c.CEThreshold)
	case c.Rate.TxTime(limit) <= c.CEThreshold:
		return fmt.Errorf("%w: ce_threshold %v, want less than the %v that a full queue of %v takes", ErrConfig, c.CEThreshold, c.Rate.TxTime(limit), limit)
	}
	return nil
}

// Plain reports whether the config asks for nothing.
func (c *Config) Plain() bool {
	return c.Delay == 0 && c.Jitter == 0 && c.Loss == 0 && c.Reorder == 0 && c.Duplicate == 0 && c.Corrupt == 0 && c.Rate == 0 && c.Trace == nil
}

// Bounds.
const (
	// MaxDelay is the most that delay and jitter may be.
	MaxDelay = 10 * time.Minute
	// MaxCorrelation is the most that successive jitters may agree.
	MaxCorrelation = 0.999
	maxBurst       = 1e6
)

// LeastBurst is the shortest mean burst with which a share of packets can be
// lost: at least one packet passes between two bursts. It is rounded down, so
// that 80% can be lost in bursts of 4.
func LeastBurst(loss float64) float64 {
	if loss >= 1 {
		return 1
	}
	return max(1, loss/(1-loss)*(1-1e-12))
}

// DefaultQueue is the queue of a transmitter that the config gives none: what
// it sends in 100 ms, and at least twenty full packets.
func DefaultQueue(r unit.BitRate) unit.Bytes {
	const perSecond, packets = 10, 20 * 1500
	return max(unit.Bytes(r)/8/perSecond, packets)
}
