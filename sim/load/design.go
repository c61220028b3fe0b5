package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/route"
	"github.com/homeward-lab/homeward/dataplane/steer"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Ways to bring a reply home to one of many sites, whose prefixes may be the same.
// All share one dataplane: flows leave by egress addresses, so every one of them
// keeps an entry for each flow; they differ in what a reply's way is found by.
const (
	// designRoutes looks the client's address up in one table.
	designRoutes = "routes"
	// designVRF has a table for each site, which the entry names.
	designVRF = "vrf_per_site"
	// designNAT gives each site's router a prefix of its own to translate to.
	designNAT = "nat_per_site"
	// designARR has the on-ramp in the entry.
	designARR = "arr"
)

// DesignNames are the designs that an outcome compares.
func DesignNames() []string { return []string{designRoutes, designVRF, designNAT, designARR} }

// branch is a site with a client.
type branch struct {
	*spec.Site
	client netip.Addr
	ramp   ident.OnRamp
}

// branches are the sites that have hosts.
func (m *Model) branches() (all []branch) {
	for i := range m.s.Sites {
		s := &m.s.Sites[i]
		for _, name := range sortedKeys(s.Hosts) {
			if a := s.Hosts[name].Address; a.Is4() {
				all = append(all, branch{s, a, ident.OnRamp(len(all) + 1)})
				break
			}
		}
	}
	return all
}

// Flows of each site that designs are played with.
const designFlows = 16

// designs plays them all with the same flows.
func (r *run) designs() error {
	sites := r.m.branches()
	if len(sites) < 2 {
		return nil
	}
	for _, name := range DesignNames() {
		d, err := r.design(name, sites)
		if err != nil {
			return err
		}
		r.out.Designs = append(r.out.Designs, d)
		for measure, v := range map[string]float64{
			"misdelivered": d.Misdelivered, "flow_state": d.FlowState, "site_state": d.SiteState, "objects": float64(d.Objects),
			"one_more": float64(d.OneMore), "restart_lost": d.RestartLost, "failover_lost": d.FailoverLost,
		} {
			r.set(measure+"."+name, v)
			for _, note := range d.Notes {
				r.because(measure+"."+name, "%s", note)
			}
		}
	}
	return nil
}

// table is the routes of a design: what a person writes, and how many for a site.
func (r *run) table(name string, sites []branch) (t *route.Table, routes int, notes []string, err error) {
	var all []route.Route
	equal := map[netip.Prefix]int{}
	for i, s := range sites {
		one := route.Route{ID: fmt.Sprint(i), Tenant: 1, Prefix: s.Lan.Masked(), NextHop: s.ramp, Priority: 100, VNet: 1}
		switch name {
		case designVRF:
			one.VNet = ident.VNet(i + 1)
		case designNAT:
			one.Prefix = own(i)
		}
		equal[one.Prefix]++
		if name == designRoutes && equal[one.Prefix] > route.MaxEqual {
			continue
		}
		all = append(all, one)
	}
	if n := len(sites) - len(all); n > 0 {
		notes = append(notes, fmt.Sprintf("%d sites have no route: more than %d equal ones are refused", n, route.MaxEqual))
	}
	if name == designARR {
		return nil, 0, nil, nil
	}
	t, err = route.New(r.m.hash(), all)
	return t, len(all), notes, err
}

// own is the prefix that a site's router translates to.
func own(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|1<<23+uint32(i)<<8)
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

// design plays one.
func (r *run) design(name string, sites []branch) (Design, error) {
	t, routes, notes, err := r.table(name, sites)
	if err != nil {
		return Design{}, err
	}
	servers := max(r.m.centers[0].Servers, 1)
	flows, homes, wrong, err := r.replies(name, sites, t, servers)
	if err != nil {
		return Design{}, err
	}
	n := float64(designFlows * len(sites))
	most := 0
	for _, h := range homes {
		most = max(most, h)
	}
	d := Design{
		Name: name, Misdelivered: float64(wrong) / n, FlowState: float64(flows) / n, SiteState: float64(routes) / float64(len(sites)),
		Objects: len(sites) + routes, OneMore: 1, RestartLost: float64(most) / n, Notes: notes,
	}
	grouped := true
	for _, s := range sites {
		grouped = grouped && s.Group != nil
	}
	if routes > 0 {
		d.OneMore++
	}
	switch name {
	case designVRF:
		d.Objects, d.OneMore, d.SiteState = d.Objects+len(sites), d.OneMore+1, d.SiteState+1
		d.Notes = append(d.Notes, "a table, a route and an on-ramp for each site; the entry of a flow names the table")
	case designNAT:
		d.Objects, d.OneMore, d.FlowState = d.Objects+len(sites), d.OneMore+1, 2*d.FlowState
		d.FailoverLost = 0
		d.Notes = append(d.Notes, "a prefix, a translation and an on-ramp for each site, whose router keeps an entry of each flow too")
	case designARR:
		if !grouped {
			d.FailoverLost = 1
			d.Notes = append(d.Notes, "the on-ramp is in a flow's key: where on-ramps are in no group, a flow that moves to another is new (ARR-12)")
		}
		d.Notes = append(d.Notes, "an on-ramp for each site and nothing else; the entry of a flow has it")
	default:
		d.Notes = append(d.Notes, "an on-ramp and a route for each site; sites with one prefix share their replies")
	}
	d.Notes = append(d.Notes, fmt.Sprintf("a server that restarts loses the flows whose home it is: %d of %d at the most", most, int(n)))
	return d, nil
}

var errTableFull = errors.New("the flows of a design find no ports")

// replies sends each flow out and looks where its reply goes: entries, flows by home
// server, and how many go to another site than asked.
func (r *run) replies(name string, sites []branch, t *route.Table, servers int) (entries int, homes []int, wrong int, err error) {
	seed := r.m.hash()
	table := flow.New(seed, 1<<24, flow.NewTimeouts(time.Hour, time.Hour, time.Hour, time.Hour, time.Hour, time.Hour, time.Hour))
	directory, err := division(1, 1+designFlows*len(sites)/egress.SliceSize, 0, 1)
	if err != nil {
		return 0, nil, 0, err
	}
	ports := egress.NewAllocator(seed, directory, 1)
	g := &Group{Servers: servers, Hash: seed}
	buckets := g.home().table
	homes = make([]int, servers)
	web := remote()
	for i, s := range sites {
		draws := newStream(r.seed, fmt.Sprintf("%s.%d", s.ID, s.Instance))
		client := s.client
		vnet := ident.VNet(1)
		switch name {
		case designNAT:
			client = own(i).Addr().Next()
		case designVRF:
			vnet = ident.VNet(i + 1)
		}
		for n := range uint64(designFlows) {
			x, _ := draws.words(forFlow, n)
			m := pkt.Meta{Src: client, SrcPort: uint16(1024 + x%60_000), Dst: web.Addr(), DstPort: web.Port(), Proto: pkt.ProtoTCP}
			key := flow.ForwardKey(1, ident.Scope(s.ramp), vnet, &m)
			out, ok := ports.Allocate(table, &key, egress.From{}, egress.Pool)
			if !ok {
				return 0, nil, 0, errTableFull
			}
			if _, known := table.Forward(&key, flow.Hash(seed, &key)); known == nil {
				table.Insert(0, key, out)
				ports.Took(key.Proto, out, web)
				homes[home(buckets, seed, &key)]++
			} else {
				out = known.Egress()
			}
			back := flow.ReverseKey(key.Proto, out, web)
			_, f := table.Reverse(&back, flow.Hash(seed, &back))
			if f == nil || s.ramp != wayBack(name, t, f) {
				wrong++
			}
		}
	}
	return table.Len(), homes, wrong, nil
}

func home(t *steer.Table, seed uint64, key *flow.Key) int {
	return int(t.Home(flow.Hash(seed, key))) - 1
}

// wayBack is the on-ramp that the reply of a flow takes; 0 is none.
func wayBack(name string, t *route.Table, f *flow.Flow) ident.OnRamp {
	if name == designARR {
		return ident.OnRamp(f.Key.Scope)
	}
	client, web := f.Key.Source(), f.Key.Destination()
	d := t.Lookup(f.Key.Tenant, f.Key.VNet, client.Addr(), t.Hash(web, client, f.Key.Proto), nil)
	if d.Verdict != route.Via {
		return 0
	}
	return d.NextHop
}
