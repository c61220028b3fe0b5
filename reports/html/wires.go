package html

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/record"
)

// mostWires bounds the impaired links of one run in the page.
const mostWires = 30

// wires are one run's impaired links.
type wires struct {
	Run  string
	Rows []record.Wire
	More int
}

// impaired lists every run's impaired links in which something moved: those
// that were not what was asked for first.
func impaired(recs []*record.Records) []wires {
	var all []wires
	for _, rec := range recs {
		w := wires{Run: runName(rec, recs)}
		for _, one := range rec.Run.Metrics.Wires {
			if one.Packets > 0 || one.Saturated != "" {
				w.Rows = append(w.Rows, one)
			}
		}
		if len(w.Rows) == 0 {
			continue
		}
		slices.SortStableFunc(w.Rows, func(a, b record.Wire) int { return cmp.Compare(rank(a), rank(b)) })
		w.More = max(0, len(w.Rows)-mostWires)
		w.Rows = w.Rows[:len(w.Rows)-w.More]
		all = append(all, w)
	}
	return all
}

func rank(w record.Wire) int {
	if w.Saturated != "" {
		return 0
	}
	return 1
}

// mostBusy bounds the signs of a saturated lab in a verdict.
const mostBusy = 3

// busy are the signs of a lab that had more to do than its machine could: a
// sentence each.
func busy(rec *record.Records) string {
	var all []string
	for _, e := range rec.Events {
		if e.Kind == "saturated" {
			where := e.Node + ": "
			if strings.HasPrefix(e.Text, e.Node+" ") {
				where = ""
			}
			all = append(all, where+e.Text+".")
		}
	}
	if more := len(all) - mostBusy; more > 0 {
		all = append(all[:mostBusy], fmt.Sprintf("And %d more.", more))
	}
	return strings.Join(all, " ")
}

// ofPackets is the part of packets that something happened to: "12 (1.2 %)", or a dash.
func ofPackets(n, packets int64) string {
	if n == 0 || packets == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%.2g %%)", count(n), 100*float64(n)/float64(packets))
}
