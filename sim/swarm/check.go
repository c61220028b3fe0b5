package swarm

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/sim/run"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// checker keeps the slow and obvious books of what hubs do, and compares. A
// packet's mark says which flow asked for it, whatever was written into the packet
// since.
type checker struct {
	seed  uint64
	plan  *plan.Plan
	world *run.World
	// truth is the configuration that each server should work by.
	truth []hub.Config
	hubs  []*watched
	// ramps by the outer address that packets go to, and by id.
	outer map[netip.Addr]ident.OnRamp
	ramps map[ident.OnRamp]*place
	peers map[netip.Addr]bool
	// asks are the plan's flows, by index.
	asks []ask
	// always are the sites that have ARR on all on-ramps all the time.
	always map[string]bool
	nodes  map[string]*plan.Node

	live   map[reverse]*book
	over   map[reverse]*book
	held   map[reverse]hold
	byMark map[markAt]*book
	ids    map[idAt]bool
	// ended are all sessions of a flow that came to an end.
	ended   map[uint32][]*book
	started int
	where   map[ident.OnRamp]hub.Attachment
	// strayed are flows whose marks say nothing any more: routes took a packet of
	// theirs to another host of their account, whose answer has their mark; or their
	// session was taken away, and what still comes for it may find another.
	strayed map[uint32]bool
	// said is what each segment said of congestion last; nil where no link marks.
	said   map[segment]pkt.ECN
	marked int

	// outside is what the packet that is being given may do.
	outside trust
	// forced: sessions end because somebody says so, not by their timers.
	forced bool
	// closing: the run is over.
	closing bool
	// mixed: packets without a mark have been believed, so that bytes are not
	// those of the flows alone.
	mixed bool
	// clean: nothing was lost or doubled on the way, and no server was interfered
	// with.
	clean  bool
	seen   [][]byte
	broken *Violation
}

// place is an on-ramp as the plan has it.
type place struct {
	site   string // or the node of a device
	tenant ident.Tenant
	ramp   hub.OnRamp
}

// ask is who asks whom in a flow.
type ask struct {
	client, server string // sites
	tenant         ident.Tenant
	public         bool // the destination is on the Internet
	of             *plan.Flow
}

// by reports whether a session is of the flow: as the client opened it, or as its
// answer did, which found no session and is a client's packet itself then.
func (a *ask) by(s *hub.Session, site string) bool {
	return a.tenant == s.Tenant && (site == a.client || !a.public && site == a.server && s.Tuple.Src.Addr() == a.of.Dst.Addr())
}

// reverse is what the outside knows of a flow. Where the client's own source is
// kept, the tenant and the server belong to it: two datacenters may each have such
// a flow, and the one where the private host is attached refuses the second.
type reverse struct {
	tenant         ident.Tenant
	server         int
	proto          uint8
	egress, remote netip.AddrPort
}

func reverseOf(server int, s *hub.Session) reverse {
	r := reverse{proto: s.Tuple.Proto, egress: s.Egress, remote: s.Tuple.Dst}
	if s.OffRamp != 0 && s.Egress == s.Tuple.Src {
		r.tenant, r.server = s.Tenant, server
	}
	return r
}

// book is what is known of one session.
type book struct {
	s      hub.Session
	at     reverse
	server int
	mark   uint32
	// sent and received are payload bytes of datagrams that crossed; unsure says
	// that some of them crossed in fragments.
	sent, received uint64
	unsure         bool
	// last is when the client's last packet crossed.
	last vt.Instant
}

// hold is a closed session whose port nobody else may have.
type hold struct {
	b     *book
	until vt.Instant
}

type markAt struct {
	server int
	mark   uint32
}

type idAt struct {
	id     [16]byte
	server *watched // a server that was started anew counts again
}

// maxSeen packets are kept, to come again damaged.
const maxSeen = 64

func (c *checker) failf(rule, format string, args ...any) {
	if c.broken != nil {
		return
	}
	c.broken = &Violation{rule, c.now(), fmt.Sprintf(format, args...)}
	if c.world != nil {
		c.world.Halt()
	}
}

// open reads the plan.
func (c *checker) open(p *plan.Plan, steps []Step) {
	c.plan = p
	c.outer, c.ramps, c.peers = map[netip.Addr]ident.OnRamp{}, map[ident.OnRamp]*place{}, map[netip.Addr]bool{}
	c.live, c.over, c.held = map[reverse]*book{}, map[reverse]*book{}, map[reverse]hold{}
	c.strayed = map[uint32]bool{}
	if marks(p) {
		c.said = map[segment]pkt.ECN{}
	}
	c.byMark, c.ids, c.ended = map[markAt]*book{}, map[idAt]bool{}, map[uint32][]*book{}
	c.always, c.nodes, c.where = map[string]bool{}, map[string]*plan.Node{}, map[ident.OnRamp]hub.Attachment{}
	for i := range p.Nodes {
		c.nodes[p.Nodes[i].ID] = &p.Nodes[i]
	}
	for i := range p.Servers {
		c.truth = append(c.truth, p.Servers[i].Config)
		c.peers[p.Servers[i].Handover] = true
	}
	c.hubs = make([]*watched, len(p.Servers))
	c.openRamps(p, steps)
	tenants := map[string]ident.Tenant{}
	for _, t := range p.Servers[0].Config.Tenants {
		tenants[t.Name] = t.ID
	}
	for i := range p.Flows {
		f := &p.Flows[i]
		c.asks = append(c.asks, ask{
			client: c.siteOf(f.Client), server: c.siteOf(f.Server), tenant: tenants[c.nodes[f.Client].Account],
			public: c.nodes[f.Server].Kind == plan.KindOrigin, of: f,
		})
	}
	c.clean = len(steps)+len(p.Faults) == 0
	for i := range p.Links {
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			x := p.Links[i].Impair(d)
			c.clean = c.clean && x.Loss == 0 && x.Duplicate == 0 && x.Rate == 0 && x.Reorder == 0
		}
	}
}

func (c *checker) openRamps(p *plan.Plan, steps []Step) {
	for _, o := range p.Servers[0].Config.OnRamps {
		c.ramps[o.ID] = &place{tenant: o.Tenant, ramp: o}
	}
	set := func(id ident.OnRamp, site string) {
		c.ramps[id].site = site
		if _, known := c.always[site]; !known {
			c.always[site] = true
		}
		touched := slices.ContainsFunc(steps, func(s Step) bool { return s.Do == DoARR && s.On == c.ramps[id].ramp.Name })
		c.always[site] = c.always[site] && c.ramps[id].ramp.ARR && !touched
	}
	for _, b := range p.Branches {
		for _, t := range b.Tunnels {
			site := b.Site
			if site == "" {
				site = b.Node
			}
			set(t.OnRamp, site)
			c.outer[t.Local] = t.OnRamp
		}
	}
	for _, x := range p.Interconnects {
		for i := range p.Nodes {
			if n := &p.Nodes[i]; n.Site != "" && len(x.Name) > len(n.Site) && x.Name[:len(n.Site)+1] == n.Site+"." {
				set(x.OnRamp, n.Site)
				break
			}
		}
	}
}

// siteOf is the site of a node; a node without one is its own.
func (c *checker) siteOf(node string) string {
	if n := c.nodes[node]; n != nil && n.Site != "" {
		return n.Site
	}
	return node
}

// attached is where everything is, in the order of on-ramps.
func (c *checker) attached() []hub.Attachment {
	var all []hub.Attachment
	for _, a := range c.where {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b hub.Attachment) int { return int(a.OnRamp) - int(b.OnRamp) })
	return all
}

// lost forgets what a server knew: it is about to start anew.
func (c *checker) lost(server int) {
	for at, b := range c.live {
		if b.server == server {
			delete(c.live, at)
			c.over[at] = b
			c.strayed[b.mark] = true
		}
	}
	for at, h := range c.held {
		if h.b.server == server {
			delete(c.held, at)
		}
	}
	for m := range c.byMark {
		if m.server == server {
			delete(c.byMark, m)
		}
	}
}

// configured says that a server is about to work by another configuration.
func (c *checker) configured(server int, to hub.Config) {
	c.truth[server], c.forced = to, true
}

// settled says that it does.
func (c *checker) settled() { c.forced = false }

// arrived judges a packet that comes to a host.
func (c *checker) arrived(node string, mark uint32) {
	if !c.sure(mark) || c.broken != nil {
		return
	}
	f, a := &c.plan.Flows[mark-1], &c.asks[mark-1]
	if node == f.Client || node == f.Server {
		return
	}
	switch n := c.nodes[node]; {
	case n.Kind == plan.KindOrigin:
		c.failf(RuleHome, "%s got a packet of %s#%d, which is between %s and %s", node, f.Traffic, f.N, f.Client, f.Server)
	case n.Account != c.nodes[f.Client].Account:
		c.failf(RuleTenants, "%s of account %s got a packet of %s#%d, which is account %s's", node, n.Account, f.Traffic, f.N, c.nodes[f.Client].Account)
	case a.public && c.always[a.client]:
		c.failf(RuleHome, "%s got a packet of %s#%d, which %s asked for", node, f.Traffic, f.N, f.Client)
	default:
		c.strayed[mark] = true
	}
}

// end judges what is left when a run is over.
func (c *checker) end() *Violation {
	c.forced, c.closing = true, true
	c.world.Close()
	for _, b := range slices.SortedFunc(maps.Values(c.live), func(a, b *book) int {
		return cmp.Or(a.server-b.server, cmp.Compare(a.s.Start, b.s.Start), bytes.Compare(a.s.ID[:], b.s.ID[:]))
	}) {
		c.failf(RuleSession, "the session %s of server %d has no end", tuple(&b.s), b.server+1)
	}
	if c.broken == nil && !c.mixed {
		c.delivered()
	}
	return c.broken
}

// delivered compares what hosts saw with what sessions say, for flows that were ok
// and had one session.
func (c *checker) delivered() {
	for i, o := range c.world.Outcomes() {
		f, all := &c.plan.Flows[i], c.ended[uint32(i+1)]
		if o.Result != "ok" || len(all) != 1 || !c.asks[i].public {
			continue
		}
		s := &all[0].s
		up, down := uint64(o.Up), uint64(o.Down)
		if f.Proto == plan.TCP {
			up, down = uint64(f.Request), uint64(f.Response)
		}
		exact := s.BytesSent == up && s.BytesReceived == down
		atMost := f.Proto == plan.TCP && s.BytesSent <= up && s.BytesReceived <= down
		if c.clean && !exact || f.Proto == plan.TCP && !exact && !atMost {
			c.failf(RuleBytes, "%s#%d: hosts saw %d and %d bytes, the session of %s says %d and %d", f.Traffic, f.N, up, down, tuple(s), s.BytesSent, s.BytesReceived)
		}
	}
}

// tuple is a session for people.
func tuple(s *hub.Session) string {
	return fmt.Sprintf("%d %v to %v as %v", s.Tuple.Proto, s.Tuple.Src, s.Tuple.Dst, s.Egress)
}

// timeout is how long a session of datagrams lives after its client's last one.
func timeout(c *hub.Config, s *hub.Session) time.Duration {
	t := c.Timers
	switch {
	case s.Tuple.Proto == 17 && s.Tuple.Dst.Port() == 53:
		return t.DNS
	case s.Tuple.Proto == 17:
		return t.UDP
	}
	return t.ICMP
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
