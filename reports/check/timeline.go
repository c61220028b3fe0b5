package check

import (
	"cmp"
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

// playback adds up what became known in a window, moment by moment.
type playback struct {
	*account
	// Records that are still to come, in the order of time.
	flows    []*record.Flow
	sessions []*record.Session
	events   []*record.Event
	// totals are of the servers' what events tell.
	totals map[string]int64
}

func (w window) playback(spec EnvSpec) *playback {
	p := &playback{account: newAccount(spec), totals: map[string]int64{moves: 0}}
	in := func(at int64) bool { return at > w.from && at <= w.to }
	for i := range w.run.Flows {
		if f := &w.run.Flows[i]; in(f.EndNs) {
			p.flows = append(p.flows, f)
		}
	}
	for i := range w.run.Sessions {
		if s := &w.run.Sessions[i]; in(s.EndNs) {
			p.sessions = append(p.sessions, s)
		}
	}
	for i := range w.run.Events {
		if e := &w.run.Events[i]; in(e.AtNs) && counted(e) {
			p.events = append(p.events, e)
		}
	}
	slices.SortStableFunc(p.flows, func(a, b *record.Flow) int { return cmp.Compare(a.EndNs, b.EndNs) })
	slices.SortStableFunc(p.sessions, func(a, b *record.Session) int { return cmp.Compare(a.EndNs, b.EndNs) })
	slices.SortStableFunc(p.events, func(a, b *record.Event) int { return cmp.Compare(a.AtNs, b.AtNs) })
	return p
}

// at are the measures that are used, of what is known at an instant: flows, sessions
// and events that came to their end since the window began. now never goes back.
func (p *playback) at(now int64, used []string) values {
	for ; len(p.flows) > 0 && p.flows[0].EndNs <= now; p.flows = p.flows[1:] {
		p.flow(p.flows[0])
	}
	for ; len(p.sessions) > 0 && p.sessions[0].EndNs <= now; p.sessions = p.sessions[1:] {
		p.session(p.sessions[0])
	}
	for ; len(p.events) > 0 && p.events[0].AtNs <= now; p.events = p.events[1:] {
		e := p.events[0]
		p.event(e)
		switch e.Kind {
		case "moved":
			p.totals[moves]++
		case "drop":
			p.totals["drop."+e.Reason] += max(e.Count, 1)
		}
	}
	return p.values(&record.Run{Metrics: record.Metrics{Servers: map[string]map[string]int64{"all": p.totals}}}, used)
}

// moves is the counter of flows that moved to another on-ramp of their group.
const moves = "arr_failover"

// timed says whether a measure is known at every moment.
func (s schema) timed(name string) bool {
	head, rest, _ := strings.Cut(name, ".")
	switch head {
	case "config", "route_lookups", "backbone", "links":
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
	p := w.playback(c.spec)
	for _, now := range moments {
		v := p.at(now, c.used)
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
