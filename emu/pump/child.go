package pump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/late"
	"github.com/homeward-lab/homeward/emu/thread"
)

// ErrParentGone is how Main ends when its stdin is closed without a stop.
var ErrParentGone = errors.New("pump: the parent is gone")

// Main is the child's life: it reads the header and commands from in, answers on
// out, and carries the packets of the namespace it runs in until it is told to
// stop (nil) or the parent goes away (ErrParentGone). It owns the process:
// garbage is collected only near the memory limit, and each loop has a processor
// of the runtime to itself.
func Main(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heldMemory)
	lines := json.NewDecoder(in)
	var h header
	if err := lines.Decode(&h); err != nil {
		return fmt.Errorf("pump: read header: %w", err)
	}
	p, err := open(&h)
	if err != nil {
		return fmt.Errorf("pump: %w", err)
	}
	hello := p.start()
	err = p.serve(lines, json.NewEncoder(out), hello)
	return errors.Join(err, p.close())
}

// pumps are all loops of the process.
type pumps struct {
	seed  uint64
	clock clock
	loops []*loop
	wires map[string]*[2]*way // by link, then by direction
	of    map[*way]*loop
	order []*way
	errs  chan error // of loops

	started bool
	ends    sync.WaitGroup
}

// threads is how many loops serve the links: half of the machine at most.
func threads(links int) int { return max(1, min(runtime.NumCPU()/2, 4, links)) }

// frameOf is the longest frame with a packet of the MTU: it may have a tag.
func frameOf(mtu int) int { return ethernet + vlanTag + mtu }

func open(h *header) (*pumps, error) {
	n := threads(h.Most)
	began, err := newClock(h.Base)
	if err != nil {
		return nil, err
	}
	p := &pumps{seed: h.Seed, clock: began, wires: make(map[string]*[2]*way), of: make(map[*way]*loop), errs: make(chan error, n)}
	for range n {
		l, err := newLoop(frameOf(h.MTU), heldMemory/n, p.clock)
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.loops = append(p.loops, l)
	}
	pairs := make([][2]*way, len(h.Links))
	err = abreast(len(pairs), func(i int) (err error) {
		pairs[i], err = p.openBoth(&h.Links[i], len(h.Links))
		return err
	})
	for i := range pairs {
		if pairs[i][0] != nil { // also of a failed start, so that close closes what there is
			err = errors.Join(err, p.take(&h.Links[i], pairs[i]))
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// abreast does n things, many at the same time, until one fails. The kernel has
// each packet socket wait for all its processors, some tens of milliseconds, when it
// gets its ring and when it closes: such waits overlap.
func abreast(n int, do func(i int) error) error {
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	return g.Wait()
}

// add takes in a link, one of so many. The loops may be running.
func (p *pumps) add(k *link, of int) error {
	pair, err := p.openBoth(k, of)
	if err != nil {
		return err
	}
	return p.take(k, pair)
}

// openBoth opens both directions of a link, or neither.
func (p *pumps) openBoth(k *link, of int) (pair [2]*way, err error) {
	if p.wires[k.ID] != nil {
		return pair, fmt.Errorf("link %s has a pump already", k.ID)
	}
	now := vt.Instant(p.clock.now())
	for d, side := range [2]struct {
		in, out int
		c       impair.Config
	}{{k.A, k.B, k.AB}, {k.B, k.A, k.BA}} {
		if pair[d], err = p.openWay(k, impair.Direction(d), side.in, side.out, side.c, now, of); err != nil {
			err = fmt.Errorf("link %s: %w", k.ID, err)
			if d > 0 {
				err = errors.Join(err, pair[0].close())
			}
			return [2]*way{}, err
		}
	}
	return pair, nil
}

// take gives both directions of a link to a loop.
func (p *pumps) take(k *link, pair [2]*way) error {
	l := p.loops[len(p.wires)%len(p.loops)]
	for d, w := range pair {
		w.number = len(p.order) + d
	}
	p.wires[k.ID], p.order = &pair, append(p.order, pair[:]...)
	for _, w := range pair {
		p.of[w] = l
		if err := p.carry(l, w); err != nil {
			return fmt.Errorf("link %s: %w", k.ID, err)
		}
	}
	return nil
}

// carry gives a way to a loop, which may be running.
func (p *pumps) carry(l *loop, w *way) error {
	if !p.started {
		return l.add(w)
	}
	var refused error
	err := l.do(func() { refused = l.add(w) })
	return errors.Join(err, refused)
}

// openWay opens both ends of one direction of one of so many links.
func (p *pumps) openWay(k *link, d impair.Direction, in, out int, c impair.Config, now vt.Instant, of int) (*way, error) {
	w := &way{link: k.ID, direction: d}
	var err error
	if w.model, err = impair.New(c, impair.NewStream(p.seed, k.ID, d), now); err != nil {
		return nil, err
	}
	all := 2 * of
	w.asked, w.late = newTimes(2*all), newTimes(2*all)
	frame := frameFor(frameOf(k.MTU))
	if w.in, err = newRing(in, frame, min(max(ringMemory/all/frame, minRing), maxRing), nil); err != nil {
		return nil, err
	}
	if w.out, err = newSender(out); err != nil {
		return nil, errors.Join(err, w.in.close())
	}
	return w, nil
}

// start runs the loops.
func (p *pumps) start() Hello {
	runtime.GOMAXPROCS(len(p.loops) + runtime.NumCPU())
	// Pages that are never taken away; without the right to it, they may be.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE)
	p.started = true
	priority := make(chan bool, len(p.loops))
	for _, l := range p.loops {
		p.ends.Go(func() {
			runtime.LockOSThread()
			priority <- thread.Realtime(thread.Links)
			if err := l.run(); err != nil {
				p.errs <- err
			}
		})
	}
	hello := Hello{Realtime: true, Threads: len(p.loops)}
	for range p.loops {
		hello.Realtime = <-priority && hello.Realtime
	}
	return hello
}

// serve says hello and answers commands.
func (p *pumps) serve(in *json.Decoder, out *json.Encoder, hello Hello) error {
	if err := out.Encode(reply{Hello: &hello}); err != nil {
		return fmt.Errorf("pump: %w", err)
	}
	commands, gone := make(chan command), make(chan error, 1)
	go func() {
		for {
			var c command
			if err := in.Decode(&c); err != nil {
				gone <- ErrParentGone
				return
			}
			commands <- c
			if c.Stop {
				return
			}
		}
	}()
	for {
		select {
		case err := <-p.errs:
			return fmt.Errorf("pump: %w", err)
		case err := <-gone:
			return err
		case c := <-commands:
			if err := out.Encode(p.answer(c)); err != nil {
				return fmt.Errorf("pump: %w", err)
			}
			if c.Stop {
				return nil
			}
		}
	}
}

// answer does what a command says; every answer but that to a change has the
// counters.
func (p *pumps) answer(c command) reply {
	var err error
	switch {
	case c.Set != nil:
		err = p.set(c.Set)
	case c.Add != nil:
		err = p.add(c.Add, len(p.wires)+1)
	default:
		return p.counts()
	}
	if err != nil {
		return reply{Error: err.Error()}
	}
	return reply{}
}

func (p *pumps) counts() reply {
	var r reply
	moments := p.late()
	for _, w := range p.order {
		err := p.of[w].do(func() {
			c := w.count()
			c.Moments = moments[w.number]
			r.Wires = append(r.Wires, c)
		})
		if err != nil {
			return reply{Error: err.Error()}
		}
	}
	return r
}

func (p *pumps) set(s *set) error {
	pair := p.wires[s.Link]
	if pair == nil {
		return fmt.Errorf("link %q has no pump", s.Link)
	}
	w := pair[s.Direction&1]
	var refused error
	err := p.of[w].do(func() {
		now := p.clock.now()
		refused = w.model.Set(vt.Instant(now), s.Config)
	})
	return errors.Join(err, refused)
}

// late is when packets left late, by their ways' numbers.
func (p *pumps) late() []late.Told {
	all := make([]late.Told, len(p.order))
	for _, l := range p.loops {
		told := l.late.Told()
		for _, w := range p.order {
			if p.of[w] == l {
				all[w.number].Least = told.Least
			}
		}
		for _, m := range told.Moments {
			m.At += p.clock.zero
			way := &all[m.Who]
			m.Who = 0
			way.Moments = append(way.Moments, m)
		}
	}
	return all
}

func (w *way) count() Count {
	return Count{
		Link: w.link, Direction: w.direction, Model: w.model.Counters(),
		Sent: w.out.sent, Missed: w.in.lost(), Unheld: w.unheld, Refused: w.out.refused,
		Asked: w.asked.spread(), Late: w.late.spread(),
	}
}

// close ends the loops and what they hold.
func (p *pumps) close() error {
	var errs []error
	if p.started {
		for _, l := range p.loops {
			l.end()
		}
		p.ends.Wait()
	}
	for _, l := range p.loops {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
