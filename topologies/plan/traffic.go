package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const (
	// Source ports are drawn from the kernel's own default range, so that a
	// drawn flow looks like any client's.
	portFirst = 32768
	portLast  = 60999
	// maxFlows of one plan.
	maxFlows = 1_000_000
	// maxDatagram is the largest UDP payload over IPv4.
	maxDatagram = 65507
)

// binding is what a client's sockets must not share.
type binding struct {
	client string
	proto  Proto
	port   uint16
	dst    netip.AddrPort
}

// bindings knows who uses which source port. Ports are unique on a client
// where they can be, and per destination where the range is used up.
type bindings struct {
	exact  map[binding]string // → traffic
	client map[binding]int    // dst unset → flows
	drawn  map[binding]int    // port and dst unset → ports in use
	toward map[binding]int    // port unset → ports in use toward dst
}

func newBindings() *bindings {
	return &bindings{map[binding]string{}, map[binding]int{}, map[binding]int{}, map[binding]int{}}
}

func (u *bindings) take(k binding, traffic string) {
	if u.exact[k] == "" && k.port >= portFirst && k.port <= portLast {
		u.toward[binding{k.client, k.proto, 0, k.dst}]++
	}
	u.exact[k] = traffic
	k.dst = netip.AddrPort{}
	if u.client[k]++; u.client[k] == 1 && k.port >= portFirst && k.port <= portLast {
		k.port = 0
		u.drawn[k]++
	}
}

// free says whether a flow may be drawn onto k.
func (u *bindings) free(k binding) bool {
	if u.exact[k] != "" {
		return false
	}
	k.dst = netip.AddrPort{}
	all := k
	all.port = 0
	return u.client[k] == 0 || u.drawn[all] > portLast-portFirst
}

// traffic expands the file's traffic into flows. Fixed ports are taken before
// any is drawn.
func (b *builder) traffic() {
	used := newBindings()
	nonces := map[uint64]bool{0: true}
	where := map[string]string{}
	for i := range b.s.Traffic {
		t := b.s.Traffic[i].Filled()
		where[t.ID] = at("traffic", i)
		b.p.Traffic = append(b.p.Traffic, t.ID)
		b.expand(&t, at("traffic", i))
	}
	b.workload(where)
	for i := range b.p.Flows {
		f := &b.p.Flows[i]
		if f.Src.Port() == 0 {
			continue
		}
		k := binding{f.Client, f.Proto, f.Src.Port(), f.Dst}
		if old := used.exact[k]; old != "" {
			b.fail(where[f.Traffic], "two flows from %s: %s %v to %v is already a flow of %s", f.Client, f.Proto, f.Src, f.Dst, old)
		}
		used.take(k, f.Traffic)
	}
	for i := range b.p.Flows {
		f := &b.p.Flows[i]
		if f.Src.Port() == 0 {
			f.Src = b.draw(used, "port", f, f.Proto, f.Src.Addr(), f.Dst, where[f.Traffic])
		}
		if q := f.Query; q != nil {
			q.Src = b.draw(used, "query", f, UDP, q.Src.Addr(), q.Resolver, where[f.Traffic])
		}
		for f.Nonce = b.random("nonce", f.Traffic, f.Client, f.N); nonces[f.Nonce]; {
			f.Nonce++
		}
		nonces[f.Nonce] = true
	}
	b.takeTurns()
	for i := range b.p.Flows {
		f := &b.p.Flows[i]
		length := f.Start + f.Timeout + f.Hold
		if f.Query != nil {
			length += f.Connect // the answer's
		}
		b.p.Length = max(b.p.Length, length)
	}
	slices.SortStableFunc(b.p.Flows, func(x, y Flow) int {
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Traffic, y.Traffic), cmp.Compare(x.N, y.N))
	})
}

// turn is how long after each other flows start that are one to the network: more
// than a lab is late by.
const turn = 20 * time.Millisecond

// takeTurns has flows that would start at one moment, and that are one flow to
// the network, start one after the other in the file's order. Where the flow key
// leaves the on-ramp out, flows of the same addresses and ports are the first one's:
// which is first would be chance, and all that is compared follows from it.
func (b *builder) takeTurns() {
	type look struct {
		account  string
		proto    Proto
		src, dst netip.AddrPort
		start    time.Duration
	}
	turns := map[look]time.Duration{}
	for i := range b.p.Flows {
		f := &b.p.Flows[i]
		name := b.nodes[f.Client].Account
		if k := slices.IndexFunc(b.accounts, func(a account) bool { return a.name == name }); k < 0 || hub.FlowKey(b.accounts[k].FlowKey) != hub.FlowKeyTuple {
			continue
		}
		k := look{name, f.Proto, f.Src, f.Dst, f.Start}
		f.Start += turns[k]
		turns[k] += turn
	}
}

// draw gives a socket of f's client toward dst a source port: the first free one
// from a place that the purpose, the flow's name and the seed decide.
func (b *builder) draw(used *bindings, purpose string, f *Flow, proto Proto, src netip.Addr, dst netip.AddrPort, path string) netip.AddrPort {
	const size = portLast - portFirst + 1
	// Without this, each flow too many would search the whole range in vain.
	full := used.toward[binding{f.Client, proto, 0, dst}] >= size
	start := b.random(purpose, f.Traffic, f.Client, f.N) % size
	for i := uint64(0); i < size && !full; i++ {
		k := binding{f.Client, proto, uint16(portFirst + (start+i)%size), dst}
		if used.free(k) {
			used.take(k, f.Traffic)
			return netip.AddrPortFrom(src, k.port)
		}
	}
	b.fail(path+".flows", "no source port left toward %v: want at most %d flows of each client", dst, size)
	return netip.AddrPort{}
}

// random is 64 bits that depend on the seed, the purpose and the flow alone, so
// that a flow keeps its values when others come and go.
func (b *builder) random(purpose, traffic, client string, n int) uint64 {
	return random(b.p.Seed, purpose, traffic, client, strconv.Itoa(n))
}

// random is 64 bits that depend on the seed and the parts alone.
func random(seed uint64, parts ...string) uint64 {
	const prime = 1099511628211 // FNV-1a
	h := uint64(14695981039346656037)
	for _, part := range append([]string{strconv.FormatUint(seed, 16)}, parts...) {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
		h *= prime // a part's end
	}
	// FNV leaves the high bits weak: finish as MurmurHash3 does.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// expand makes the flows of one traffic: for each host, Flows rounds over all
// targets, so that a rate is spread evenly over them.
func (b *builder) expand(t *spec.Traffic, path string) {
	proto, port, ok := b.protocol(t, path)
	from := b.selected(b.hosts, path+".from", t.From, "host of a site or connector and no device")
	to := b.selected(slices.Concat(b.origin, b.hosts), path+".to", t.To, "host")
	count := t.Flows
	switch {
	case count < 0 || count > maxFlows || len(from)*len(to)*count+len(b.p.Flows) > maxFlows:
		b.fail(path+".flows", "%d flows from %d hosts to %d targets: want at most %d in all", t.Flows, len(from), len(to), maxFlows)
		return
	case t.Rate < 0:
		b.fail(path+".rate", "%v flows per second: want more than 0", t.Rate)
		return
	case !ok:
		return
	}
	first := t.SourcePort
	if proto == ICMP {
		first = t.ICMP
	}
	if first < 0 || first > 0 && first+count-1 > 65535 {
		b.fail(path+".source_port", "%d flows from %d on: want numbers from 1 to 65535", count, first)
		return
	}
	n := 0
	for host, c := range from {
		if c.branch.nat.IsValid() {
			b.fail(path+".from", "%s is behind %s, which translates sources, and can open no flows: want source: preserve there", c.node.ID, c.branch.Site)
			continue
		}
		i := 0
		for k := range count {
			for _, d := range to {
				if c == d {
					continue
				}
				n++
				f := b.flow(t, c, b.replicaNear(d, c.node.Datacenter))
				f.N, f.Proto, f.Dst = n, proto, netip.AddrPortFrom(d.addr, port)
				f.Query = b.query(t, path, c, d)
				if first > 0 {
					f.Src = netip.AddrPortFrom(c.addr, uint16(first+k))
				}
				f.Start += time.Duration(host) * t.Stagger.D()
				if t.Rate > 0 {
					f.Start += time.Duration(float64(i) / t.Rate * float64(time.Second))
				}
				i++
				b.p.Flows = append(b.p.Flows, f)
			}
		}
		b.reachable(c, to, path)
		b.oneFamily(c, to, path)
	}
	if n == 0 && len(from)*len(to) > 0 {
		b.fail(path+".to", "%q selects only the host that asks", t.To)
	}
}

// reachable refuses a target that a client takes for a neighbour: a packet to
// an address in the client's own LAN never leaves the site.
func (b *builder) reachable(c *machine, to []*machine, path string) {
	lan := c.branch.lan
	for _, d := range to {
		if d.branch != c.branch && lan.Contains(d.addr) {
			b.fail(path+".to", "%s at %v is inside %v, the LAN of %s: packets to it would never leave the site", d.node.ID, d.addr, lan, c.node.ID)
			return
		}
	}
}

// flow is a flow of t with everything that its number does not change.
func (b *builder) flow(t *spec.Traffic, c, d *machine) Flow {
	f := Flow{
		Traffic: t.ID, Client: c.node.ID, Server: d.node.ID, Src: netip.AddrPortFrom(c.addr, 0),
		Start: t.Start.D(), Request: t.Request, Response: t.Response, Connect: t.Connect.D(), Timeout: t.Timeout.D(),
		Close: t.Close, Hold: t.Hold.D(), Ingress: c.node.Datacenter,
	}
	if len(c.branch.ways) > 0 && d.branch != c.branch {
		f.OnRamp = c.branch.ways[0].name
	}
	if t.TCP == 0 {
		f.Packets, f.Interval = t.Packets, t.Interval.D()
	}
	return f
}

// protocol is the one protocol of a traffic, and its destination port.
func (b *builder) protocol(t *spec.Traffic, path string) (Proto, uint16, bool) {
	given := 0
	for _, v := range []int{t.TCP, t.UDP, t.ICMP} {
		if v != 0 {
			given++
		}
		if v < 0 || v > 65535 {
			b.fail(path, "%d: want a number from 1 to 65535", v)
			return "", 0, false
		}
	}
	if given != 1 {
		b.fail(path, "want exactly one of tcp, udp and icmp, have %d", given)
		return "", 0, false
	}
	if t.TCP == 0 && max(t.Request, t.Response) > unit.Bytes(maxDatagram) {
		b.fail(path+".request", "%v: a datagram holds at most %d bytes", t.Request, maxDatagram)
		return "", 0, false
	}
	switch {
	case t.TCP != 0:
		return TCP, uint16(t.TCP), true
	case t.UDP != 0:
		return UDP, uint16(t.UDP), true
	}
	return ICMP, 0, true
}

// selected are the machines that a selector names.
func (b *builder) selected(all []*machine, path, selector, what string) []*machine {
	var found []*machine
	for _, m := range all {
		switch {
		case m.replica && m.node.Datacenter != b.dcs[0].Name: // one stands for all of them
		case spec.Matches(selector, m.logical()):
			found = append(found, m)
		}
	}
	if len(found) == 0 && !b.unplanned(selector) {
		b.fail(path, "%q selects no %s", selector, what)
	}
	return found
}

// services are what origins listen on: the standard port of what they serve
// and every port that traffic to them names. A site's host serves what traffic
// to it needs.
func (b *builder) services() {
	type key struct {
		node string
		p    Proto
	}
	named := map[key][]uint16{}
	for _, f := range b.p.Flows {
		servers := []string{f.Server}
		if f.Query != nil {
			servers = nil
			for _, t := range f.Query.Targets {
				servers = append(servers, t.Node)
			}
		}
		for _, server := range servers {
			k := key{cmp.Or(b.nodes[server].Replica, server), f.Proto} // any replica may be reached
			if !slices.Contains(named[k], f.Dst.Port()) {
				named[k] = append(named[k], f.Dst.Port())
			}
		}
	}
	serve := func(m *machine, kind string, p Proto, ports ...uint16) {
		ports = append(ports, named[key{m.logical(), p}]...)
		slices.Sort(ports)
		if ports = slices.Compact(ports); len(ports) > 0 {
			svc := Service{Node: m.node.ID, Kind: kind, Address: m.addr, Ports: ports}
			if m.spec != nil {
				svc.Allow = b.answered(m.spec, b.nodes[m.node.ID].path)
			}
			b.p.Services = append(b.p.Services, svc)
		}
	}
	for _, m := range b.origin {
		if slices.Contains(m.spec.Serve, "http") {
			serve(m, "http", TCP, 80)
		}
		if slices.Contains(m.spec.Serve, "echo") {
			serve(m, "echo", UDP, 7)
		}
	}
	b.nameServices()
	for _, m := range b.hosts {
		serve(m, "http", TCP)
		serve(m, "echo", UDP)
	}
}
