// Package stage is a network shown live, to be broken in front of people: one
// page, served to this machine alone, that draws the ways of the latest flows,
// breaks what somebody clicks on, and says what became of the replies.
//
// It knows no engine: a Show is what can be shown. Its law: nobody without the
// page's address can look or touch, traffic is sent only while somebody watches,
// and nothing that a record holds reaches the page unescaped.
package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/homeward-lab/homeward/reports/picture"
	"github.com/homeward-lab/homeward/reports/record"
)

// Show is a network that can be watched and broken. Its methods may be called at
// the same time; those that change something return when it has happened.
type Show interface {
	// Now is what the network is like; of each traffic the records of its latest round.
	Now(ctx context.Context) (*Scene, error)
	// Send sends a round of traffic; none named is all of it.
	Send(ctx context.Context, traffic []string) error
	// Break has a trick happen; how is one of the latest Scene's Tricks or Faults.
	Break(ctx context.Context, how Trick) error
	// Mend heals what was broken.
	Mend(ctx context.Context, id string) error
	// Vary makes the network what another variant of its file says.
	Vary(ctx context.Context, variant string) error
	// Follow tells what happens from now on, until ctx ends.
	Follow(ctx context.Context, each func(record.Event) error) error
}

// Scene is a network at a moment.
type Scene struct {
	Name, Title string
	Variant     string
	Variants    []Variant
	Traffic     []string // ids, in the file's order
	Records     *record.Records
	Broken      []Broken
	// Tricks are what can be broken by hand, Faults what the file can have happen.
	Tricks, Faults []Trick
}

// Variant of the file, and what it is about.
type Variant struct {
	Name  string `json:"name"`
	About string `json:"about"`
}

// Trick is something that can be broken: what is done, and on what. Fault is the
// file's name of it; empty for one by hand.
type Trick struct {
	Fault string   `json:"fault,omitempty"`
	Do    string   `json:"do"`
	On    string   `json:"on"`
	Words []string `json:"words,omitempty"` // "delay=80ms"
}

// Broken is what is broken now.
type Broken struct {
	ID string `json:"id"`
	Do string `json:"do"`
	// On are the nodes, links and datacenters.
	On []string `json:"on"`
	// Heals is when it heals by itself; zero if it waits for somebody.
	Heals time.Time `json:"heals,omitzero"`
}

// Stage is a Show with people before it.
type Stage struct {
	show Show
	key  string // part of the page's address; who does not know it sees nothing

	mu       sync.Mutex
	watchers map[chan message]bool
	playing  bool
	round    int
	sending  bool
	wake     chan struct{} // there is a reason to look at playing again
	scene    *Scene
	last     message // the latest picture, for who comes in
	touching sync.Mutex
}

// New puts a show on a stage. key is a secret that becomes part of its address.
func New(show Show, key string) *Stage {
	return &Stage{show: show, key: key, watchers: map[chan message]bool{}, playing: true, wake: make(chan struct{}, 1)}
}

// pause is between rounds: people have to see one before the next.
const pause = 1500 * time.Millisecond

// Play sends rounds of traffic while somebody watches, until ctx ends. Its error
// is that the show could not go on.
func (s *Stage) Play(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil {
		return err
	}
	go func() {
		_ = s.show.Follow(ctx, func(e record.Event) error { // the end of it is the show's
			s.tell(message{kind: "happened", body: newHappened(&e)})
			return nil
		})
	}()
	for {
		if !s.wanted() {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := s.send(ctx, nil); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// wanted says whether traffic is to be sent by itself.
func (s *Stage) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.playing && len(s.watchers) > 0
}

func (s *Stage) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// send is one round, and the picture of it.
func (s *Stage) send(ctx context.Context, traffic []string) error {
	s.mark(true)
	err := s.show.Send(ctx, traffic)
	s.mark(false)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.round++
	s.mu.Unlock()
	return s.refresh(ctx)
}

func (s *Stage) mark(sending bool) {
	s.mu.Lock()
	s.sending = sending
	s.mu.Unlock()
	s.tell(message{kind: "sending", body: sending})
}

// touch changes the network, one hand at a time, and shows what it has become.
func (s *Stage) touch(ctx context.Context, what func() error) error {
	s.touching.Lock()
	defer s.touching.Unlock()
	return errors.Join(what(), s.refresh(ctx))
}

// refresh looks at the network and tells all who watch.
func (s *Stage) refresh(ctx context.Context) error {
	scene, err := s.show.Now(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	view, err := newView(scene, s.round, s.playing)
	if err == nil {
		s.scene, s.last = scene, message{kind: "scene", body: view}
	}
	last := s.last
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.tell(last)
	return nil
}

// known is the trick of the latest scene that somebody asks for: nothing else can
// be done from a page.
func (s *Stage) known(how Trick) (Trick, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scene != nil {
		for _, t := range slices.Concat(s.scene.Faults, s.scene.Tricks) {
			if t.Fault == how.Fault && t.Do == how.Do && t.On == how.On {
				return t, nil
			}
		}
	}
	return how, fmt.Errorf("%s %s is nothing that can be done here", how.Do, how.On)
}

// view is a scene as the page takes it.
type view struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Variant  string    `json:"variant"`
	Variants []Variant `json:"variants"`
	Traffic  []string  `json:"traffic"`
	Broken   []Broken  `json:"broken"`
	Tricks   []Trick   `json:"tricks"`
	Faults   []Trick   `json:"faults"`
	Round    int       `json:"round"`
	Playing  bool      `json:"playing"`
	Tallies  []tally   `json:"tallies"`
	Picture  string    `json:"picture"` // an svg element
}

// tally is where the replies of a traffic's latest round went, in flows.
type tally struct {
	Traffic    string `json:"traffic"`
	Home       int    `json:"home"`
	Elsewhere  int    `json:"elsewhere"`
	Unanswered int    `json:"unanswered"`
}

func newView(sc *Scene, round int, playing bool) (*view, error) {
	v := &view{
		Name: sc.Name, Title: sc.Title, Variant: sc.Variant, Round: round, Playing: playing,
		// An empty list is one too, in JSON.
		Variants: append([]Variant{}, sc.Variants...), Traffic: append([]string{}, sc.Traffic...),
		Broken: append([]Broken{}, sc.Broken...), Tricks: append([]Trick{}, sc.Tricks...), Faults: append([]Trick{}, sc.Faults...),
	}
	svg, err := picture.Draw(sc.Records, sc.Traffic).Inline("stage")
	if err != nil {
		return nil, err
	}
	v.Picture = string(svg)
	sites := picture.NewSites(sc.Records.Run.Topology)
	for _, id := range append([]string{"all"}, sc.Traffic...) {
		t := tally{Traffic: id}
		for _, f := range picture.OfTraffic(sc.Records.Flows, id) {
			switch sites.Landing(f) {
			case sites.Of(f.Client):
				t.Home++
			case picture.NoAnswer:
				t.Unanswered++
			default:
				t.Elsewhere++
			}
		}
		v.Tallies = append(v.Tallies, t)
	}
	return v, nil
}

// happened is an event as the page takes it.
type happened struct {
	At   float64 `json:"at"` // seconds since the network was up
	Node string  `json:"node"`
	Kind string  `json:"kind"`
	Text string  `json:"text"`
}

func newHappened(e *record.Event) happened {
	parts := []string{e.Flow}
	for _, p := range []struct{ before, text string }{{"on ", e.OnRamp}, {"to ", e.Peer}, {"", e.Reason}, {"", e.Fault}, {"", e.Text}, {"by ", e.By}} {
		if p.text != "" {
			parts = append(parts, p.before+p.text)
		}
	}
	return happened{At: time.Duration(e.AtNs).Seconds(), Node: e.Node, Kind: e.Kind, Text: strings.TrimSpace(strings.Join(parts, " "))}
}
