package swarm

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// Draw makes the case of a seed. Chance prefers the edges of what the network is
// about: overlapping sites that send the same packets, ports at the ends of slices,
// pools with no room, timers that run out on the way.
func Draw(seed uint64) *Case {
	d := &drawer{
		Rand: rand.New(rand.NewPCG(seed, 1)),
		s:    &spec.Scenario{Version: 1, Name: "swarm", Title: fmt.Sprintf("Swarm case %d", seed), Seed: seed | 1},
	}
	d.datacenters()
	d.accounts()
	d.sites()
	d.connected()
	d.internet()
	d.links()
	d.timers()
	d.traffic()
	d.faults()
	steps := d.steps()
	// With chance of its own: whatever else a seed stands for stays the same.
	d.Rand = rand.New(rand.NewPCG(seed, 2))
	d.congestion()
	return &Case{Seed: seed, Scenario: d.s, Steps: steps}
}

// drawer draws one case.
type drawer struct {
	*rand.Rand
	s *spec.Scenario
	// servers and ramps by name; labs are the accounts with a second network.
	servers, ramps []string
	labs           map[string]bool
	used           map[string]bool // selector and port of fixed source ports
}

// chance is true in so many of a hundred cases.
func (d *drawer) chance(percent int) bool { return d.IntN(100) < percent }

// pick is one of several.
func pick[T any](d *drawer, of ...T) T { return of[d.IntN(len(of))] }

func ms(n int) unit.Duration { return unit.Duration(time.Duration(n) * time.Millisecond) }

func (d *drawer) near() spec.Near {
	if d.chance(15) {
		return spec.Near{{Code: pick(d, "syd", "jfk", "lhr"), Share: 1}}
	}
	return spec.Near{{Code: d.s.Datacenters[d.IntN(len(d.s.Datacenters))].ID, Share: 1}}
}

func (d *drawer) datacenters() {
	codes := []string{"lhr", "cdg", "nrt", "fra"}
	d.Shuffle(len(codes), func(i, j int) { codes[i], codes[j] = codes[j], codes[i] })
	for i := range 1 + d.IntN(3) {
		dc := spec.Datacenter{ID: codes[i], Servers: 1 + d.IntN(3), Propagation: pick(d, 0, 0, ms(50), ms(500))}
		e := spec.Egress{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(8 * i)}), pick(d, 32, 32, 31, 30))}
		if d.chance(50) { // slices at the ends and in the middle of the ports
			at := [][]int{{31, 1, 16}, {1, 31, 30}, {15, 16, 31}}[d.IntN(3)]
			e.Slices = map[int]int{}
			for k := range dc.Servers {
				e.Slices[at[k]] = k + 1
			}
		}
		dc.Egress = []spec.Egress{e}
		d.s.Datacenters = append(d.s.Datacenters, dc)
		for k := range dc.Servers {
			d.servers = append(d.servers, fmt.Sprintf("%s.%d", dc.ID, k+1))
		}
	}
}

func (d *drawer) accounts() {
	d.labs = map[string]bool{}
	for _, id := range []string{"red", "blue"}[:1+d.IntN(2)] {
		a := spec.Account{
			ID: id, Orphan: pick(d, "", "reset"), Collision: pick(d, "", "snat"),
			OnExhaustion: pick(d, "", "refuse", "another_address", "another_server"),
		}
		if d.chance(50) {
			a.VNets = []spec.VNet{{ID: "lab", Default: d.chance(20)}}
			d.labs[id] = !a.VNets[0].Default
		}
		if d.chance(20) {
			a.Policies.Network = []spec.Policy{{ID: "no_names", Action: "block", Match: spec.Match{Port: []int{53}}}}
		}
		if d.chance(20) {
			a.Policies.Egress = []spec.Policy{{ID: "any", Action: "default"}}
		}
		d.s.Accounts = append(d.s.Accounts, a)
	}
	if d.chance(15) {
		d.s.Bounds.Flows = pick(d, 4, 8, 16, 32)
	}
}

// account is one of the accounts.
func (d *drawer) account() *spec.Account { return &d.s.Accounts[d.IntN(len(d.s.Accounts))] }

func (d *drawer) sites() {
	for i := range 2 + d.IntN(5) {
		a := d.account()
		s := spec.Site{ID: fmt.Sprintf("s%d", i+1), Account: a.ID, Near: d.near(), Lan: netip.MustParsePrefix("10.0.1.0/24")}
		if d.chance(15) {
			s.Lan = netip.MustParsePrefix("10.0.0.0/16")
		}
		s.Hosts = map[string]spec.Host{"till": {Address: addr("10.0.1.5")}}
		if d.chance(30) {
			s.Hosts["desk"] = spec.Host{Address: addr("10.0.1.6")}
		}
		if d.chance(10) {
			s.Lan = netip.MustParsePrefix("192.168.1.0/24")
			s.Hosts = map[string]spec.Host{"till": {Address: addr("192.168.1.254")}}
		}
		s.OnRamps = []spec.OnRamp{d.ramp("wan")}
		if d.chance(25) {
			s.OnRamps = append(s.OnRamps, d.ramp("alt"))
			if s.OnRamps[0].Type == "gre" && s.OnRamps[1].Type == "gre" && d.chance(70) {
				s.Group = &spec.Group{Primary: "wan", Backups: []string{"alt"}, Repin: pick(d, "", "immediate"), Failback: pick(d, "", "never", "hold-down")}
				s.CPE = &spec.CPE{Select: pick(d, spec.PrimaryBackup, spec.ECMP)}
			}
		}
		for _, o := range s.OnRamps {
			d.ramps = append(d.ramps, s.ID+".1."+o.ID)
			if !o.ARR && d.chance(80) || o.ARR && d.chance(20) {
				a.Routes = append(a.Routes, spec.Route{Prefix: s.Lan, Via: s.ID + ".1." + o.ID, Priority: pick(d, 0, 0, 50)})
			}
		}
		d.s.Sites = append(d.s.Sites, s)
	}
}

func (d *drawer) ramp(id string) spec.OnRamp {
	o := spec.OnRamp{ID: id, Type: pick(d, "gre", "gre", "gre", "interconnect"), ARR: d.chance(85)}
	if o.Type == "gre" && d.chance(40) {
		key := pick(d, uint32(0), 1, d.Uint32(), 1<<32-1)
		o.Key = &key
	}
	if o.Type == "gre" && d.chance(15) {
		o.MTU = pick(d, 576, 1280, 1400)
	}
	return o
}

func (d *drawer) connected() {
	for i := range d.IntN(3) {
		a := d.account()
		x := spec.Device{ID: fmt.Sprintf("d%d", i+1), Account: a.ID, Near: d.near(), VNet: d.vnet(a)}
		if d.labs[a.ID] && d.chance(30) {
			x.Switch = []spec.Switch{{At: ms(500 + d.IntN(4000)), VNet: d.vnet(a)}}
		}
		d.s.Devices = append(d.s.Devices, x)
	}
	for i := range d.IntN(3) {
		a := d.account()
		c := spec.Connector{
			ID: fmt.Sprintf("c%d", i+1), Account: a.ID, Near: d.near(), VNet: d.vnet(a), Source: pick(d, spec.Translate, spec.Preserve),
			Lan: netip.MustParsePrefix("10.50.0.0/24"), Hosts: map[string]spec.Host{"db": {Address: addr("10.50.0.10")}},
		}
		if len(d.s.Connectors) > 0 {
			if o := &d.s.Connectors[0]; o.Account == c.Account && o.VNet == c.VNet {
				c.Lan = netip.MustParsePrefix("10.51.0.0/24")
				c.Hosts = map[string]spec.Host{"db": {Address: addr("10.51.0.10")}}
			}
		}
		d.s.Connectors = append(d.s.Connectors, c)
	}
}

// vnet is a virtual network of an account: the default one, or the other.
func (d *drawer) vnet(a *spec.Account) string {
	if d.labs[a.ID] && d.chance(50) {
		return "lab"
	}
	return ""
}

func (d *drawer) internet() {
	serve := []string{"http", "echo"}
	d.s.Internet = []spec.InternetHost{{ID: "web", Address: addr("203.0.113.9"), Near: d.near(), Serve: serve}}
	if d.chance(50) {
		d.s.Internet = append(d.s.Internet, spec.InternetHost{ID: "dns", Address: addr("203.0.113.53"), Near: d.near(), Serve: serve})
	}
}

// links impairs them, in three of five cases beyond a delay.
func (d *drawer) links() {
	delay := func(most int) spec.Impairment {
		return spec.Impairment{Delay: spec.Delay{Fixed: ms(d.IntN(most))}}
	}
	access, backbone, internet := delay(20), delay(40), delay(20)
	if d.chance(30) {
		backbone.Delay = spec.Delay{Geo: true}
	}
	if d.chance(60) {
		for _, x := range []*spec.Impairment{&access, &backbone, &internet} {
			d.impair(x)
		}
	}
	d.s.Links = map[string]spec.Impairment{"access": access, "backbone": backbone, "internet": internet}
}

func (d *drawer) impair(x *spec.Impairment) {
	if d.chance(50) {
		x.Loss = pick(d, ratio("0.5%"), ratio("2%"), ratio("10%"))
	}
	if d.chance(30) {
		x.Reorder = pick(d, ratio("1%"), ratio("20%"))
		x.Delay.Fixed = max(x.Delay.Fixed, ms(5))
		x.Delay.Geo = false
	}
	if d.chance(30) {
		x.Duplicate = pick(d, ratio("1%"), ratio("10%"))
	}
	if d.chance(30) && !x.Delay.Geo && x.Delay.Fixed != 0 {
		x.Jitter = x.Delay.Fixed / 2
	}
	if d.chance(20) {
		x.Rate = rate(pick(d, "2Mbit", "20Mbit"))
	}
}

// congestion has links mark what waits, in a part of the cases, and TCP ask for it.
func (d *drawer) congestion() {
	if d.chance(50) {
		return
	}
	d.s.TCPECN = pick(d, spec.ECNRequest, spec.ECNRequest, spec.ECNRequest, "", spec.ECNOff)
	for _, l := range []struct{ name, slow, fast string }{{"access", "2Mbit", "5Mbit"}, {"backbone", "5Mbit", "20Mbit"}, {"internet", "5Mbit", "20Mbit"}} {
		if x := d.s.Links[l.name]; d.chance(60) {
			if x.Rate == 0 {
				x.Rate = rate(pick(d, l.slow, l.fast))
			}
			x.CEThreshold = pick(d, ms(1), ms(5), ms(20))
			d.s.Links[l.name] = x
		}
	}
}

func ratio(s string) unit.Ratio {
	r, err := unit.ParseRatio(s)
	if err != nil {
		panic(err) // a constant of this package
	}
	return r
}

func rate(s string) unit.BitRate {
	r, err := unit.ParseBitRate(s)
	if err != nil {
		panic(err) // a constant of this package
	}
	return r
}

// timers are so short that they run out within a run, and longer than a way
// around the world.
func (d *drawer) timers() {
	d.s.Timers = spec.Timers{
		TCPConnect: ms(3000), TCPEstablished: ms(6000), TCPTransitory: ms(2000),
		UDP: ms(pick(d, 1000, 2000)), DNS: ms(700), ICMP: ms(pick(d, 800, 1000)), PortHold: ms(pick(d, 2000, 4000)),
	}
}
