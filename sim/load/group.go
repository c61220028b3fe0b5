package load

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/sim/stat"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Group is the servers of a datacenter and the ports that they have toward one
// remote end: flows come, hold a port and leave. What is decided is the
// dataplane's: the home by bucket, the address by hash, and what happens when it
// has no port.
type Group struct {
	// Servers, 0 means 1, and Addresses that they share; 0 means 1.
	Servers, Addresses int
	// Slice is the ports of a slice; 0 means 2,048, which alone the dataplane has.
	Slice int
	// Together is the most ports that all servers have taken at once; 0 has no bound.
	Together int
	// OnExhaustion is the account's; empty means another_address.
	OnExhaustion hub.OnExhaustion
	// Rate of new flows per second: Rate[i] until Until[i] seconds, rising.
	Rate, Until []float64
	// Holding is how long a flow has its port, in seconds, by chance, of which the
	// upper 20 bits are good: after its end too, while the port is held.
	Holding func(random uint64) float64
	// Mean of Holding.
	Mean float64
	// Residual is what is left of a flow's time at the start, of flows that are there
	// then; nil begins with none.
	Residual func(a, b uint64) float64
	// Retries of who is refused, after Backoff seconds that double.
	Retries int
	Backoff float64
	// Seed of all that is drawn, Hash of what servers decide by: the scenario's.
	Seed, Hash uint64
	// First is the number of the first server, which with Hash says which buckets are
	// whose; 0 means 1.
	First ident.Server
	// Only so many servers are played, and their part of the flows; 0 means all. With
	// another_server all are.
	Only int
	// alone is the number of the one server that is played, from 1; 0 has no such.
	alone int
	// homes of flows, where they are known: they follow from Servers, First and Hash.
	homes *homes
}

// Played is what a Group did.
type Played struct {
	// Flows that came, Tries with the repeated ones, Refused tries, Lost flows, by
	// interval of Rate: a flow is lost in the interval in which it gave up.
	Flows, Tries, Refused, Lost []int
	// Peak is the most ports that a server had taken, of Ports that it has.
	Peak, Ports int
	// Share is the part of all flows that was played.
	Share float64
	// Busy is the mean number of ports taken, over all servers.
	Busy float64
}

// game is a Group while it is played.
type game struct {
	*Group
	chance  stream
	buckets *steer.Table
	first   ident.Server
	played  int // servers
	share   float64
	ring    []ident.Server
	ledgers []*egress.Ledger // by server
	taken   []int            // by server
	all     int              // taken
	pool    int              // slices of a server
	reach   egress.Reach
	remote  [16]byte
	port    uint16
	wheel   *wheel
	later   waiting
	out     Played
	busy    float64 // seconds of all ports taken
	// now is when the last flow came, in an interval, and how many the next is.
	now      float64
	interval int
	n        uint64
	// ready is the method that frees, made once.
	ready func(int32)
}

var errNoAddress = errors.New("a group of servers without an egress address for each")

// remote is any: ports are counted toward one at a time.
func remote() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, 9}), 443)
}

func (g *Group) game() (*game, error) {
	servers, addresses := max(g.Servers, 1), max(g.Addresses, 1)
	p := &game{Group: g, chance: newStream(g.Seed, "group"), reach: egress.Pool}
	if g.OnExhaustion == hub.ExhaustionRefuse {
		p.reach = egress.OneAddress
	}
	p.first, p.played = cmp.Or(g.First, 1), servers
	if g.Only > 0 && g.OnExhaustion != hub.ExhaustionAnotherServer {
		p.played = min(g.Only, servers)
	}
	if g.alone > 0 {
		p.played = 1
	}
	directory, err := division(servers, addresses, g.Slice, p.first)
	if err != nil {
		return nil, err
	}
	homes := g.home()
	p.buckets = homes.table
	for i, share := range homes.shares {
		id := p.first + ident.Server(i)
		p.ring = append(p.ring, id)
		if g.alone == i+1 || g.alone == 0 && i < p.played {
			l := egress.NewAllocator(g.Hash, directory, id).NewLedger(remote().Addr(), egress.From{}, g.Slice)
			p.pool = max(p.pool, l.Slices())
			p.ledgers = append(p.ledgers, l)
			p.share += share
		}
	}
	if p.pool == 0 {
		return nil, errNoAddress
	}
	if g.alone > 0 {
		p.first += ident.Server(g.alone - 1)
	}
	n := len(g.Rate)
	p.out.Flows, p.out.Tries, p.out.Refused, p.out.Lost = make([]int, n), make([]int, n), make([]int, n), make([]int, n)
	p.remote, p.port = remote().Addr().As16(), remote().Port()
	p.taken = make([]int, p.played)
	p.out.Ports, p.out.Share = p.pool*cmp.Or(g.Slice, egress.SliceSize), p.share
	p.wheel = newWheel(min(g.most()*p.share*g.Mean, float64(p.played*p.out.Ports))/2, g.Mean)
	p.ready = p.free
	return p, nil
}

// home is where flows are at home.
func (g *Group) home() *homes {
	if g.homes == nil {
		return newHomes(g.Hash, cmp.Or(g.First, 1), max(g.Servers, 1))
	}
	return g.homes
}

// Formula is the share of flows that Erlang's formula B refuses at a rate, by the
// part of them that each server has: without retries, when all ports of a server
// serve all of its flows.
func (g *Group) Formula(rate float64, ports int) float64 {
	b := 0.0
	for _, share := range g.home().shares {
		if share > 0 {
			b += share * stat.ErlangB(ports, rate*share*g.Mean)
		}
	}
	return b
}

// division is who owns which slice. Of other sizes than the dataplane's an address
// serves more or fewer servers, of which each has one slice of as many addresses.
func division(servers, addresses, slice int, from ident.Server) (*egress.Directory, error) {
	first := netip.AddrFrom4([4]byte{198, 18, 0, 1})
	list := func(n int) (all []netip.Addr) {
		for a := first; len(all) < n; a = a.Next() {
			all = append(all, a)
		}
		return all
	}
	ids := make([]ident.Server, servers)
	for i := range ids {
		ids[i] = from + ident.Server(i)
	}
	if slice == 0 || slice == egress.SliceSize {
		all, err := egress.Assign(1, list(addresses), ids)
		if err != nil {
			return nil, err
		}
		return egress.NewDirectory(all)
	}
	owners := 1<<16/slice - 1
	each := addresses / ((servers + owners - 1) / owners)
	if each == 0 {
		return nil, errNoAddress
	}
	var all []egress.Address
	for i, a := range list(each * servers) {
		one := egress.Address{Addr: a, Datacenter: 1}
		one.Owner[1] = ids[i%servers]
		all = append(all, one)
	}
	return egress.NewDirectory(all)
}

// most is the greatest rate.
func (g *Group) most() float64 {
	m := 0.0
	for _, r := range g.Rate {
		m = max(m, r)
	}
	return m
}

// Play plays it once. It is a pure function of the Group.
func (g *Group) Play() (*Played, error) {
	p, err := g.game()
	if err != nil {
		return nil, err
	}
	p.begin()
	for p.step() {
	}
	p.wheel.due(p.now, p.ready)
	p.out.Busy = (p.busy - p.wheel.left(p.now)) / p.now
	return &p.out, nil
}

// step plays to the next arrival, and is false at the end.
func (p *game) step() bool {
	for k := p.interval; k < len(p.Rate); k++ {
		until := p.Until[k]
		if rate := p.Rate[k] * p.share; rate > 0 {
			a, b := p.chance.words(forArrival, p.n)
			// By chance without memory, the next interval draws anew.
			if at := p.now + exponential(a)/rate; at < until {
				p.now, p.interval = at, k
				p.retry(at, k)
				p.out.Flows[k]++
				p.try(again{at: at, n: p.n, client: b, hold: p.Holding(a << 44)}, k)
				p.n++
				return true
			}
		}
		p.retry(until, k)
		// What the next draws is numbered apart, so that more flows here change none there.
		p.now, p.interval, p.n = until, k+1, uint64(k+1)<<40
	}
	return false
}

// begin puts flows in that are there at the start: a Poisson number of them, with
// what is left of their time (the stationary state without bound, cut at it).
func (p *game) begin() {
	if p.Residual == nil || len(p.Rate) == 0 {
		return
	}
	due := newStream(p.Seed, "begin")
	sum := 0.0
	for i := uint64(0); ; i++ {
		gap, hold := due.words(forArrival, i)
		if sum += exponential(gap); sum > p.Rate[0]*p.share*p.Mean {
			return
		}
		a, b := due.words(forHolding, i)
		hash := p.flow(b, 0)
		if server, slice, ok := p.take(hash, a); ok {
			p.hold(0, p.Residual(hold, b), server, slice)
		}
	}
}

// retry lets those try again whose time has come.
func (p *game) retry(now float64, interval int) {
	for len(p.later) > 0 && p.later[0].at <= now {
		p.try(p.later.pop(), interval)
	}
}

// try asks for a port, once.
func (p *game) try(a again, interval int) {
	p.wheel.due(a.at, p.ready)
	p.out.Tries[interval]++
	hash := p.flow(a.client, a.try)
	entry := uint64(0)
	if p.OnExhaustion == hub.ExhaustionAnotherServer {
		entry, _ = p.chance.words(forRetry, a.n<<5+uint64(a.try))
	}
	server, slice, ok := p.take(hash, entry)
	if ok {
		p.hold(a.at, a.at+a.hold, server, slice)
		return
	}
	p.out.Refused[interval]++
	if a.try >= p.Retries {
		p.out.Lost[interval]++
		return
	}
	wait := p.Backoff * math.Pow(2, float64(a.try))
	_, x := p.chance.words(forRetry, a.n<<5+uint64(a.try))
	a.at += wait * (0.5 + 0.5*unitOf(x))
	a.try++
	p.later.push(a)
}

// flow is one of any client, whose home is played; a retry has another source port.
func (p *game) flow(client uint64, try int) (hash uint64) {
	var k flow.Key
	k.DstPort, k.Proto, k.Scope, k.Tenant, k.Dst = p.port, 6, 1, 1, p.remote
	for {
		c := client
		if try > 0 {
			c ^= flow.Mix(c+uint64(try)) & 0xffff
		}
		k.SrcPort = uint16(c)
		binary.LittleEndian.PutUint64(k.Src[8:], 0xffff<<16|c>>16<<32)
		hash = flow.Hash(p.Hash, &k)
		if uint64(p.buckets.Home(hash)-p.first) < uint64(p.played) {
			return hash
		}
		client = flow.Mix(client + 1)
	}
}

// take finds a port, at the flow's home or where that may ask.
func (p *game) take(hash, entry uint64) (server, slice int, ok bool) {
	if p.Together > 0 && float64(p.all) >= float64(p.Together)*p.share {
		return 0, 0, false
	}
	home := p.buckets.Home(hash)
	server = int(home - p.first)
	if slice, ok = p.ledgers[server].Take(hash, p.reach); ok || p.OnExhaustion != hub.ExhaustionAnotherServer {
		return server, slice, ok
	}
	hops := 0
	if int(entry%uint64(len(p.ledgers))) != server {
		hops++ // routers' ECMP brought it to another server than its home
	}
	for at := home; hops < steer.MaxHops; hops++ {
		if at = steer.Next(p.ring, home, at, hash); at == 0 {
			break
		}
		server = int(at - p.first)
		if slice, ok = p.ledgers[server].Take(hash, p.reach); ok {
			return server, slice, true
		}
	}
	return 0, 0, false
}

// hold has a port taken until a time.
func (p *game) hold(from, until float64, server, slice int) {
	p.taken[server]++
	p.all++
	p.out.Peak = max(p.out.Peak, p.taken[server])
	p.busy += until - from
	p.wheel.add(until, int32(server*p.pool+slice))
}

func (p *game) free(what int32) {
	server := int(what) / p.pool
	p.ledgers[server].Free(int(what) % p.pool)
	p.taken[server]--
	p.all--
}

// Hold sets how long flows have their ports: as the distribution says, in seconds,
// and so long after.
func (g *Group) Hold(d spec.Draw, keep float64) {
	s := newSampler(d).plus(keep)
	g.Holding, g.Residual, g.Mean = s.draw, s.residual, s.mean
}
