package html

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// decision is sessions of one run that were treated alike: who asked, where
// they went, and which policies matched.
type decision struct {
	Run      string
	Account  string
	Kind     string // of the on-ramp
	VNet     string
	OffRamp  string
	Rules    string
	Refused  string // why; empty for sessions that were set up
	Sessions int64
}

// decisions sums up the sessions of all runs. It is empty where it would say
// nothing: one kind of sessions in every run, without a rule or refusal.
func decisions(recs []*record.Records) []decision {
	var all []decision
	telling := false
	for _, rec := range recs {
		kinds := map[string]string{}
		for _, l := range rec.Run.Topology.Links {
			if l.Kind != "" {
				kinds[l.ID] = l.Kind
			}
		}
		sums := map[decision]int64{}
		for i := range rec.Sessions {
			s := &rec.Sessions[i]
			sums[decision{
				Run: runName(rec, recs), Account: s.AccountID, Kind: cmp.Or(kinds[s.OnRamp], s.OnrampType), VNet: s.VNet,
				OffRamp: offRamp(s), Rules: strings.Join(s.Rules, ", "), Refused: s.Refused,
			}]++
		}
		alike := slices.Collect(maps.Keys(sums))
		slices.SortFunc(alike, func(a, b decision) int {
			return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.VNet, b.VNet),
				cmp.Compare(a.OffRamp, b.OffRamp), cmp.Compare(a.Refused, b.Refused), cmp.Compare(a.Rules, b.Rules))
		})
		for _, d := range alike {
			d.Sessions = sums[d]
			telling = telling || len(alike) > 1 || d.Rules != "" || d.Refused != ""
			all = append(all, d)
		}
	}
	if !telling {
		return nil
	}
	return all
}

// offRamp is where a session went: by name, all devices and equal connectors
// as one; empty where it was refused before anybody looked for a way.
func offRamp(s *record.Session) string {
	switch {
	case s.OffRamp == "" && s.Refused != "":
		return ""
	case s.OffRamp == "":
		return strings.ToLower(s.Offramp)
	}
	return picture.Base(s.OffRamp)
}

// written is what somebody has to write into the configuration of one run.
type written struct {
	Run   string
	Total int64
	Sites int64
	Parts []part
}

// part is one kind of object; Share is its width in percent of the largest run.
type part struct {
	Kind  string
	N     int64
	Share float64
	Hue   int
}

// Each says what there is per site, where there is more than one: 3.0.
func (w written) Each() float64 {
	if w.Sites == 0 {
		return 0
	}
	return float64(w.Total) / float64(w.Sites)
}

// configurations compares runs by what has to be written; nil where they are equal.
func configurations(recs []*record.Records) []written {
	// In the order in which a network is set up, and the words for people.
	known := []struct{ kind, words string }{
		{"onramps", "on-ramps"}, {"networks", "prefixes"}, {"routes", "routes"}, {"connectors", "connectors"},
		{"vnets", "virtual networks"}, {"policies", "policies"}, {"addresses", "egress addresses"}, {"groups", "groups"},
	}
	var all []written
	most, differ := int64(0), false
	for _, rec := range recs {
		w := written{Run: runName(rec, recs)}
		sites := map[string]bool{}
		for _, n := range rec.Run.Topology.Nodes {
			if n.Kind == "branch" {
				sites[n.Site] = true
			}
		}
		w.Sites = int64(len(sites))
		for i, k := range known {
			if n := rec.Run.Metrics.Config[k.kind]; n > 0 {
				w.Parts = append(w.Parts, part{Kind: k.words, N: n, Hue: i})
				w.Total += n
			}
		}
		most = max(most, w.Total)
		differ = differ || rec.Run.Metrics.Config != nil && !maps.Equal(rec.Run.Metrics.Config, recs[0].Run.Metrics.Config)
		all = append(all, w)
	}
	if !differ {
		return nil
	}
	for i := range all {
		for j := range all[i].Parts {
			all[i].Parts[j].Share = 100 * float64(all[i].Parts[j].N) / float64(most)
		}
	}
	return all
}
