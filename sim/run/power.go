package run

import (
	"errors"
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/packet"
)

// condition of a server, which faults change.
type condition uint8

const (
	running condition = iota
	paused
	stopped // in order: its counters are counted
	killed  // with what it knew
)

// room is how many packets wait for a server that stands still; more are lost, as
// in a ring of the lab's.
const room = 4096

// held is a packet that waits.
type held struct {
	h        packet.Handle
	internal bool
}

// away takes over a packet that a server cannot take now, and reports whether it
// was one.
func (s *server) away(h packet.Handle, internal bool) bool {
	switch {
	case s.is == running:
		return false
	case s.is == paused && len(s.waiting) < room:
		s.waiting = append(s.waiting, held{h, internal})
	default:
		s.world.pool.Free(h)
	}
	return true
}

// kill takes the server away in the middle of whatever it did.
func (s *server) kill() {
	w := s.world
	s.is = killed
	w.engine.Stop(s.timer)
	w.lost = append(w.lost, s.plan.Node)
	if w.journal == nil {
		return
	}
	n := w.journal.Lose(s.plan.Node, "the server was killed", int64(w.engine.Now()))
	w.event(record.Event{Node: s.plan.Node, Kind: "lost", Count: int64(n), Text: fmt.Sprintf("its counters and the ends of %d sessions are unknown", n)})
}

// revive lets a server go on: one that was paused with what it knows, any other
// with nothing but where devices and connectors are.
func (s *server) revive() error {
	was := s.is
	s.is = running
	if was == paused {
		waiting, news := s.waiting, s.news
		s.waiting, s.news = nil, nil
		for _, x := range waiting {
			s.give(x.h, x.internal)
		}
		err := s.configure()
		if len(news) > 0 {
			s.learn(news)
		}
		return err
	}
	s.lives++
	// So that no session of this life is taken for one of another.
	s.config.Life = s.lives
	h, err := s.world.hub(s.index, s.config)
	if err != nil {
		return err
	}
	s.hub = h
	s.learn(s.world.store.restart(s.world, s.plan.Config.Self))
	return nil
}

// configure puts the server's configuration in force.
func (s *server) configure() error {
	s.owned.Change(&s.config)
	err := s.hub.Reconfigure(s.world.engine.Now(), s.config)
	s.owned.Changed(time.Time{})
	s.wake() // what ended is told with the next call
	return err
}

// reconfigure changes the configuration of every server and puts it in force on
// those that run; others get it when they go on.
func (w *world) reconfigure(change func(*hub.Config)) error {
	var errs []error
	for _, s := range w.servers {
		change(&s.config)
		s.config.Epoch++
		if s.is == running {
			errs = append(errs, s.configure())
		}
	}
	return errors.Join(errs...)
}
