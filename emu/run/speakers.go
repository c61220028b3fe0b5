package run

import (
	"cmp"
	"context"
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/bgp"
	"github.com/homeward-lab/homeward/emu/speaker"
	"github.com/homeward-lab/homeward/reports/journal"
)

// speak has every router speak BGP that does.
func (r *runner) speak() error {
	kind := cmp.Or(r.options.Speaker, speaker.GoBGP)
	f, err := speaker.Start(r.plan, speaker.Options{
		Kind: kind, Exe: r.exe(), Args: r.options.SpeakerArgs, Spawn: r.lab.Spawn, NS: r.lab.NS, Session: r.sessionChanged, Moved: r.routeMoved,
	})
	if err != nil {
		return err
	}
	r.speakers = f
	r.onDown(func() error {
		r.atRest.Store(false) // how sessions end with the lab is nobody's concern
		return f.Close()
	})
	r.manifest.Features["bgp"] = string(kind)
	return nil
}

// routed waits until routing is as planned. From then on what changes is told.
func (r *runner) routed(ctx context.Context) error {
	if err := r.speakers.Settled(ctx); err != nil {
		return err
	}
	r.atRest.Store(true)
	return nil
}

func (r *runner) sessionChanged(c speaker.Change) {
	if r.atRest.Load() {
		r.event(journal.BGPSession(c.Node, c.Neighbor, c.Up, c.Reason))
	}
}

func (r *runner) routeMoved(m speaker.Move) {
	if r.atRest.Load() {
		e := journal.Moved(m.Node, m.Prefix, m.Neighbor)
		e.AtNs = r.since(m.At)
		r.event(e)
	}
}

// Announce implements fault.Lab.
func (l faulty) Announce(node string, origins []bgp.Origin) error {
	if l.r.speakers == nil {
		return fmt.Errorf("%s speaks no BGP", node)
	}
	return l.r.speakers.Announce(node, origins)
}
