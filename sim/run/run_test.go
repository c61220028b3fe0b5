package run

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/internal/golden"
	"github.com/homeward-lab/homeward/reports/journal"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/engine"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

func planOf(t testing.TB, name, variant string) *plan.Plan {
	t.Helper()
	return loadtest.Shipped(t, name, variant)
}

// run is a plan's records.
func run(t testing.TB, p *plan.Plan, o Options) *record.Records {
	t.Helper()
	var m record.Memory
	if err := Run(context.Background(), p, &m, o); err != nil {
		t.Fatal(err)
	}
	return m.Records()
}

// same are the records that do not depend on the machine.
func same(r *record.Records) *record.Records {
	c := *r
	c.Run.Started, c.Run.WallMs, c.Run.Metrics.UpMs = time.Time{}, 0, 0
	return &c
}

// Every shipped scenario and variant is the same run on any queue and any number
// of processors, and what it was when the golden file was written. A change that
// moves a fingerprint says why in its commit.
func TestShippedFingerprints(t *testing.T) {
	shipped, err := topologies.List()
	if err != nil {
		t.Fatal(err)
	}
	var prints strings.Builder
	for _, s := range shipped {
		d, err := topologies.Load(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Variants() {
			p := planOf(t, s.Name, v)
			processors := runtime.GOMAXPROCS(2)
			first := run(t, p, Options{})
			fmt.Fprintf(&prints, "%s %s/%s\n", first.Run.Fingerprint, s.Name, v)
			runtime.GOMAXPROCS(1)
			again := run(t, p, Options{Queue: &engine.Heap{}})
			runtime.GOMAXPROCS(processors)
			if !reflect.DeepEqual(same(first), same(again)) {
				t.Errorf("%s/%s: another run on a heap and one processor: %s, want %s", s.Name, v, again.Run.Fingerprint, first.Run.Fingerprint)
			}
		}
	}
	golden.Equal(t, "testdata/fingerprints.txt", []byte(prints.String()))
}

// Every packet is accounted for when all flows have ended.
func TestNoPacketIsLostTrackOf(t *testing.T) {
	p := planOf(t, "overlapping_branches", "base")
	r := &runner{ctx: context.Background(), plan: p, sink: &record.Memory{}}
	r.journal = journal.New(p, r.sink, time.Unix(0, 0))
	r.manifest.Metrics.Servers = map[string]map[string]int64{}
	if err := r.lifetime(Options{}); err != nil {
		t.Fatal(err)
	}
	if n := r.world.pool.Live(); n != 0 {
		t.Errorf("%d packets are still somewhere", n)
	}
	for _, s := range r.world.servers {
		if s.checked == 0 {
			t.Errorf("no packet of %s was checked for its port", s.plan.Node)
		}
	}
}

// A run that is interrupted writes what it knows, and says so.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("interrupted by a test")
	p := planOf(t, "hundred_branches", "base")
	var m record.Memory
	sink := record.Tee(&m, cancelling{at: 200, cancel: func() { cancel(why) }})
	if err := Run(ctx, p, sink, Options{}); !errors.Is(err, why) {
		t.Fatalf("error %v, want %v", err, why)
	}
	r := m.Records()
	if !r.Run.Partial || len(r.Flows) != len(p.Flows) || len(r.Sessions) == 0 {
		t.Errorf("partial %v, %d of %d flows, %d sessions", r.Run.Partial, len(r.Flows), len(p.Flows), len(r.Sessions))
	}
	by := map[record.Result]int{}
	for _, f := range r.Flows {
		by[f.Result]++
		if f.EndNs < f.StartNs {
			t.Fatalf("%s#%d ends at %d, before its start at %d", f.Traffic, f.N, f.EndNs, f.StartNs)
		}
	}
	if by[record.OK] == 0 || by[record.Failed] == 0 {
		t.Errorf("results %v, want some ok and some interrupted", by)
	}
}

// cancelling ends a run when so many flows are done.
type cancelling struct {
	at     int
	cancel func()
}

func (c cancelling) Flow(record.Flow)       {}
func (c cancelling) Session(record.Session) {}
func (c cancelling) Event(record.Event)     {}
func (c cancelling) Run(record.Run)         {}
func (c cancelling) Progress(_ string, done, _ int) {
	if done >= c.at {
		c.cancel()
	}
}

// A run with too many events ends with the reason.
func TestBudget(t *testing.T) {
	var m record.Memory
	err := Run(context.Background(), planOf(t, "overlapping_branches", "base"), &m, Options{Budget: 500})
	if !errors.Is(err, engine.ErrBudget) || !m.Records().Run.Partial {
		t.Errorf("error %v, partial %v; want the budget to end it", err, m.Records().Run.Partial)
	}
}

// A word that the simulator cannot do is refused by name.
func TestRefused(t *testing.T) {
	p := planOf(t, "overlapping_branches", "base")
	p.Features = append(p.Features, plan.Feature{Word: "teleport"})
	if err := Run(context.Background(), p, &record.Memory{}, Options{}); err == nil || !strings.Contains(err.Error(), "teleport") {
		t.Errorf("error %v, want the word", err)
	}
}

// With ARR off, routes decide and some reply is seen at another site's host; with
// it on, none is.
func TestMisdeliveryIsSeen(t *testing.T) {
	for variant, want := range map[string]bool{"base": false, "routes_only": true} {
		var events, flows int
		r := run(t, planOf(t, "overlapping_branches", variant), Options{})
		for _, e := range r.Events {
			if e.Kind == "misdelivered" {
				events++
			}
		}
		for _, f := range r.Flows {
			if f.Result == record.Misdelivered {
				flows++
			}
		}
		if events != flows || (flows > 0) != want {
			t.Errorf("%s: %d flows misdelivered, %d events", variant, flows, events)
		}
	}
}

// The session log's bytes are those that the client counted.
func TestSessionsCountWhatClientsCount(t *testing.T) {
	r := run(t, planOf(t, "overlapping_branches", "base"), Options{})
	by := map[string]record.Session{}
	for _, s := range r.Sessions {
		if _, twice := by[s.SessionID]; twice {
			t.Errorf("session %s is there twice", s.SessionID)
		}
		by[s.SessionID] = s
	}
	for _, f := range r.Flows {
		s, ok := by[f.SessionID]
		if !ok || s.BytesSent != f.BytesUp || s.BytesReceived != f.BytesDown {
			t.Errorf("%s#%d: %d up and %d down, the session %d and %d (%v)", f.Traffic, f.N, f.BytesUp, f.BytesDown, s.BytesSent, s.BytesReceived, ok)
		}
	}
}
