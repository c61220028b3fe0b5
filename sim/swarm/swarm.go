// Package swarm runs networks that nobody thought of: a scenario, its traffic and
// what goes wrong in it are drawn from a seed, and what must always hold
// is checked after every call of every hub.
//
// It knows no file format and no command line. Its law: a seed is a case, the
// same on every machine, and a case that fails is found again by its seed alone.
package swarm

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Case is what a seed stands for: a network with its traffic, and what happens to
// it on the way.
type Case struct {
	Seed     uint64         `json:"seed"`
	Scenario *spec.Scenario `json:"-"`
	// Text is the scenario as a file, for a case that was read from one.
	Text  []byte `json:"-"`
	Steps []Step `json:"steps,omitempty"`
}

// Load reads a scenario's text, as Text writes it, and plans it.
type Load func(name string, text []byte) (*plan.Plan, error)

// Options of a run. Load is needed; the others may be zero.
type Options struct {
	Load Load
	// Hub makes the hubs; nil means hub.New. Tests break them here. Cases that run
	// at the same time call it at the same time.
	Hub func(server int, c hub.Config) (run.Hub, error)
}

// Violation is what did not hold.
type Violation struct {
	// Rule is the name of what must hold: one of the Rule constants.
	Rule string `json:"rule"`
	// At is when, in virtual time.
	At   time.Duration `json:"at"`
	Text string        `json:"text"`
}

// Error implements error.
func (v *Violation) Error() string { return fmt.Sprintf("%s: %s (at %v)", v.Rule, v.Text, v.At) }

// What must hold (SEMANTICS 9).
const (
	RuleHome     = "a reply reaches who asked"
	RuleSlice    = "no port outside the server's slice"
	RuleReverse  = "no two live flows share a reverse key"
	RuleHold     = "a closed flow's port is held"
	RuleTenants  = "tenants and virtual networks never mix"
	RuleSession  = "one start and one end for each session"
	RuleBytes    = "session bytes are what crossed"
	RuleCounters = "counters add up"
	RuleMarks    = "a mark is neither lost nor made up"
	RuleOutside  = "nothing from outside is trusted"
	RuleTimer    = "timers are neither early nor late"
	RulePool     = "no packet is lost track of"
	RuleStuck    = "every run comes to its end"
	RulePanic    = "nothing panics"
	RuleLoad     = "what is drawn is valid"
)

// Report says what a run did.
type Report struct {
	Events   uint64
	Flows    int
	Sessions int
	// Answered are the flows that were ok, Marked the segments that met congestion
	// and said so.
	Answered    int
	Marked      int
	Virtual     time.Duration
	Fingerprint string
}

const (
	// budget bounds the events of a run. A drawn case has some 50,000.
	budget = 20_000_000
	// calm is how long a run goes on after its last flow: what is under way comes
	// home.
	calm = 3 * time.Second
)

// Run runs a case. The violation is nil if everything held.
func Run(c *Case, o Options) (r Report, v *Violation) {
	k := &checker{seed: c.Seed}
	defer func() {
		r = k.report(r)
		if p := recover(); p != nil {
			v = &Violation{RulePanic, k.now(), fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
	}()
	text, err := c.Text, error(nil)
	if text == nil {
		text, err = Text(c.Scenario)
	}
	if err != nil {
		return r, &Violation{Rule: RuleLoad, Text: err.Error()}
	}
	p, err := o.Load(fmt.Sprintf("swarm-%d.yaml", c.Seed), text)
	if err != nil {
		return r, &Violation{Rule: RuleLoad, Text: err.Error()}
	}
	k.open(p, c.Steps)
	make := o.Hub
	if make == nil {
		make = func(_ int, c hub.Config) (run.Hub, error) { return hub.New(c) }
	}
	w, base, err := run.Open(p, run.Options{Budget: budget, Watch: run.Watch{Hub: k.watch(make), Arrived: k.arrived, Crossed: k.crossed}})
	if err != nil {
		if k.broken != nil {
			return r, k.broken
		}
		return r, &Violation{Rule: RuleStuck, At: k.now(), Text: err.Error()}
	}
	k.world = w
	d := &driver{check: k, plan: p, world: w, base: base, agenda: agenda(c.Steps, len(p.Servers))}
	return r, d.drive()
}

// now is the virtual time that a violation carries.
func (c *checker) now() time.Duration {
	if c.world == nil {
		return 0
	}
	return time.Duration(c.world.Now())
}

func (c *checker) report(r Report) Report {
	r.Sessions, r.Marked = c.started, c.marked
	if c.world == nil {
		return r
	}
	r.Events, r.Virtual, r.Fingerprint = c.world.Events(), c.now(), c.world.Fingerprint().String()
	for i := range c.world.Outcomes() {
		r.Flows++
		if c.world.Outcomes()[i].Result == "ok" {
			r.Answered++
		}
	}
	return r
}

// drive runs the world from step to step, and to its end.
func (d *driver) drive() *Violation {
	for d.next < len(d.agenda) {
		do := &d.agenda[d.next]
		d.next++
		if v := d.until(d.base.Add(do.At)); v != nil {
			return v
		}
		d.do(do)
		if d.check.broken != nil {
			return d.check.broken
		}
	}
	if v := d.until(d.base.Add(d.plan.Length + calm)); v != nil {
		return v
	}
	return d.check.end()
}

// until handles events up to an instant.
func (d *driver) until(at vt.Instant) *Violation {
	err := d.world.Run(at)
	switch n := d.world.Astray(); {
	case d.check.broken != nil:
		return d.check.broken
	case err != nil:
		return &Violation{RuleStuck, d.check.now(), err.Error()}
	case n != 0:
		return &Violation{RulePool, d.check.now(), fmt.Sprintf("%d packets are neither on a wire nor wait anywhere", n)}
	}
	return nil
}
