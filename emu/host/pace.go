package host

import "time"

// pace notes the longest time in which a flow delivered no payload, as its
// client's socket sees it: between two reads that brought some, or writes for
// which there was room again.
type pace struct {
	last    time.Time
	longest time.Duration
}

// begin says that payload may flow from now on.
func (p *pace) begin(now time.Time) { p.last = now }

// step notes n bytes of payload.
func (p *pace) step(n int) {
	if n > 0 {
		p.move(time.Now())
	}
}

// move ends one interval and begins the next.
func (p *pace) move(now time.Time) {
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}
