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
	f, err := speaker.Start(r.plan, r.speakerOptions())
	if err != nil {
		return err
	}
	r.speakers = f
	r.onDown(func() error {
		r.atRest.Store(false) // how sessions end with the lab is nobody's concern
		return f.Close()
	})
	r.manifest.Features["bgp"] = string(r.speakerOptions().Kind)
	return nil
}

// speaks says whether any router speaks BGP.
func (r *runner) speaks() bool { return len(r.plan.Speakers)+len(r.plan.Customers) > 0 }

func (r *runner) speakerOptions() speaker.Options {
	return speaker.Options{
		Kind: cmp.Or(r.options.Speaker, speaker.GoBGP), Exe: r.exe(), Args: r.options.SpeakerArgs, Spawn: r.lab.Spawn, NS: r.lab.NS,
		Session: r.sessionChanged, Moved: r.routeMoved, Heard: r.heard,
	}
}

// routed waits until routing is as planned, between networks and then, through the
// tunnels, with customers. From then on what changes is told.
func (r *runner) routed(ctx context.Context) error {
	if err := r.speakers.Settled(ctx); err != nil {
		return err
	}
	if err := r.speakers.Customers(r.speakerOptions()); err != nil {
		return err
	}
	if err := r.speakers.Told(ctx); err != nil {
		return err
	}
	r.atRest.Store(true)
	return nil
}

// heard has the datacenters' tables follow what customers' routers tell.
func (r *runner) heard(h speaker.Heard) {
	if !r.atRest.Load() {
		return
	}
	r.event(journal.Told(r.plan, h.Datacenter, h.Learned, h.Priority, h.Gone))
	if f := r.relaying.Load(); f != nil {
		f.Hear(h.Datacenter, h.Learned, h.Priority, h.Gone)
	}
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
