package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/homeward-lab/homeward/reports/record"
)

// overTime says that the check is judged over the time line, and not over the
// whole run at its end.
func (in *Input) overTime() bool { return in.After != "" || in.Kind == Eventually }

// window is a part of a run: what became known in it counts.
type window struct {
	run *record.Records
	// from and to are since the start of the run, ns; from itself is outside.
	from, to int64
}

// windowOf finds where a check's judging begins and ends.
func (c *Check) windowOf(run *record.Records) (window, error) {
	w := window{run: run, from: -1}
	for _, e := range run.Events {
		w.to = max(w.to, e.AtNs)
	}
	for i := range run.Flows {
		w.to = max(w.to, run.Flows[i].EndNs)
	}
	begins := func(e record.Event) bool {
		return e.Kind == "traffic" && strings.HasPrefix(e.Text, "traffic begins")
	}
	if c.input.After != "" {
		begins = func(e record.Event) bool { return e.Kind == "fault" && e.Fault == c.input.After }
	}
	i := slices.IndexFunc(run.Events, begins)
	switch {
	case i >= 0:
		w.from = run.Events[i].AtNs
	case c.input.After != "":
		return w, fmt.Errorf("fault %s did not happen", c.input.After)
	}
	if c.input.Kind == Eventually && c.input.Within > 0 {
		w.to = min(w.to, max(w.from, 0)+int64(c.input.Within))
	}
	return w, nil
}

// moments are the instants at which what is known changes, in order, and the end.
func (w window) moments() []int64 {
	var all []int64
	add := func(at int64) {
		if at > w.from && at <= w.to {
			all = append(all, at)
		}
	}
	for i := range w.run.Flows {
		add(w.run.Flows[i].EndNs)
	}
	for i := range w.run.Sessions {
		add(w.run.Sessions[i].EndNs)
	}
	for i := range w.run.Events {
		if counted(&w.run.Events[i]) {
			add(w.run.Events[i].AtNs)
		}
	}
	all = append(all, w.to)
	slices.Sort(all)
	return slices.Compact(all)
}

// counted says whether a measure depends on the event. The sums of drops that
// servers tell at their end are of the whole run.
func counted(e *record.Event) bool {
	switch e.Kind {
	case "moved", "flow_refused", "misdelivered":
		return true
	case "drop":
		return e.Text == ""
	}
	return false
}

// at is what is known at an instant: flows, sessions and events that came to
// their end since the window began. Of the servers' totals it has what events
// tell.
func (w window) at(now int64) *record.Records {
	in := func(at int64) bool { return at > w.from && at <= now }
	r := &record.Records{}
	for _, f := range w.run.Flows {
		if in(f.EndNs) {
			r.Flows = append(r.Flows, f)
		}
	}
	for _, s := range w.run.Sessions {
		if in(s.EndNs) {
			r.Sessions = append(r.Sessions, s)
		}
	}
	totals := map[string]int64{moves: 0}
	for i := range w.run.Events {
		e := &w.run.Events[i]
		if !in(e.AtNs) || !counted(e) {
			continue
		}
		r.Events = append(r.Events, *e)
		switch e.Kind {
		case "moved":
			totals[moves]++
		case "drop":
			totals["drop."+e.Reason] += max(e.Count, 1)
		}
	}
	r.Run.Metrics.Servers = map[string]map[string]int64{"all": totals}
	return r
}

// moves is the counter of flows that moved to another on-ramp of their group.
const moves = "arr_failover"

// timed says whether a measure is known at every moment.
func (s schema) timed(name string) bool {
	head, rest, _ := strings.Cut(name, ".")
	switch head {
	case "config", "route_lookups":
		return false
	case "hub":
		return rest == moves
	case "egress":
		return rest == "addresses"
	}
	return true
}

// judged is what a check over the time line comes to.
type judged struct {
	verdict record.Verdict
	detail  string
}

// overWindow judges the check at every moment of its window.
func (c *Check) overWindow(run *record.Records) judged {
	w, err := c.windowOf(run)
	if err != nil {
		return judged{record.Error, "cannot be judged: " + err.Error()}
	}
	moments := w.moments()
	if c.input.Kind == Expect {
		moments = moments[len(moments)-1:]
	}
	var last values
	var unknown error
	known := false
	for _, now := range moments {
		v := measure(w.at(now), c.spec)
		got, err := vm.Run(c.program, v.environment())
		holds, ok := got.(bool)
		if err != nil || !ok {
			unknown = err
			continue // not known yet, as the share of flows before any has ended
		}
		known, last = true, v
		switch {
		case c.input.Kind == Expect && !holds, c.input.Kind == Always && !holds, c.input.Kind == Never && holds:
			return judged{record.Fail, c.moment(w, now) + c.detail(v)}
		case c.input.Kind == Eventually && holds:
			return judged{record.Pass, c.moment(w, now) + c.detail(v)}
		}
	}
	switch {
	case !known:
		return judged{record.Error, "cannot be judged: " + cause(unknown)}
	case c.input.Kind == Eventually:
		return judged{record.Fail, fmt.Sprintf("not within %v%s: %s", c.input.Within, c.since(), c.detail(last))}
	}
	return judged{record.Pass, c.detail(last)}
}

// moment says when something was found.
func (c *Check) moment(w window, now int64) string {
	if c.input.Kind == Expect {
		return ""
	}
	return fmt.Sprintf("%v%s: ", time.Duration(now-max(w.from, 0)).Round(time.Millisecond), c.since())
}

func (c *Check) since() string {
	if c.input.After != "" {
		return " after " + c.input.After
	}
	return " after the start of traffic"
}
