package simbench

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"runtime"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/reports/figure"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/sim/run"
)

//go:embed crowd.yaml
var crowdText string

// Of crowd.yaml.
const (
	crowdPairs  = 40 * 8 // of a branch and an origin
	crowdBegins = vt.Instant(10e9)
	crowdOpen   = crowdBegins + vt.Instant(1e9) // when all are open
	// CrowdFlows is the default.
	CrowdFlows = 32_000
)

// crowd is a scenario of many flows that are all open at one instant.
type crowd struct {
	flows int
	world *run.World
	hubs  []*hub.Hub
	base  vt.Instant
	// before is the heap before the scenario was read.
	before int64
	took   float64 // of the processor, ns
	bytes  float64 // of a flow that is open
	whole  bool    // every flow was open at once, and was answered
}

// newCrowd makes it of at least so many flows.
func (b *Bench) newCrowd(flows int) (*crowd, error) {
	each := max((flows+crowdPairs-1)/crowdPairs, 1)
	c := &crowd{flows: each * crowdPairs, before: heap(), whole: true}
	text := fmt.Sprintf(crowdText, each, each, float64(each*8)/crowdBegins.Sub(0).Seconds())
	p, err := b.Load("crowd.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	c.world, c.base, err = run.Open(p, run.Options{Watch: run.Watch{Hub: func(_ int, config hub.Config) (run.Hub, error) {
		h, err := hub.New(config)
		c.hubs = append(c.hubs, h)
		return h, err
	}}})
	return c, err
}

// run has all flows come, be open, and go. ctx is looked at once a second of
// virtual time.
func (c *crowd) run(ctx context.Context) error {
	for at := c.base; !c.ended(); at += vt.Instant(1e9) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		took, err := timed(func() error { return c.world.Run(at) })
		if err != nil {
			return err
		}
		c.took += float64(took)
		if at == c.base+crowdOpen {
			c.look()
		}
	}
	for i := range c.world.Outcomes() {
		c.whole = c.whole && c.world.Outcomes()[i].Result == record.OK
	}
	return nil
}

// look counts what is open, and what it takes.
func (c *crowd) look() {
	open := uint64(0)
	for _, h := range c.hubs {
		open += h.Counters().Flows
	}
	c.whole = c.whole && open == uint64(c.flows)
	c.bytes = float64(heap()-c.before) / float64(c.flows)
}

func (c *crowd) ended() bool { return c.world.Left() == 0 }

// packets are those that hubs were given.
func (c *crowd) packets() (n uint64) {
	for _, h := range c.hubs {
		n += h.Counters().Packets
	}
	return n
}

// heap is the memory in use, bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// crowds are whole networks with their hubs.
func (b *Bench) crowds(ctx context.Context) ([]figure.Row, error) {
	c, err := b.newCrowd(cmp.Or(b.Flows, b.work(CrowdFlows)))
	if err != nil {
		return nil, err
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	rows := []figure.Row{
		figure.Rate("sim.hub_packets_per_s", float64(c.packets())/c.took*1e9, "packets/s").Checked(c.whole),
		figure.Cost("sim.flow_bytes", c.bytes, "bytes").Checked(c.whole),
		figure.Rate("sim.flows_open", float64(c.flows), "flows").Checked(c.whole),
		figure.Cost("sim.flows_events", float64(c.world.Events()), "events"),
		figure.Cost("sim.flows_s", c.took/1e9, "s"),
		figure.Cost("sim.peak_mib", float64(peak())/(1<<20), "MiB"),
	}
	return rows, nil
}
