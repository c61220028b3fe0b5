package swarm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/sim/swarm"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// broken is a hub with one mistake around it. Zero fields are no mistake.
type broken struct {
	*hub.Hub
	config      func(*hub.Config)
	reconfigure func(*hub.Config)
	timer       time.Duration
	trusts      bool
	forgets     bool
	// ecn changes what packets say of congestion that come in, or go out.
	ecn func(in bool, packet []byte)
}

func (b *broken) HandlePacket(now vt.Instant, in *hub.Packet, out *hub.Out) {
	in.Internal = in.Internal || b.trusts
	if b.ecn != nil {
		b.ecn(true, in.Data)
	}
	b.Hub.HandlePacket(now, in, out)
	for i := range out.Send {
		if b.ecn != nil {
			b.ecn(false, out.Send[i].Data)
		}
	}
}

func (b *broken) HandleTimer(now vt.Instant, out *hub.Out) { b.Hub.HandleTimer(now.Add(b.timer), out) }

func (b *broken) Reconfigure(now vt.Instant, c hub.Config) error {
	if b.forgets {
		empty := c
		empty.OnRamps, empty.Routes, empty.Groups = nil, nil, nil
		if err := b.Hub.Reconfigure(now, empty); err != nil {
			return err
		}
	}
	for _, edit := range []func(*hub.Config){b.config, b.reconfigure} {
		if edit != nil {
			edit(&c)
		}
	}
	return b.Hub.Reconfigure(now, c)
}

// tuples leaves the scope out of the forward key.
func tuples(c *hub.Config) {
	c.Tenants = slices.Clone(c.Tenants)
	for i := range c.Tenants {
		c.Tenants[i].FlowKey = hub.FlowKeyTuple
	}
}

// noHold releases the port of a closed flow at once.
func noHold(c *hub.Config) { c.Timers.PortHold = 1 }

// noARR forgets which on-ramps have it.
func noARR(c *hub.Config) {
	c.OnRamps = slices.Clone(c.OnRamps)
	for i := range c.OnRamps {
		c.OnRamps[i].ARR = false
	}
}

// greedy has the second server of a datacenter take the slices of the first for
// its own.
func greedy(c *hub.Config) {
	c.Egress = slices.Clone(c.Egress)
	for i := range c.Egress {
		e := &c.Egress[i]
		var owners []int
		for k := 1; k < egress.Slices; k++ {
			if e.Owner[k] != 0 {
				owners = append(owners, k)
			}
		}
		if slices.ContainsFunc(owners, func(k int) bool { return e.Owner[k] == c.Self }) {
			for _, k := range owners {
				e.Owner[k] = c.Self
			}
		}
	}
}

// unmarked drops what a tunnel's outer header says of congestion.
func unmarked(in bool, packet []byte) {
	if in && pkt.HasHeader(packet) && packet[9] != pkt.ProtoTCP && pkt.ECNOf(packet) == pkt.CE {
		pkt.SetECN(packet, pkt.ECT0)
	}
}

// capable says of packets whose ends understand no mark that they do.
func capable(in bool, packet []byte) {
	if !in && pkt.HasHeader(packet) && pkt.ECNOf(packet) == pkt.NotECT {
		pkt.SetECN(packet, pkt.ECT0)
	}
}

// congested marks everything.
func congested(in bool, packet []byte) {
	if !in && pkt.HasHeader(packet) {
		pkt.SetECN(packet, pkt.CE)
	}
}

// Each mistake is found within the seeds of the short form, by the rule that it
// breaks: so much the rules are worth.
func TestBrokenHubsAreCaught(t *testing.T) {
	for name, x := range map[string]struct {
		broken broken
		rules  []string
	}{
		"scope left out of the forward key":   {broken{config: tuples}, []string{swarm.RuleHome, swarm.RuleTenants}},
		"port released too early":             {broken{config: noHold}, []string{swarm.RuleHold}},
		"hand-over trusted from outside":      {broken{trusts: true}, []string{swarm.RuleOutside}},
		"timer too early":                     {broken{timer: time.Second}, []string{swarm.RuleTimer}},
		"timer too late":                      {broken{timer: -time.Second}, []string{swarm.RuleTimer}},
		"second owner of a slice":             {broken{config: greedy}, []string{swarm.RuleSlice, swarm.RuleReverse}},
		"ARR lost with a new configuration":   {broken{reconfigure: noARR}, []string{swarm.RuleHome}},
		"outer mark dropped":                  {broken{ecn: unmarked}, []string{swarm.RuleMarks}},
		"marks of what cannot be marked":      {broken{ecn: congested}, []string{swarm.RuleMarks}},
		"not-ECT made ECT":                    {broken{ecn: capable}, []string{swarm.RuleMarks}},
		"flows lost with a new configuration": {broken{forgets: true}, []string{swarm.RuleSession}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := func(_ int, c hub.Config) (run.Hub, error) {
				b := x.broken
				if b.config != nil {
					b.config(&c)
				}
				h, err := hub.New(c)
				b.Hub = h
				return &b, err
			}
			_, f := swarm.Many(t.Context(), 0, short, swarm.Options{Load: loadtest.Base, Hub: made}, nil)
			if f == nil {
				t.Fatalf("not caught within %d seeds", short)
			}
			t.Logf("seed %d: %v", f.Case.Seed, f.Violation)
			if !slices.Contains(x.rules, f.Violation.Rule) {
				t.Errorf("seed %d: caught by %v, want one of %q", f.Case.Seed, f.Violation, x.rules)
			}
		})
	}
}
