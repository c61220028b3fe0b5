package load

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/policy"
	"github.com/homeward-lab/homeward/topologies/place"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// leaving is by what addresses flows leave, where that is not simply one of the
// datacenter that they land in: the account has addresses or policies.
type leaving struct {
	rules *policy.Set
	// own by datacenter that a flow lands in, the nearest first.
	own [][]hub.Own
	// pool of an address of the account's.
	pool map[netip.Addr]int
	seed uint64
	// byDestination says that some rule asks where a flow goes.
	byDestination bool
}

// leave makes ready how the account's flows leave: its policies are compiled as a
// plan's are.
func (m *Model) leave() error {
	a := m.s.Account
	if a == nil || len(a.Dedicated)+len(a.Policies.Firewall)+len(a.Policies.Egress)+len(a.Policies.Network) == 0 {
		return nil
	}
	if n := len(a.Policies.Firewall) + len(a.Policies.Network); n > 0 {
		return &Unsupported{"account.policies", "the flow level knows egress policies: what others block opens no flow"}
	}
	policies, err := m.policies()
	if err != nil {
		return err
	}
	l := &leaving{own: make([][]hub.Own, len(m.centers)), pool: map[netip.Addr]int{}, seed: m.hash()}
	for i, r := range policies.Egress {
		x, path := r.Match, fmt.Sprintf("account.policies.egress[%d].match", i)
		ends := len(x.Source)+len(x.Destination)+len(x.Country) > 0
		switch {
		case len(x.User)+len(x.VNet)+len(x.OnRamp) > 0:
			return &Unsupported{path, "the flow level knows no users, virtual networks and on-ramps: it decides by protocol, port, source_country, and in a file with hosts by source, destination and country"}
		case ends && m.hosts == nil:
			return &Unsupported{path, "users of a population and the destinations that they draw have no addresses: the flow level decides by protocol, port and source_country; want hosts instead of a population"}
		}
		l.byDestination = l.byDestination || len(x.Destination)+len(x.Country) > 0
	}
	if l.rules, err = policy.Compile(policies); err != nil {
		return err
	}
	for _, d := range a.Dedicated {
		c := slices.IndexFunc(m.centers, func(c center) bool { return c.ID == d.Datacenter })
		if c < 0 {
			return fmt.Errorf("account.dedicated: no datacenter %q", d.Datacenter)
		}
		for _, addr := range d.Addresses() {
			l.pool[addr] = len(m.pools) + len(m.tagged)
			m.tagged = append(m.tagged, m.dedicated(c, addr))
			for at := range m.centers {
				l.own[at] = append(l.own[at], hub.Own{Addr: addr, Away: place.Delay(m.centers[at].at, m.centers[c].at)})
			}
		}
	}
	for _, own := range l.own {
		slices.SortFunc(own, func(x, y hub.Own) int { return cmp.Or(cmp.Compare(x.Away, y.Away), x.Addr.Compare(y.Addr)) })
	}
	m.leaving = l
	return nil
}

// policies are the account's as a plan compiles them: of a network without users,
// which is small.
func (m *Model) policies() (policy.Policies, error) {
	s := *m.s
	s.Population, s.Workload, s.Traffic, s.Faults, s.Checks = nil, nil, nil, nil, nil
	s.Datacenters = slices.Clone(s.Datacenters)
	for i := range s.Datacenters {
		d := &s.Datacenters[i]
		d.Servers, d.Egress = 1, d.Egress[:min(1, len(d.Egress))]
	}
	p, err := plan.Compile(&s)
	if err != nil {
		return policy.Policies{}, err
	}
	if len(p.Servers) == 0 || len(p.Servers[0].Config.Tenants) == 0 {
		return policy.Policies{}, errors.New("account: a plan without servers")
	}
	return p.Servers[0].Config.Tenants[0].Policies, nil
}

// leaver is who asks for a way out: where it landed, from which zone, by what, and to
// which node, where that matters.
type leaver struct {
	phase, at, zone int
	mix             string
	to              int
}

// anywhere is where a flow goes as long as no rule asks.
const anywhere = -1

// leaves says by which pool flows leave; -1 is by none, -2 that they fail because
// the place of the address that they have to leave by is down.
func (r *run) leaves(of leaver, metres func(a, b int) float64) int {
	m, ph := r.m, &r.m.phases[of.phase]
	if ph.silent[of.at] {
		return noAnswer
	}
	out := func(c int) bool { return ph.down[c] || ph.silent[c] }
	meta, number := wanted4(of.mix)
	country := m.zones[of.zone].Country
	if l := m.leaving; l != nil && hub.Dedicable(&meta) {
		sub := policy.Subject{Src: netip.AddrPortFrom(m.source(of.zone), 0), Dst: netip.AddrPortFrom(remote().Addr(), meta.DstPort), Proto: number, SourceCountry: country, VNet: ident.VNet(1)}
		if of.to != anywhere {
			a := m.hosts.nodes[of.to].Address
			sub.Dst, sub.Country = netip.AddrPortFrom(a, meta.DstPort), m.hosts.country(a)
		}
		addr, ok := hub.Leave(l.rules.Egress(&sub).Rule, l.own[of.at], flow.Mix(l.seed^uint64(of.zone)), func(a netip.Addr) bool {
			return !out(m.pool(l.pool[a]).center)
		})
		switch {
		case !ok:
			return failed
		case !addr.IsUnspecified():
			return l.pool[addr]
		}
	}
	return m.poolOf(of.at, country, out, metres)
}

const (
	noAnswer = -1
	failed   = -2
)

// wanted4 is a packet that opens a flow of a protocol, as far as policies ask.
func wanted4(mix string) (pkt.Meta, uint8) {
	switch mix {
	case "tcp":
		return pkt.Meta{Kind: pkt.TCP, DstPort: 443}, pkt.ProtoTCP
	case "udp":
		return pkt.Meta{Kind: pkt.UDP, DstPort: 443}, pkt.ProtoUDP
	case "dns":
		return pkt.Meta{Kind: pkt.UDP, DstPort: 53}, pkt.ProtoUDP
	}
	return pkt.Meta{Kind: pkt.EchoRequest}, pkt.ProtoICMP
}

// source is a host's address; a population's are nobody's in particular.
func (m *Model) source(zone int) netip.Addr {
	if m.hosts != nil {
		return m.hosts.nodes[zone].Address
	}
	return netip.IPv4Unspecified()
}

// exits are what each part of each workload wants of each pool, and of each pair of
// datacenters: where flows landed, where they leave.
type exits struct {
	pools, pairs [][]demand // by work and part of its mix
	// failed flows by bin, per second.
	failed []float64
}

// poolDemands finds them. Where every pool is a datacenter's own, flows leave where
// they landed, and pairs stay nil.
func (r *run) poolDemands() *exits {
	m, n := r.m, len(r.m.centers)
	x := &exits{failed: make([]float64, len(r.bins))}
	metres := func(a, b int) float64 { return place.Distance(m.centers[a].at, m.centers[b].at) }
	known := map[leaver]int{}
	for i := range m.works {
		w := &m.works[i]
		var pools, pairs []demand
		for _, part := range w.mix {
			if len(m.tagged) == 0 && m.leaving == nil {
				pools = append(pools, r.demands[i])
				continue
			}
			leaves := func(phase, at, zone, to int) int {
				of := leaver{phase, at, zone, part.name, to}
				to, ok := known[of]
				if !ok {
					to = r.leaves(of, metres)
					known[of] = to
				}
				return to
			}
			// One place more has those that fail.
			last := len(m.pools) + len(m.tagged)
			d := r.leavingDemand(w, last+1, func(phase, at, zone, to int) int {
				if by := leaves(phase, at, zone, to); by != failed {
					return by
				}
				return last
			})
			for b := range r.bins {
				x.failed[b] += d.total(b, last) * part.share
			}
			pools = append(pools, d)
			pairs = append(pairs, r.leavingDemand(w, n*n, func(phase, at, zone, to int) int {
				if by := leaves(phase, at, zone, to); by >= 0 {
					return at*n + m.pool(by).center
				}
				return noAnswer
			}))
		}
		x.pools, x.pairs = append(x.pools, pools), append(x.pairs, pairs)
	}
	return x
}

// leavingDemand is what a workload wants of so many places, found for each destination
// by itself where a rule asks for it.
func (r *run) leavingDemand(w *work, places int, place func(phase, at, zone, to int) int) demand {
	find := func(to int) demand {
		return r.m.demand(w, r.bins, r.phases, places, func(phase, at, zone int) int { return place(phase, at, zone, to) })
	}
	if r.m.leaving == nil || !r.m.leaving.byDestination {
		return find(anywhere)
	}
	sum := demand{rate: make([][]float64, len(r.bins)), extra: make([]map[int][]float64, len(r.bins))}
	for b := range sum.rate {
		sum.rate[b], sum.extra[b] = make([]float64, places), map[int][]float64{}
	}
	for rank, to := range w.origins {
		one := find(to)
		for b := range sum.extra {
			all := make([]float64, places)
			for at := range all {
				all[at] = one.toward(b, at, rank, w.popular[rank])
			}
			sum.extra[b][rank+1] = all
		}
	}
	return sum
}
