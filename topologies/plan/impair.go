package plan

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// classes are the words of `links:` that are no selectors.
var classes = [...]Class{ClassLAN, ClassAccess, ClassInternet, ClassTransit, ClassEdge, ClassServer, ClassBackbone}

// impair writes onto each link what the file asks for: its class first, then
// selectors from the least specific on, then `impair:` in file order.
func (b *builder) impair() {
	names := sortedKeys(b.s.Links)
	slices.SortStableFunc(names, func(x, y string) int { return cmp.Compare(specific(x), specific(y)) })
	from := map[*Link]string{} // the last place in the file that says something of a link
	for _, name := range names {
		found := slices.Contains(classes[:], Class(name))
		for _, l := range b.links {
			if string(l.Class) == name || b.names(l, name) {
				found, from[l] = true, "links."+name
				l.AB, l.BA = over(l.AB, b.s.Links[name]), over(l.BA, b.s.Links[name])
			}
		}
		if !found && !b.unplanned(name) {
			b.fail("links."+name, "%q is neither a class of links nor selects one", name)
		}
	}
	for i, im := range b.s.Impair {
		found := false
		for _, l := range b.links {
			if !b.names(l, im.On) {
				continue
			}
			found, from[l] = true, at("impair", i)
			if im.Direction != "down" {
				l.AB = over(l.AB, im.Impairment)
			}
			if im.Direction != "up" {
				l.BA = over(l.BA, im.Impairment)
			}
		}
		if !found && !b.unplanned(im.On) {
			b.fail(at("impair", i)+".on", "%q selects no link", im.On)
		}
	}
	for _, l := range b.links {
		b.together(l, from[l])
	}
}

// specific ranks a key of `links:`: classes, then selectors by what they name.
func specific(name string) int {
	if slices.Contains(classes[:], Class(name)) {
		return -1
	}
	return literal(name)
}

// names says whether a selector names a link, as Plan.LinksNamed does.
func (b *builder) names(l *Link, selector string) bool {
	var crossing []string
	if r := b.byNode[l.A.Node]; r != nil {
		crossing = r.crossing[l]
	}
	return l.named(selector, crossing)
}

// over puts what im asks for over what is there.
func over(old, im spec.Impairment) spec.Impairment {
	delay := old.Delay
	if im.Delay != (spec.Delay{}) {
		delay = im.Delay
	}
	switch { // of rate and trace the later one
	case im.Rate != 0:
		old.Trace = spec.Trace{}
	case im.Trace.Times != nil:
		old.Rate = 0
	}
	return spec.Impairment{
		Delay:              delay,
		Jitter:             cmp.Or(im.Jitter, old.Jitter),
		JitterDistribution: cmp.Or(im.JitterDistribution, old.JitterDistribution),
		JitterCorrelation:  cmp.Or(im.JitterCorrelation, old.JitterCorrelation),
		Loss:               cmp.Or(im.Loss, old.Loss),
		LossBurst:          cmp.Or(im.LossBurst, old.LossBurst),
		Reorder:            cmp.Or(im.Reorder, old.Reorder),
		ReorderGap:         cmp.Or(im.ReorderGap, old.ReorderGap),
		Duplicate:          cmp.Or(im.Duplicate, old.Duplicate),
		Corrupt:            cmp.Or(im.Corrupt, old.Corrupt),
		Rate:               cmp.Or(im.Rate, old.Rate),
		Queue:              cmp.Or(im.Queue, old.Queue),
		CEThreshold:        cmp.Or(im.CEThreshold, old.CEThreshold),
		Trace:              cmp.Or(im.Trace, old.Trace),
	}
}

// Impair is what the link does to packets in a direction, as every engine does
// it. A delay of geo is the link's own, 0 where a place is unknown.
func (l *Link) Impair(d impair.Direction) impair.Config {
	if d == impair.BA {
		return l.ImpairedAs(l.BA)
	}
	return l.ImpairedAs(l.AB)
}

// ImpairedAs is what an impairment of the link does to packets.
func (l *Link) ImpairedAs(im spec.Impairment) impair.Config {
	c := impair.Config{
		Delay:        im.Delay.Fixed.D(),
		Jitter:       im.Jitter.D(),
		Distribution: impair.Distribution(im.JitterDistribution),
		Correlation:  float64(im.JitterCorrelation),
		Loss:         float64(im.Loss),
		LossBurst:    im.LossBurst,
		Reorder:      float64(im.Reorder),
		ReorderGap:   im.ReorderGap,
		Duplicate:    float64(im.Duplicate),
		Corrupt:      float64(im.Corrupt),
		Rate:         im.Rate,
		Queue:        im.Queue,
		CEThreshold:  im.CEThreshold.D(),
		Trace:        im.Trace.Times,
	}
	if im.Delay.Geo {
		c.Delay = l.Geo
	}
	return c
}

// Impaired says whether the link is built to be impaired: more than a plain wire
// and more than a rate that the kernel has by itself in any direction, or it will
// be.
func (l *Link) Impaired() bool {
	ab, ba := l.Impair(impair.AB), l.Impair(impair.BA)
	return l.Pumped || (!ab.Plain() || !ba.Plain()) && !l.Shaped()
}

// A rate alone, from shapedRate on, is left to the kernel's token bucket: then a
// packet of 1500 bytes is transmitted in less time than a lab can tell apart, and
// the kernel carries more than a program could. The queue must hold what a bucket
// takes at once, superpackets of 64 KiB.
//
// Below, a bucket is no transmitter. It has to hold what the kernel's timers come
// late by, milliseconds, or the rate is not reached; and so much passes at once
// after each pause, where a transmitter lets one packet after the other go: at
// 10 Mbit/s the 96 KiB of one superpacket with its bucket are 79 ms. What waits in
// transmission does not count for its queue, as it does for impair.Config.Queue.
// htb has the same bucket.
const (
	shapedRate  = 500 * unit.Mbit
	shapedQueue = 256 << 10
)

// Shaped says whether the link has rates that the kernel's token bucket (tbf) is
// for, and nothing else.
func (l *Link) Shaped() bool {
	ab, ba := l.Impair(impair.AB), l.Impair(impair.BA)
	return !l.Pumped && l.VLAN == 0 && (ab.Rate > 0 || ba.Rate > 0) && bucket(ab) && bucket(ba)
}

// Bucket is the rate that the kernel has of one direction; zero where it has none.
func (l *Link) Bucket(d impair.Direction) impair.Config {
	if !l.Shaped() {
		return impair.Config{}
	}
	return l.Impair(d)
}

// bucket says whether a direction is a plain wire or a rate alone, fast enough.
func bucket(c impair.Config) bool {
	if c != (impair.Config{Rate: c.Rate, Queue: c.Queue}) {
		return false
	}
	return c.Rate == 0 && c.Queue == 0 || c.Rate >= shapedRate && cmp.Or(c.Queue, impair.DefaultQueue(c.Rate)) >= shapedQueue
}

// together checks what a link's words, which may come from several places of
// the file, say together.
func (b *builder) together(l *Link, path string) {
	for _, d := range []impair.Direction{impair.AB, impair.BA} {
		if err := Together(l.Impair(d)); err != nil {
			b.fail(path, "on link %s: %v", l.ID, err)
			return
		}
	}
}

// ErrApart is returned for words that mean nothing together.
var ErrApart = errors.New("reorder without delay: a packet overtakes by taking none")

// Together checks what words say together, whichever place each comes from.
func Together(c impair.Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Reorder > 0 && c.Delay == 0 && c.Jitter == 0 {
		return ErrApart
	}
	return nil
}

// literal counts the parts of a selector that name something: the more, the
// more specific.
func literal(selector string) int {
	n := 0
	for _, part := range strings.FieldsFunc(selector, func(r rune) bool { return r == '.' || r == '-' }) {
		if part != "*" {
			n++
		}
	}
	return n
}
