package load

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/sim/stat"
)

// portTotals is what ports did to flows.
type portTotals struct {
	utilisation []float64 // by datacenter, the high-water mark
	lost        []float64 // flows, by datacenter
	perBin      []float64
	lostMinutes float64
	tries       float64
	refused     float64
	erlang      float64 // tries that formula B refuses
}

// Flows that a run plays in slices near their bound; with more of them it plays a
// part of each datacenter's servers, and every one of them stands for several.
const budget = 2_000_000

// near is how many standard deviations a load may come to the bound before chance
// matters: beyond, formula B is less than 1e-9.
const near = 6

// uneven is by how much a server may have more than its part: one bucket of a
// hundred, and while servers are down what chance gives it of theirs.
const uneven = 1.2

// contest is flows of one protocol toward one destination that want ports of one
// pool.
type contest struct {
	pool, work, mix, rank int
	rates                 []float64 // by bin
	load                  float64   // the greatest, in Erlang, of one server
	flows                 float64
}

// slices plays the ports: those toward destinations that many want by simulation,
// all others by their mean.
func (r *run) slices() error {
	m := r.m
	r.ports = portTotals{utilisation: make([]float64, len(m.centers)), lost: make([]float64, len(m.centers)), perBin: make([]float64, len(r.bins))}
	addresses, announced := m.used()
	r.set("addresses", addresses)
	r.set("announced", announced)
	exits := r.poolDemands()
	r.failing(exits)
	r.exits = exits
	var close []contest
	for i := range len(m.pools) + len(m.tagged) {
		for w := range m.works {
			close = append(close, r.contests(i, w, exits.pools[w])...)
		}
	}
	wanted := 0.0
	for _, c := range close {
		wanted += c.flows
	}
	for _, c := range close {
		if err := r.contend(c, min(budget/max(wanted, 1), 1)); err != nil {
			return err
		}
	}
	slices.SortStableFunc(r.out.Ports, func(a, b Ports) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(float64(b.Peak)/float64(b.Ports), float64(a.Peak)/float64(a.Ports)))
	})
	for _, p := range r.out.Ports[:min(mostReasons, len(r.out.Ports))] {
		for _, name := range []string{"blocked", "refusals", "erlang", "ports_peak", "lost.ports", "utilisation." + p.Datacenter} {
			r.because(name, "%s, %s toward %s: %d of %d ports at most, %.4g Erlang, %.4g of %.0f tries refused",
				p.Datacenter, p.Protocol, p.Destination, p.Peak, p.Ports, p.Load, p.Refused, p.Tries)
		}
	}
	r.set("refusals", ratio(r.ports.refused, r.ports.tries))
	r.set("erlang", ratio(r.ports.erlang, r.ports.tries))
	r.set("ports_peak", slices.Max(r.ports.utilisation))
	return nil
}

// failing counts flows that have no address to leave by, because the place of the
// one that they have to use is down (SEMANTICS 6.2).
func (r *run) failing(x *exits) {
	minutes := r.m.works[0].holding.mean / 60
	for i, b := range r.bins {
		n := x.failed[i] * (b.to - b.from)
		r.ports.perBin[i] += n
		r.lost[causeEgress] += n * minutes
		if n > 0 && len(r.out.why["lost.egress"]) < mostReasons {
			r.because("lost.egress", "from %gs on %.3g flows/s have to leave by addresses of places that are down, without a fallback", b.from, x.failed[i])
		}
	}
}

// contests are those of a pool and workload that come near the bound. What does not
// is counted here.
func (r *run) contests(pool, work int, parts []demand) (all []contest) {
	m, w, p := r.m, &r.m.works[work], r.m.pool(pool)
	ports := p.slices * m.slice()
	if m.exhaustion() == hub.ExhaustionRefuse {
		ports = min(ports, m.slice()) // of one address
	}
	special := map[int]bool{}
	for _, d := range parts {
		for _, extra := range d.extra {
			for rank := range extra {
				special[rank-1] = true
			}
		}
	}
	quiet := false // from some rank on destinations are wanted less and less
	for rank := range w.popular {
		if quiet && !special[rank] {
			continue
		}
		quiet = true
		for mix := range w.mix {
			c := r.contest(pool, work, mix, rank, &parts[mix])
			if c.flows == 0 {
				continue
			}
			load := c.load
			if m.exhaustion() == hub.ExhaustionRefuse {
				load /= float64(max(p.slices, 1))
			}
			mark := load*uneven + near*math.Sqrt(load)
			quiet = quiet && mark < float64(ports)/4
			if mark >= float64(ports) {
				all = append(all, c)
				continue
			}
			// The busiest server has a whole bucket more than its part at the most, and at its
			// high-water mark three standard deviations more than that.
			busiest := load * (1 + float64(p.servers)/steer.Buckets)
			r.ports.utilisation[p.center] = max(r.ports.utilisation[p.center], min((busiest+3*math.Sqrt(busiest))/float64(ports), 1))
		}
	}
	for i, b := range r.bins {
		for mix := range w.mix {
			n := parts[mix].total(i, pool) * w.mix[mix].share * (b.to - b.from)
			r.ports.tries += n
			r.unserved(p, w, i, n*(1-p.served))
		}
	}
	for _, c := range all {
		r.ports.tries -= c.flows // played, and counted there
	}
	return all
}

// unserved counts flows of a bin whose home has no slice of any address.
func (r *run) unserved(p pool, w *work, bin int, flows float64) {
	if flows == 0 {
		return
	}
	r.ports.perBin[bin] += flows
	r.ports.refused += flows
	r.ports.erlang += flows
	r.ports.lost[p.center] += flows
	r.ports.lostMinutes += flows * w.holding.mean / 60
	if c := r.m.centers[p.center]; bin == 0 && len(r.out.why["blocked"]) < mostReasons {
		r.because("blocked", "%s has %d slices for %d servers: the others have no port", c.ID, p.servers, c.Servers)
	}
}

// contest is one with its rates.
func (r *run) contest(pool, work, mix, rank int, d *demand) contest {
	w, p := &r.m.works[work], r.m.pool(pool)
	c := contest{pool: pool, work: work, mix: mix, rank: rank, rates: make([]float64, len(r.bins))}
	for i, b := range r.bins {
		c.rates[i] = d.toward(i, pool, rank, w.popular[rank]) * w.mix[mix].share * p.served
		c.load = max(c.load, c.rates[i]*w.mix[mix].port.mean/float64(p.servers))
		c.flows += c.rates[i] * (b.to - b.from)
	}
	return c
}

// contend plays one, with a share of its servers.
func (r *run) contend(c contest, share float64) error {
	m, p := r.m, r.m.pool(c.pool)
	if p.slices == 0 {
		r.because("blocked", "%s has no address for each of its servers", m.centers[p.center].ID)
		all := whole(c, r.bins)
		return r.count(c, nil, (&Played{Flows: all, Tries: all, Refused: all, Lost: all, Ports: 1, Share: 1}).certain())
	}
	g := r.group(c)
	g.Only = max(int(math.Round(share*float64(p.servers))), 1)
	played, err := r.play(g)
	if err != nil {
		return err
	}
	return r.count(c, g, played)
}

// play plays a group, by splitting where that is asked for and chance refuses too
// seldom to be seen.
func (r *run) play(g *Group) (*Rare, error) {
	if r.m.Splitting && g.rarely() {
		return g.PlayRare()
	}
	played, err := g.Play()
	if err != nil {
		return nil, err
	}
	return played.certain(), nil
}

// group is the servers of a contest.
func (r *run) group(c contest) *Group {
	m, w, p := r.m, &r.m.works[c.work], r.m.pool(c.pool)
	owners := 1<<16/m.slice() - 1
	port := w.mix[c.mix].port
	name := fmt.Sprintf("%s %s %s.%d %s", m.centers[p.center].ID, p.key(), w.ID, c.rank+1, w.mix[c.mix].name)
	seed, _ := newStream(r.seed, name).words(forSite, 0)
	g := &Group{
		Servers: p.servers, Addresses: p.slices * ((p.servers + owners - 1) / owners), Slice: m.slice(), OnExhaustion: m.exhaustion(),
		Holding: port.draw, Residual: port.residual, Mean: port.mean, Rate: c.rates,
		Retries: w.Retries, Backoff: seconds(w.Backoff.D()), Seed: seed, Hash: m.hash(), First: m.first(p.center), Together: p.together(),
	}
	g.homes = m.atlas.homes(g.Hash, g.First, max(g.Servers, 1))
	if m.hosts != nil {
		g.Residual = nil // hosts begin with nothing, as they do with packets
	}
	for _, b := range r.bins {
		g.Until = append(g.Until, b.to)
	}
	return g
}

// whole is all flows of a contest, by bin.
func whole(c contest, bins []bin) (all []int) {
	for i, b := range bins {
		all = append(all, int(c.rates[i]*(b.to-b.from)))
	}
	return all
}

// count adds what was played, by a part that stands for all.
func (r *run) count(c contest, g *Group, p *Rare) error {
	times := 1 / p.Share
	m, w, of := r.m, &r.m.works[c.work], r.m.pool(c.pool)
	out := Ports{
		Datacenter: m.centers[of.center].ID, Destination: m.destination(w, c.rank), Protocol: w.mix[c.mix].name,
		Pool: of.name(), Ports: p.Ports, Peak: p.Peak, Load: c.load,
	}
	for i := range p.Tries {
		tries := times * p.Tries[i]
		out.Tries += tries
		out.Refused += times * p.Refused[i]
		out.Lost += times * p.Lost[i]
		r.ports.perBin[i] += times * p.Lost[i]
		r.ports.tries += tries
		r.ports.refused += times * p.Refused[i]
		b := r.formula(c, g, i)
		r.ports.erlang += tries * b
		out.Erlang = max(out.Erlang, b)
	}
	r.ports.lost[of.center] += out.Lost
	r.ports.lostMinutes += out.Lost * w.holding.mean / 60
	r.ports.utilisation[of.center] = max(r.ports.utilisation[of.center], ratio(float64(p.Peak), float64(p.Ports)))
	r.out.Ports = append(r.out.Ports, out)
	return nil
}

// formula is Erlang's B for a bin, as far as flows share ports by the account's
// policy; without a group all are refused.
func (r *run) formula(c contest, g *Group, bin int) float64 {
	if g == nil {
		return 1
	}
	each, rate := r.m.pool(c.pool).slices, c.rates[bin]
	switch {
	case rate == 0:
		return 0
	case r.m.exhaustion() == hub.ExhaustionRefuse:
		return g.Formula(rate/float64(each), r.m.slice())
	case r.m.exhaustion() == hub.ExhaustionAnotherServer:
		return stat.ErlangB(each*r.m.slice()*g.Servers, rate*g.Mean)
	default:
		return g.Formula(rate, each*r.m.slice())
	}
}
