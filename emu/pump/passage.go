package pump

import "time"

// passages pairs the two sights of each packet of a direction: where it left and
// where it arrived.
type passages struct {
	// young and old are sights without their pair, by fingerprint; old ones are
	// forgotten when young ones have grown old.
	young, old map[uint64]sight
	since      time.Time
	memory     time.Duration
	times      times
	// fresh are the times of packets that left at changed or later, by the
	// kernel's clock; nil until Meter.Afresh.
	fresh   *times
	changed int64
}

// sight is a packet at one end. Two packets that look alike at one end make both
// useless.
type sight struct {
	real    int64
	leaving bool
	twice   bool
}

func newPassages(memory time.Duration, of int) passages {
	return passages{young: make(map[uint64]sight), memory: max(memory, memoryLeast), times: newTimes(of)}
}

// age forgets what was seen longer ago than memory, and at most twice as long.
func (p *passages) age(now time.Time) {
	if now.Sub(p.since) < p.memory {
		return
	}
	p.since = now
	p.old, p.young = p.young, make(map[uint64]sight)
}

// pass notes one sight, of a packet that stands for so many. The ends are read one
// after the other, so that either may be first.
func (p *passages) pass(packet uint64, real int64, leaving bool, of int64) {
	in := p.young
	first, seen := in[packet]
	if !seen {
		in = p.old
		first, seen = in[packet]
	}
	switch {
	case !seen:
		if len(p.young) < passagesMost {
			p.young[packet] = sight{real: real, leaving: leaving}
		}
	case first.twice:
	case first.leaving == leaving:
		first.twice = true
		in[packet] = first
	default:
		took, left := real-first.real, first.real
		if leaving {
			took, left = -took, real
		}
		p.times.stand(time.Duration(took), of)
		if p.fresh != nil && left >= p.changed {
			p.fresh.stand(time.Duration(took), of)
		}
		delete(in, packet)
	}
}

// afresh begins the times of packets that leave from now on. Those under way
// are not forgotten earlier than before.
func (p *passages) afresh(now time.Time, memory time.Duration, of int) {
	t := newTimes(of)
	p.fresh, p.changed, p.memory = &t, now.UnixNano(), max(p.memory, memory)
}
