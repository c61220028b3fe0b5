package run

import (
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/reports/record"
)

// late is what a part told of its lateness since traffic began, behind what it told
// before, in another life; nil if nobody knows.
func (r *runner) late(before *record.Late, told *late.Told) *record.Late {
	if told.Least == 0 {
		return before
	}
	l := &record.Late{LeastNs: told.Least}
	if before != nil {
		l.LeastNs, l.Moments = max(l.LeastNs, before.LeastNs), before.Moments
	}
	began := r.since(r.first)
	for _, m := range told.Moments {
		if m.At >= began {
			l.Moments = append(l.Moments, record.LateMoment{AtNs: m.At, ForNs: m.For})
		}
	}
	return l
}

// lateNode notes what a node told of its lateness.
func (r *runner) lateNode(node string, told *late.Told) {
	all := r.manifest.Metrics.Late
	if l := r.late(all[node], told); l != nil {
		all[node] = l
	}
}
