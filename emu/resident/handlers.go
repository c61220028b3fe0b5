package resident

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// handlers are what the lab can be asked.
func (k *keeper) handlers() map[string]control.Handler {
	return map[string]control.Handler{
		control.DoInfo:    func(_ context.Context, c *control.Call) error { return c.Send(k.info()) },
		control.DoDown:    k.down,
		control.DoHold:    k.hold,
		control.DoNames:   k.withLab(k.names),
		control.DoInspect: k.withLab(k.inspect),
		control.DoExec:    k.withLab(k.exec),
		control.DoCapture: k.withLab(k.capture),
		control.DoTraffic: k.withLab(k.traffic),
		control.DoLogs:    k.withLab(k.logs),
		control.DoEvents:  k.withLab(k.events),
		control.DoRecords: k.withLab(k.records),
		control.DoApply:   k.withLab(k.change),
		control.DoImpair:  k.withLab(k.impair),
		control.DoBreak:   k.withLab(k.breakIt),
		control.DoBroken:  k.withLab(k.broken),
		control.DoMend:    k.withLab(k.mend),
	}
}

// withLab makes a handler of what needs the lab to be up.
func (k *keeper) withLab(do func(ctx context.Context, c *control.Call, lab *run.Lab) error) control.Handler {
	return func(ctx context.Context, c *control.Call) error {
		k.mu.Lock()
		lab, state := k.lab, k.state
		k.mu.Unlock()
		if lab == nil || state == control.Stopping {
			return control.Lackf("lab %s is %s", k.start.Name, state)
		}
		return do(ctx, c, lab)
	}
}

func (k *keeper) info() control.Info {
	k.mu.Lock()
	lab, state, busy := k.lab, k.state, k.busy
	k.mu.Unlock()
	p := k.start.Plan
	if lab != nil {
		p = lab.Plan() // as it was changed
	}
	i := control.Info{
		Name: k.start.Name, Scenario: p.Scenario, Variant: p.Variant, Title: p.Title, Nodes: len(p.Nodes), Links: len(p.Links),
		State: state, Started: k.began, Fingerprint: p.Fingerprint(),
	}
	if lab == nil {
		return i
	}
	i.UpMs, i.Fingerprint = lab.UpMs(), lab.Plan().Fingerprint()
	for node, err := range lab.Lost() {
		if i.Lost == nil {
			i.Lost = map[string]string{}
		}
		i.Lost[node] = fmt.Sprint(err)
	}
	switch {
	case state != control.Ready:
	case busy > 0:
		i.State = control.Busy
	case i.Lost != nil:
		i.State = control.Degraded
	}
	return i
}

// down takes the lab down and answers when nothing of it is left.
func (k *keeper) down(context.Context, *control.Call) error {
	k.ask()
	<-k.gone
	return k.end
}

// hold takes the lab down when whoever asked has gone.
func (k *keeper) hold(ctx context.Context, _ *control.Call) error {
	select {
	case <-ctx.Done():
		k.ask()
	case <-k.gone:
	}
	return k.end
}

func (k *keeper) names(_ context.Context, c *control.Call, lab *run.Lab) error {
	p := lab.Plan()
	n := control.Names{Traffic: p.Traffic, Logs: slices.Sorted(maps.Keys(lab.Logs()))}
	faces := interfaces(p)
	for i, name := range p.LinkNames() {
		n.Links = append(n.Links, control.LinkName{Name: name, ID: p.Links[i].ID, Class: p.Links[i].Class})
	}
	for i := range p.Nodes {
		n.Nodes = append(n.Nodes, control.NodeName{ID: p.Nodes[i].ID, Kind: p.Nodes[i].Kind, Interfaces: faces[p.Nodes[i].ID]})
	}
	return c.Send(n)
}

// interfaces are each node's, in the plan's order.
func interfaces(p *plan.Plan) map[string][]string {
	faces := map[string][]string{}
	for i := range p.Links {
		for _, e := range []*plan.Endpoint{&p.Links[i].A, &p.Links[i].B} {
			faces[e.Node] = append(faces[e.Node], e.Interface)
		}
	}
	for i := range p.Branches {
		for _, t := range p.Branches[i].Tunnels {
			faces[p.Branches[i].Node] = append(faces[p.Branches[i].Node], t.Interface)
		}
	}
	return faces
}

// traffic sends the file's flows, while the file's faults happen, and tells what
// became of each.
func (k *keeper) traffic(ctx context.Context, c *control.Call, lab *run.Lab) error {
	var args control.TrafficArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	k.count(1)
	defer k.count(-1)
	round := run.Round{IDs: args.IDs, Progress: func(done, total int) {
		_ = c.Send(control.Sent{Done: done, Total: total}) // a caller that is gone ends ctx
	}}
	faults := &play{k: k, lab: lab}
	if !args.NoFaults {
		round.Begin = func(start time.Time) { faults.begin(ctx, start) }
	}
	flows, err := lab.Traffic(ctx, round)
	if _, ok := err.(*run.TrafficError); ok {
		return control.Usagef("%v", err)
	}
	err = errors.Join(err, faults.end())
	if len(flows) > 0 {
		k.store.round(flows)
	}
	for i := range flows {
		if err := c.Send(control.Sent{Flow: &flows[i]}); err != nil {
			return err
		}
	}
	return err
}

func (k *keeper) count(rounds int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy += rounds
}

func (k *keeper) logs(_ context.Context, c *control.Call, lab *run.Lab) error {
	var args control.NodeArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	logs := lab.Logs()
	if _, ok := logs[args.Node]; !ok && args.Node != "" {
		return control.Usagef("%s has no log (there are: %s)", args.Node, list(slices.Sorted(maps.Keys(logs))))
	}
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		if args.Node == "" || name == args.Node {
			if err := c.Send(control.Log{Name: name, Text: logs[name]}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeper) events(ctx context.Context, c *control.Call, _ *run.Lab) error {
	var args control.EventsArgs
	if err := c.Args(&args); err != nil {
		return err
	}
	return k.store.follow(ctx, args.Follow, func(e record.Event, lost int) error {
		if lost > 0 {
			note := record.Event{AtNs: e.AtNs, Kind: "run", Count: int64(lost), Text: fmt.Sprintf("%d events before this one are no longer kept", lost)}
			if err := c.Send(note); err != nil {
				return err
			}
		}
		return c.Send(e)
	})
}

// records tells all that checks are judged over.
func (k *keeper) records(ctx context.Context, c *control.Call, lab *run.Lab) error {
	p := lab.Plan()
	all := k.store.all(p.Traffic)
	checks := control.Checks{Traffic: p.Traffic, Checks: p.Checks, ExpectFail: p.ExpectFail}
	for _, id := range p.Traffic {
		if !slices.ContainsFunc(all.Flows, func(f record.Flow) bool { return f.Traffic == id }) {
			checks.Untried = append(checks.Untried, id)
		}
	}
	manifest := lab.Manifest(ctx)
	pieces := []control.Recorded{{Checks: &checks}, {Run: &manifest}}
	for i := range all.Flows {
		pieces = append(pieces, control.Recorded{Flow: &all.Flows[i]})
	}
	for i := range all.Sessions {
		pieces = append(pieces, control.Recorded{Session: &all.Sessions[i]})
	}
	for i := range all.Events {
		pieces = append(pieces, control.Recorded{Event: &all.Events[i]})
	}
	for _, piece := range pieces {
		if err := c.Send(piece); err != nil {
			return err
		}
	}
	return nil
}
