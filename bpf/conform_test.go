package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/conform"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/internal/need"
)

// carrier is a Dataplane as the hub knows what carries its flows.
type carrier struct {
	*Dataplane
	// removed is how many flows were taken back.
	removed int
}

func carriedFlow(f *hub.FastFlow) *Flow {
	return &Flow{Key: f.Key, Egress: f.Egress, OnRamp: f.OnRamp, Timeout: f.Timeout, Progress: f.Progress}
}

func account(c Carried, ok bool) (hub.Account, bool) {
	return hub.Account{Progress: c.Progress, Seen: c.Seen}, ok
}

func (c *carrier) Install(f hub.FastFlow) bool { return c.Dataplane.Install(carriedFlow(&f)) == nil }
func (c *carrier) Look(f hub.FastFlow) (hub.Account, bool) {
	return account(c.Dataplane.Look(carriedFlow(&f)))
}
func (c *carrier) Remove(f hub.FastFlow) (hub.Account, bool) {
	c.removed++
	return account(c.Dataplane.Remove(carriedFlow(&f)))
}
func (c *carrier) Ask(id ident.OnRamp, ask bool)       { c.Dataplane.Ask(id, ask) }
func (c *carrier) AskServer(id ident.Server, ask bool) { c.Dataplane.AskServer(id, ask) }
func (c *carrier) Pass(key flow.Key, to ident.Server)  { c.Dataplane.Pass(&key, to) }
func (c *carrier) PassNone()                           { c.Dataplane.PassNone() }

// hook is one of the programs and its verdicts.
type hook struct {
	program                 func(*Dataplane) *ebpf.Program
	next, dropped, redirect uint32
	xdp                     bool
}

var (
	tcx = hook{func(d *Dataplane) *ebpf.Program { return d.objects.FastPath }, next, dropped, redirect, false}
	xdp = hook{func(d *Dataplane) *ebpf.Program { return d.xdp }, 2, 1, 3, true}
)

// tested is a whole server: the program and behind it a hub, which has flows
// carried.
type tested struct {
	*conform.Hub
	d       *Dataplane
	hook    hook
	carrier *carrier
	// before is what the program had counted.
	before Tally
}

func newTested(w *conform.World, d *Dataplane, hook hook) (*tested, error) {
	h, err := conform.NewHub(w)
	if err != nil {
		return nil, err
	}
	s := &tested{Hub: h, d: d, hook: hook, carrier: &carrier{Dataplane: d}}
	h.SetFast(s.carrier)
	return s, nil
}

// Handle runs the program on the packet once, and gives what it leaves to the hub.
func (s *tested) Handle(now vt.Instant, p []byte, off pkt.Offload) (conform.Result, error) {
	frame := ethernet(testMAC, testGateway, ethernetType(p), p)
	if least := map[uint16]int{etherIPv4: pkt.IPv4Header, etherIPv6: pkt.IPv6Header}; len(p) < least[ethernetType(p)] {
		return s.Hub.Handle(now, p, off) // the kernel's test run takes no such frame
	}
	if toGroup(p) {
		return s.Hub.Handle(now, p, off)
	}
	verdict, out, err := s.run(frame)
	if err != nil {
		return conform.Result{}, err
	}
	outcome, err := s.outcome()
	if err != nil {
		return conform.Result{}, err
	}
	switch {
	case outcome.ToHub():
		if verdict != s.hook.next || !bytes.Equal(out, frame) {
			return conform.Result{}, fmt.Errorf("%v with verdict %d, and the frame is now\n%x", outcome, int32(verdict), out)
		}
		return s.left(now, p, off, outcome)
	case outcome < Forwarded && verdict == s.hook.dropped:
		return fastResult(outcome), nil
	case verdict != s.hook.redirect || outcome > HandedOver || len(out) < 14:
		return conform.Result{}, fmt.Errorf("%v with verdict %d", outcome, int32(verdict))
	}
	if want := ethernet(testGateway, testMAC, ethernetType(out[14:]), nil); !bytes.Equal(out[:14], want) {
		return conform.Result{}, fmt.Errorf("%v leaves as %x, want %x", outcome, out[:14], want)
	}
	r := fastResult(outcome)
	r.Sent = []conform.Sent{{Data: out[14:]}}
	return r, nil
}

// fastResult is what a packet counts that no hub saw.
func fastResult(o Outcome) conform.Result {
	r := conform.Result{Fast: true}
	switch o {
	case Forwarded:
		r.Count.Forwarded = 1
	case Returned:
		r.Count.Returned = 1
	case HandedOver:
		r.Count.HandedOver = 1
	default:
		r.Count.Drops[drop.Reason(o)] = 1
	}
	return r
}

// toGroup reports whether a packet is the kernel's by its destination alone, and
// nobody's to decide.
func toGroup(p []byte) bool { return len(p) >= pkt.IPv6Header && p[0]>>4 == 6 && p[24] == 0xff }

// left gives the hub what was left to it. That must not be for want of a flow
// that the program has.
func (s *tested) left(now vt.Instant, p []byte, off pkt.Offload, outcome Outcome) (conform.Result, error) {
	removed := s.carrier.removed
	r, err := s.Hub.Handle(now, p, off)
	if outcome == LeftMiss && s.carrier.removed != removed || outcome == LeftExpired {
		err = fmt.Errorf("%v, of a flow that it carries", outcome)
	}
	return r, err
}

func ethernetType(p []byte) uint16 {
	if len(p) > 0 && p[0]>>4 == 6 {
		return etherIPv6
	}
	return etherIPv4
}

var errNotCounted = errors.New("not counted")

// outcome is what the program counted since the last call: exactly one packet.
func (s *tested) outcome() (Outcome, error) {
	t, err := s.d.Tally()
	if err != nil {
		return 0, err
	}
	found := Outcome(0)
	for o := range t {
		if t[o] == s.before[o] {
			continue
		}
		if found != 0 || t[o] != s.before[o]+1 {
			return 0, fmt.Errorf("counted more than once: %v, before %v", t.Map(), s.before.Map())
		}
		found = Outcome(o)
	}
	s.before = t
	if found == 0 {
		return 0, errNotCounted
	}
	return found, nil
}

// run puts a frame through the program once.
func (s *tested) run(frame []byte) (verdict uint32, out []byte, err error) {
	o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256)}
	verdict, err = s.hook.program(s.d).Run(o)
	return verdict, o.DataOut, err
}

func monotonic() vt.Instant {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return vt.Instant(ts.Nano())
}

// conforms gives n packets to the hub alone and to a server with the fast path of
// an object.
func conforms(t *testing.T, object func() (*ebpf.CollectionSpec, error), hook hook, seed uint64, n int, trace bool) (conform.Seen, Tally, error) {
	t.Helper()
	w, err := conform.NewWorld(seed, trace)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDataplane(Spec{Config: w.Config, MAC: testMAC, Gateway: testGateway, Flows: 1024}, object)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer d.Close()
	if hook.xdp {
		if err := d.loadXDP(object); err != nil {
			t.Fatalf("%+v", err)
		}
	}
	law, err := conform.NewHub(w)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newTested(w, d, hook)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := conform.Run(rand.New(rand.NewPCG(seed, 1)), n, w, law, s, monotonic)
	return seen, s.before, err
}

// What a server with the fast path does with a packet is what the hub alone does.
func TestConforms(t *testing.T) {
	need.BPF(t)
	for name, c := range map[string]struct {
		hook  hook
		seed  uint64
		trace bool
	}{
		"tcx": {tcx, 1, false}, "tcx, traced": {tcx, 2, true}, "xdp": {xdp, 3, false}, "xdp, traced": {xdp, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			seen, tally, err := conforms(t, loadDataplane, c.hook, c.seed, 20000, c.trace)
			t.Logf("%d packets, %d of them fast: %v; the law counted%v", seen.Packets, seen.Fast, tally.Map(), seen.Count)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range conform.Cases() {
				t.Logf("%6d %6d %s", seen.Cases[name], seen.FastCases[name], name)
				if seen.Cases[name] == 0 {
					t.Errorf("no packet was %q: nothing is known of it", name)
				}
			}
		})
	}
}
