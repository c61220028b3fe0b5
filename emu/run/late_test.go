package run

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/lateness"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// A server that stood still while a flow's packet waited for it is named as what made
// the flow's round trip long, with when and by how much; one that a fault had stand
// still is not: that was asked for.
func TestLiveLate(t *testing.T) {
	need.Root(t)
	const still, long = 200 * time.Millisecond, 150 * time.Millisecond
	for _, c := range []struct {
		name   string
		stop   func(r *runner) error
		resume func(r *runner) error
		told   bool
	}{
		{
			"by the machine",
			func(r *runner) error { return unix.Kill(r.fleet.all()[0].Pid(), unix.SIGSTOP) },
			func(r *runner) error { return unix.Kill(r.fleet.all()[0].Pid(), unix.SIGCONT) },
			true,
		},
		{
			"by a fault",
			func(r *runner) error { return faulty{r}.Pause("lhr.1") },
			func(r *runner) error { return faulty{r}.Resume("lhr.1") },
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := loadtest.Plan(t, small+"links: {access: {delay: 20ms}}\n", "base")
			r := newRunner(p, &record.Memory{}, Options{AgentArgs: []string{"serve-as-agent"}, PumpArgs: []string{"serve-as-pump"}})
			if err := r.up(t.Context()); err != nil {
				t.Fatal(err, r.down())
			}
			var stopped error
			resumed := make(chan error, 1)
			r.onBegin = func(start time.Time) {
				stopped = c.stop(r)
				time.AfterFunc(time.Until(start.Add(still)), func() { resumed <- c.resume(r) })
			}
			sent := r.traffic(t.Context(), p.Flows, func(int, int) {})
			err := errors.Join(stopped, <-resumed, r.stop())
			flows, collected := r.collect(sent)
			if err := errors.Join(err, collected, r.down()); err != nil {
				t.Fatal(err)
			}
			if got, want := r.manifest.Features["lateness"], "told by 1 of 1 servers, 4 of 4 directions of links"; got != want {
				t.Errorf("lateness is %s, want %s", got, want)
			}
			all := lateness.Of(&record.Records{Run: r.manifest})
			for i := range flows {
				f := &flows[i]
				met := all.Met(f)
				t.Logf("%s#%d: round trip %v: %v", f.Traffic, f.N, time.Duration(f.RTTNs), met)
				if f.RTTNs < int64(long) {
					t.Errorf("%s#%d: round trip %v, want one that met a server that stands still", f.Traffic, f.N, time.Duration(f.RTTNs))
				}
				told := met.Part == "lhr.1" && met.InAll > time.Duration(f.RTTNs)/2
				if told != c.told {
					t.Errorf("%s#%d: round trip %v: %v: told %v, want %v", f.Traffic, f.N, time.Duration(f.RTTNs), met, told, c.told)
				}
			}
		})
	}
}

// Clients and origins that have to wait for a processor say so, where that counts.
func TestLiveLateHosts(t *testing.T) {
	need.Root(t)
	for links, want := range map[string]bool{"": false, "links: {access: {delay: 20ms}}\n": true} {
		p := loadtest.Plan(t, small+links, "base")
		r := newRunner(p, &record.Memory{}, Options{AgentArgs: []string{"serve-as-agent"}, PumpArgs: []string{"serve-as-pump"}})
		if err := r.up(t.Context()); err != nil {
			t.Fatal(err, r.down())
		}
		idle := make(chan struct{})
		procs := 0
		r.onBegin = func(time.Time) {
			procs = runtime.GOMAXPROCS(1)
			go func() { // whoever is woken waits until this one has had its time
				for {
					select {
					case <-idle:
						return
					default:
					}
				}
			}()
		}
		sent := r.traffic(t.Context(), p.Flows, func(int, int) {})
		close(idle)
		runtime.GOMAXPROCS(procs)
		stopped := r.stop()
		flows, collected := r.collect(sent)
		if err := errors.Join(stopped, collected, r.down()); err != nil {
			t.Fatal(err)
		}
		met := lateness.Of(&record.Records{Run: r.manifest}).Throughout(&flows[0])
		if all := r.manifest.Metrics.LateHosts; want != (all["shop.1.till"] != nil && all["web"] != nil) || want != (met.For > 0) {
			t.Errorf("links %q: late are %v, of %s#%d %v; told %v is wanted", links, all, flows[0].Traffic, flows[0].N, met, want)
		}
	}
}

// What arrives before what it follows waits for that, and no program is late for it.
func TestLiveDisorder(t *testing.T) {
	need.Root(t)
	const trip = 400 * time.Millisecond // one of these losses has what follows wait for longer
	p := loadtest.Plan(t, strings.Replace(small, "tcp: 443", "tcp: 443, response: 300kB", 1)+"links: {access: {delay: 200ms, loss: 3%}}\n", "base")
	r := newRunner(p, &record.Memory{}, Options{AgentArgs: []string{"serve-as-agent"}, PumpArgs: []string{"serve-as-pump"}})
	if err := r.up(t.Context()); err != nil {
		t.Fatal(err, r.down())
	}
	sent := r.traffic(t.Context(), p.Flows, func(int, int) {})
	stopped := r.stop()
	flows, collected := r.collect(sent)
	if err := errors.Join(stopped, collected, r.down()); err != nil {
		t.Fatal(err)
	}
	for node, l := range r.manifest.Metrics.LateHosts {
		for _, m := range l.Moments {
			if d := time.Duration(m.ForNs); d > trip*3/4 {
				t.Errorf("%s was late by %v", node, d)
			}
		}
	}
	for i := range flows {
		f := &flows[i]
		if took := time.Duration(f.EndNs - f.StartNs); f.Result != record.OK || took < 8*trip { // 6 without loss
			t.Errorf("%s#%d: %s after %v: nothing of it was lost, and so nothing is shown", f.Traffic, f.N, f.Result, took)
		}
	}
}
