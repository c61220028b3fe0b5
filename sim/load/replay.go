package load

import (
	"cmp"
	"container/heap"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Placed is where the flow level has a flow of a plan leave.
type Placed struct {
	// Home and Server are nodes: whose bucket it is, and whose port it gets; Server is
	// empty if it gets none.
	Home, Server string
	// Egress is the address that it leaves by.
	Egress netip.Addr
}

// Replay decides a plan's flows as the flow level does: by bucket, address and count
// of ports, without a packet. It is how this level is held against the one that has
// packets. It knows flows of IPv4 to the Internet by shared addresses, of accounts
// without policies, while nothing fails; of others it returns an *Unsupported.
// Flows are in the order of the plan.
func Replay(p *plan.Plan) ([]Placed, error) {
	if len(p.Servers) == 0 {
		return nil, &Unsupported{"datacenters", "a plan without servers"}
	}
	r, err := newReplay(p)
	if err != nil {
		return nil, err
	}
	out := make([]Placed, len(p.Flows))
	for i := range p.Flows {
		if out[i], err = r.place(&p.Flows[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ending is a port that is free again at a time.
type ending struct {
	at     time.Duration
	ledger *egress.Ledger
	slice  int
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, k int) bool { return e[i].at < e[k].at }
func (e endings) Swap(i, k int)      { e[i], e[k] = e[k], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// wanted is what ports are counted toward.
type wanted struct {
	server ident.Server
	proto  uint8
	remote netip.AddrPort
}

type replay struct {
	cfg     *hub.Config
	timers  hub.Timers
	names   map[ident.Server]string
	buckets map[string]*steer.Table // by datacenter
	rings   map[string][]ident.Server
	ports   map[ident.Server]*egress.Allocator
	ledgers map[wanted]*egress.Ledger
	ramps   map[string]*hub.OnRamp
	ends    endings
}

func newReplay(p *plan.Plan) (*replay, error) {
	cfg := &p.Servers[0].Config
	if cfg.Departs() || len(p.Faults) > 0 {
		return nil, &Unsupported{"accounts", "addresses of an account's or a country's own, and faults, are not replayed"}
	}
	for _, t := range cfg.Tenants {
		if len(t.Policies.Firewall)+len(t.Policies.Egress)+len(t.Policies.Network) > 0 {
			return nil, &Unsupported{"policies", "policies are not replayed"}
		}
	}
	directory, err := egress.NewDirectory(cfg.Egress)
	if err != nil {
		return nil, err
	}
	r := &replay{
		cfg: cfg, timers: cfg.Timers, names: map[ident.Server]string{}, buckets: map[string]*steer.Table{}, rings: map[string][]ident.Server{},
		ports: map[ident.Server]*egress.Allocator{}, ledgers: map[wanted]*egress.Ledger{}, ramps: map[string]*hub.OnRamp{},
	}
	live := map[string][]steer.Server{}
	for _, s := range p.Servers {
		id := s.Config.Self
		r.names[id] = s.Node
		live[s.Datacenter] = append(live[s.Datacenter], steer.Server{ID: id, Live: true})
		r.rings[s.Datacenter] = append(r.rings[s.Datacenter], id)
		r.ports[id] = egress.NewAllocator(cfg.Seed, directory, id)
	}
	for dc, servers := range live {
		r.buckets[dc] = steer.New(cfg.Seed, servers)
		slices.Sort(r.rings[dc])
	}
	for i := range cfg.OnRamps {
		r.ramps[cfg.OnRamps[i].Name] = &cfg.OnRamps[i]
	}
	return r, nil
}

// place decides one flow.
func (r *replay) place(f *plan.Flow) (Placed, error) {
	ramp, buckets := r.ramps[f.OnRamp], r.buckets[f.Ingress]
	if ramp == nil || buckets == nil || !f.Dst.Addr().Is4() || f.Query != nil {
		return Placed{}, &Unsupported{"traffic." + f.Traffic, fmt.Sprintf("flow %d is not one of IPv4 by an on-ramp of a site", f.N)}
	}
	for len(r.ends) > 0 && r.ends[0].at <= f.Start {
		e := heap.Pop(&r.ends).(ending)
		e.ledger.Free(e.slice)
	}
	m := pkt.Meta{Src: f.Src.Addr(), SrcPort: f.Src.Port(), Dst: f.Dst.Addr(), DstPort: f.Dst.Port()}
	var keep time.Duration
	switch f.Proto {
	case plan.TCP:
		m.Proto, keep = pkt.ProtoTCP, r.timers.PortHold+f.Hold
	case plan.UDP:
		m.Proto, keep = pkt.ProtoUDP, r.timers.UDP
	default:
		m.Proto, keep = pkt.ProtoICMP, r.timers.ICMP
		m.DstPort = 0
	}
	keep += time.Duration(max(f.Packets-1, 0)) * f.Interval
	key := flow.ForwardKey(ramp.Tenant, r.cfg.ScopeOf(ramp), ramp.VNet, &m)
	hash := flow.Hash(r.cfg.Seed, &key)
	home := buckets.Home(hash)
	out := Placed{Home: r.names[home]}
	policy := r.policy(ramp.Tenant)
	reach := egress.Pool
	if policy == hub.ExhaustionRefuse {
		reach = egress.OneAddress
	}
	for at, hops := home, 0; at != 0; hops++ {
		l := r.ledger(wanted{at, m.Proto, netip.AddrPortFrom(m.Dst, m.DstPort)})
		if slice, ok := l.Take(hash, reach); ok {
			heap.Push(&r.ends, ending{f.Start + keep, l, slice})
			out.Server, out.Egress = r.names[at], l.Addr(slice)
			return out, nil
		}
		if policy != hub.ExhaustionAnotherServer || hops == steer.MaxHops {
			break
		}
		at = steer.Next(r.rings[f.Ingress], home, at, hash)
	}
	return out, nil
}

func (r *replay) policy(t ident.Tenant) hub.OnExhaustion {
	i := slices.IndexFunc(r.cfg.Tenants, func(x hub.Tenant) bool { return x.ID == t })
	if i < 0 {
		return ""
	}
	return cmp.Or(r.cfg.Tenants[i].OnExhaustion, hub.ExhaustionAnotherAddress)
}

func (r *replay) ledger(w wanted) *egress.Ledger {
	if r.ledgers[w] == nil {
		r.ledgers[w] = r.ports[w.server].NewLedger(w.remote.Addr(), egress.From{}, 0)
	}
	return r.ledgers[w]
}
