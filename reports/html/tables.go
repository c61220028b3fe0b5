package html

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/homeward-lab/homeward/reports/lateness"
	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// mostRows bounds the flow table: what a browser sorts without a pause.
const mostRows = 2000

// table is the flow table, as JSON for the script.
type table struct {
	Runs  []string `json:"runs"` // what tells it from the others
	Rows  []row    `json:"rows"`
	Shown int      `json:"-"`
	Total int      `json:"-"`
	Files []string `json:"-"` // where all flows are
}

// row is one flow. Times are ms; RTT 0 is unknown.
type row struct {
	Run      int           `json:"run"`
	Flow     string        `json:"flow"` // "same#1"
	Traffic  string        `json:"traffic"`
	Client   string        `json:"client"`
	Src      string        `json:"src"`
	Dst      string        `json:"dst"`
	OnRamp   string        `json:"onramp"`
	Home     string        `json:"home"`
	Egress   string        `json:"egress"`
	Return   string        `json:"return"`
	Seen     string        `json:"seen"`
	Result   record.Result `json:"result"`
	Reason   string        `json:"reason"`
	RTT      float64       `json:"rtt"`
	Time     float64       `json:"time"`
	Down     int64         `json:"down"`
	Start    float64       `json:"start"`
	Protocol string        `json:"proto"`
	Kind     string        `json:"kind"` // of the on-ramp
	VNet     string        `json:"vnet"`
	OffRamp  string        `json:"offramp"`
	Rules    string        `json:"rules"`
}

// newTable takes an equal share of rows from every run, and gives what short
// runs leave to the others.
func newTable(r *record.Results) table {
	t := table{Runs: []string{}, Rows: []row{}}
	left := mostRows
	order := make([]int, len(r.Runs)) // shortest first, so that the rest is known
	for i := range order {
		order[i] = i
		t.Total += len(r.Runs[i].Flows)
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(r.Runs[a].Flows) - len(r.Runs[b].Flows) })
	take := make([]int, len(r.Runs))
	for k, i := range order {
		take[i] = min(len(r.Runs[i].Flows), left/(len(order)-k))
		left -= take[i]
	}
	for i, rec := range r.Runs {
		t.Runs = append(t.Runs, runName(rec, r.Runs))
		t.Files = append(t.Files, rec.Run.Scenario+"/"+rec.Run.Variant+"/"+rec.Run.Engine+"/"+record.FlowsFile)
		sessions, kinds := map[string]*record.Session{}, map[string]string{}
		for j := range rec.Sessions {
			sessions[rec.Sessions[j].SessionID] = &rec.Sessions[j]
		}
		for _, l := range rec.Run.Topology.Links {
			if l.Kind != "" {
				kinds[l.ID] = l.Kind
			}
		}
		for _, f := range chosen(rec.Flows, take[i]) {
			r := newRow(i, f)
			r.Kind = kinds[f.OnRamp]
			if s := sessions[f.SessionID]; s != nil {
				r.VNet, r.OffRamp, r.Rules = s.VNet, s.OffRamp, strings.Join(s.Rules, ", ")
				if s.OffRamp == "" && s.Refused == "" {
					r.OffRamp = strings.ToLower(s.Offramp)
				}
			}
			t.Rows = append(t.Rows, r)
		}
	}
	t.Shown = len(t.Rows)
	return t
}

// chosen are n of the flows, in their order: those that did not go well before
// all others.
func chosen(flows []record.Flow, n int) []record.Flow {
	if n >= len(flows) {
		return flows
	}
	bad := 0
	for i := range flows {
		if flows[i].Result != record.OK {
			bad++
		}
	}
	good := max(0, n-bad)
	var some []record.Flow
	for _, f := range flows {
		switch {
		case len(some) == n:
			return some
		case f.Result != record.OK:
			some = append(some, f)
		case good > 0:
			good--
			some = append(some, f)
		}
	}
	return some
}

// runName is as long as it has to be to tell a run from the others.
func runName(rec *record.Records, others []*record.Records) string {
	name := rec.Run.Variant
	differs := func(of func(record.Run) string) bool {
		return slices.ContainsFunc(others, func(o *record.Records) bool { return of(o.Run) != of(rec.Run) })
	}
	if differs(func(r record.Run) string { return r.Engine }) {
		name += " · " + rec.Run.Engine
	}
	if differs(func(r record.Run) string { return r.Scenario }) {
		name = rec.Run.Scenario + " · " + name
	}
	return name
}

func newRow(run int, f record.Flow) row {
	r := row{
		Run: run, Flow: fmt.Sprintf("%s#%d", f.Traffic, f.N), Traffic: f.Traffic, Client: f.Client, Src: f.Src, Dst: f.Dst,
		OnRamp: f.OnRamp, Home: f.HomeServer, Return: f.ReturnOnRamp, Seen: f.DeliveredTo, Result: f.Result, Reason: f.Reason,
		RTT: float64(f.RTTNs) / 1e6, Time: float64(f.EndNs-f.StartNs) / 1e6, Down: f.BytesDown, Start: float64(f.StartNs) / 1e6, Protocol: f.Proto,
	}
	if f.EgressIP != "" {
		r.Egress = fmt.Sprintf("%s:%d", f.EgressIP, f.EgressPort)
	}
	return r
}

// timing is one run's times of one traffic, ns; 0 is unknown.
type timing struct {
	Variant, Engine, Traffic string
	OK, Total                int64
	RTT, Time                [4]int64 // p50, p90, p99, max
	Late                     [2]int64 // p50 and max of what of round trips can be the lab's own lateness
	Down                     int64    // bytes
}

func timings(recs []*record.Records, traffic []string) []timing {
	var all []timing
	late := make([]*lateness.Run, len(recs))
	for i, rec := range recs {
		late[i] = lateness.Of(rec)
	}
	for _, name := range traffic {
		for i, rec := range recs {
			flows := picture.OfTraffic(rec.Flows, name)
			if len(flows) == 0 {
				continue
			}
			t := timing{Variant: rec.Run.Variant, Engine: rec.Run.Engine, Traffic: name, Total: int64(len(flows))}
			var rtt, took, waited []int64
			for _, f := range flows {
				t.Down += f.BytesDown
				if f.RTTNs > 0 {
					rtt = append(rtt, f.RTTNs)
					waited = append(waited, int64(late[i].Met(&f).InAll))
				}
				if f.Result == record.OK {
					t.OK++
					took = append(took, f.EndNs-f.StartNs)
				}
			}
			t.RTT, t.Time = quantiles(rtt), quantiles(took)
			q := quantiles(waited)
			t.Late = [2]int64{q[0], q[3]}
			all = append(all, t)
		}
	}
	return all
}

// quantiles are by nearest rank, the same as in checks.
func quantiles(ns []int64) (q [4]int64) {
	if len(ns) == 0 {
		return q
	}
	slices.Sort(ns)
	for i, p := range []float64{0.50, 0.90, 0.99, 1} {
		q[i] = ns[max(0, int(math.Ceil(p*float64(len(ns))))-1)]
	}
	return q
}

// grid is a table of counts: rows by columns. A row that is zero everywhere is left out.
type grid struct {
	Columns []string
	Rows    []gridRow
}

type gridRow struct {
	Name  string
	Group string // the run, in the counters' grid
	Cells []int64
}

const dropPrefix = "drop."

// drops sums each reason over a run's servers; one column per run.
func drops(recs []*record.Records) grid {
	g := grid{}
	sums := map[string][]int64{}
	for i, rec := range recs {
		g.Columns = append(g.Columns, runName(rec, recs))
		for _, counters := range rec.Run.Metrics.Servers {
			for name, n := range counters {
				reason, ok := strings.CutPrefix(name, dropPrefix)
				if !ok || n == 0 {
					continue
				}
				if sums[reason] == nil {
					sums[reason] = make([]int64, len(recs))
				}
				sums[reason][i] += n
			}
		}
	}
	for reason, cells := range sums {
		g.Rows = append(g.Rows, gridRow{Name: reason, Cells: cells})
	}
	slices.SortFunc(g.Rows, func(a, b gridRow) int { return picture.Natural(a.Name, b.Name) })
	return g
}

// counters lists each server's totals; one column per counter that is not
// zero somewhere.
func counters(recs []*record.Records) grid {
	// The order of a packet's way; anything else follows by name.
	known := []string{"packets", "forwarded", "returned", "handed_over", "routed", "answered", "held", "reassembly_timeouts", "relayed", "route_lookups", "flows_started", "flows_ended", "flows"}
	g := grid{}
	used := map[string]bool{}
	for _, rec := range recs {
		for _, counters := range rec.Run.Metrics.Servers {
			for name, n := range counters {
				if n != 0 && !strings.HasPrefix(name, dropPrefix) {
					used[name] = true
				}
			}
		}
	}
	for _, name := range known {
		if used[name] {
			g.Columns = append(g.Columns, name)
			delete(used, name)
		}
	}
	g.Columns = append(g.Columns, sorted(used)...)
	for _, rec := range recs {
		servers := map[string]bool{}
		for s := range rec.Run.Metrics.Servers {
			servers[s] = true
		}
		for _, s := range sorted(servers) {
			row := gridRow{Name: s, Group: runName(rec, recs)}
			for _, c := range g.Columns {
				row.Cells = append(row.Cells, rec.Run.Metrics.Servers[s][c])
			}
			g.Rows = append(g.Rows, row)
		}
	}
	return g
}
