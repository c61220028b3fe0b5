package html

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/homeward-lab/homeward/reports/record"
)

// mark is how full a server's ports of one address were toward one destination:
// the most sessions that were open at once, of one site and of all.
type mark struct {
	Run, Server, Address, Destination string
	// Most is of all sites, at AtNs; Site had SiteMost of its own at its most.
	Most     int
	AtNs     int64
	Site     string
	SiteMost int
	// Refused counts sessions that got no port toward the destination, whichever
	// server was asked; FirstNs is when the first of them asked, Cause why, Bound
	// what was full, if sessions that were open say so (SEMANTICS EG-7).
	Refused int
	FirstNs int64
	Cause   string
	Bound   string
}

// Share is Most of a slice, in percent (SEMANTICS 5.1: 2048 ports).
func (m mark) Share() float64 { return 100 * float64(m.Most) / slicePorts }

const (
	slicePorts = 2048
	// together is how many flows an account's address has toward one destination.
	together = 40_000
	// marksShown are the fullest of each run.
	marksShown = 12
	// telling is from which share of a slice on its fullness says anything.
	tellingPorts = slicePorts / 4
)

// marks are the high-water marks of slices; they tell something where some run came
// near the end of one.
func marks(recs []*record.Records) (all []mark, telling bool) {
	for _, rec := range recs {
		one := marksOf(rec)
		for i := range one {
			one[i].Run = runName(rec, recs)
			telling = telling || one[i].Most >= tellingPorts || one[i].Refused > 0
		}
		all = append(all, one[:min(len(one), marksShown)]...)
	}
	return all, telling
}

// tally follows how many of something are open.
type tally struct {
	now, most int
	at        int64
}

func (t *tally) change(by int, at int64) {
	if t.now += by; t.now > t.most {
		t.most, t.at = t.now, at
	}
}

// marksOf are those of one run, the fullest first.
func marksOf(rec *record.Records) []mark {
	type change struct {
		at int64
		by int
		s  *record.Session
	}
	sites := sitesOf(rec)
	var changes []change
	refused := map[string][]*record.Session{} // by destination
	for i := range rec.Sessions {
		s := &rec.Sessions[i]
		switch {
		case s.Refused == "ports_exhausted" || s.Refused == "no_egress":
			refused[destination(s)] = append(refused[destination(s)], s)
		case s.Refused == "" && s.EgressIP != "" && s.EgressServer != "":
			changes = append(changes, change{s.StartNs, 1, s})
			if s.EndNs > 0 {
				changes = append(changes, change{s.EndNs, -1, s})
			}
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	total, bySite := map[mark]*tally{}, map[mark]map[string]*tally{}
	addresses := map[mark]*tally{} // of all servers
	for _, c := range changes {
		k := mark{Server: c.s.EgressServer, Address: c.s.EgressIP, Destination: destination(c.s)}
		if total[k] == nil {
			total[k], bySite[k] = &tally{}, map[string]*tally{}
		}
		whole := mark{Address: k.Address, Destination: k.Destination}
		if addresses[whole] == nil {
			addresses[whole] = &tally{}
		}
		addresses[whole].change(c.by, c.at)
		site := cmp.Or(sites[c.s.OnRamp], c.s.OnRamp)
		if bySite[k][site] == nil {
			bySite[k][site] = &tally{}
		}
		total[k].change(c.by, c.at)
		bySite[k][site].change(c.by, c.at)
	}
	var all []mark
	for k, t := range total {
		m := k
		m.Most, m.AtNs = t.most, t.at
		for site, own := range bySite[k] {
			if own.most > m.SiteMost || own.most == m.SiteMost && site < m.Site {
				m.Site, m.SiteMost = site, own.most
			}
		}
		m.refusals(refused[m.Destination], addresses[mark{Address: m.Address, Destination: m.Destination}].most)
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b mark) int {
		return cmp.Or(cmp.Compare(b.Most, a.Most), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Destination, b.Destination))
	})
	return all
}

// ports are what was seen on a run's wires of the ports that packets left by.
type ports struct {
	Run           string
	Seen, Outside int64
}

// portsOf are those of runs in which anything left.
func portsOf(recs []*record.Records) (all []ports) {
	for _, rec := range recs {
		if m := &rec.Run.Metrics; m.PortsSeen > 0 || m.PortOutsideSlice > 0 {
			all = append(all, ports{runName(rec, recs), m.PortsSeen, m.PortOutsideSlice})
		}
	}
	return all
}

// destination is what a port serves one session to at a time.
func destination(s *record.Session) string {
	return fmt.Sprintf("%s %s:%d", s.Protocol, s.OriginIP, s.OriginPort)
}

// sitesOf are the sites of on-ramps, or the nodes where there is no site.
func sitesOf(rec *record.Records) map[string]string {
	of, sites := map[string]string{}, map[string]string{}
	for _, n := range rec.Run.Topology.Nodes {
		of[n.ID] = cmp.Or(n.Site, n.ID)
	}
	for _, l := range rec.Run.Topology.Links {
		if site := of[l.A]; site != "" && l.Kind != "" {
			sites[l.ID] = site
		}
	}
	return sites
}

// refusals counts the sessions that got no port toward the destination, to which the
// address had so many at most.
func (m *mark) refusals(refused []*record.Session, most int) {
	for _, s := range refused {
		if m.Refused == 0 || s.StartNs < m.FirstNs {
			m.FirstNs, m.Cause = s.StartNs, s.ConnectionCloseReason
		}
		m.Refused++
	}
	switch {
	case m.Refused == 0:
	case m.Most >= slicePorts:
		m.Bound = "the slice was full"
	case most >= together:
		m.Bound = fmt.Sprintf("the address had %d", together)
	}
}
