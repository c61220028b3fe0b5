package swarm

import (
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// traffic is the same packets from every site, ordinary flows, and those of
// devices and private networks.
func (d *drawer) traffic() {
	d.used = map[string]bool{}
	const tills = "*.*.till"
	if d.chance(80) {
		d.add(spec.Traffic{From: tills, To: "web", TCP: pick(d, 443, 80, 65535), SourcePort: d.edge(), Start: ms(d.IntN(500))})
	}
	if d.chance(80) {
		d.add(spec.Traffic{From: tills, To: "web", UDP: pick(d, 53, 7, 65535), SourcePort: d.edge()})
	}
	if d.chance(50) {
		d.add(spec.Traffic{From: tills, To: "web", ICMP: pick(d, 1, 7, 2048, 65535)})
	}
	// Many short ones, one after the other: ports are wanted again soon.
	if d.chance(60) {
		d.add(spec.Traffic{From: tills, To: "web", TCP: 8080, Flows: 10 + d.IntN(30), Rate: float64(10 + d.IntN(40)), Response: 200})
	}
	if d.chance(30) {
		d.add(spec.Traffic{From: tills, To: "*", UDP: 53, Flows: 1 + d.IntN(10)})
	}
	// Slower than the timer: each packet is a session, or the last one's.
	if d.chance(40) {
		d.add(spec.Traffic{From: tills, To: "web", UDP: 9, SourcePort: d.edge(), Packets: 3, Interval: ms(pick(d, 990, 1000, 1010, 2001, 2600))})
	}
	d.private()
	if len(d.s.Traffic) == 0 {
		d.add(spec.Traffic{From: tills, To: "web", UDP: 7, SourcePort: 40000})
	}
}

// private is the traffic of devices and connectors.
func (d *drawer) private() {
	for i := range d.s.Devices {
		x := &d.s.Devices[i]
		id := x.ID + ".1"
		if d.chance(70) {
			d.any(id, "web")
		}
		for k := range d.s.Connectors {
			if c := &d.s.Connectors[k]; c.Account == x.Account && c.VNet == x.VNet && len(x.Switch) == 0 && d.chance(70) {
				d.any(id, c.ID+".db")
			}
		}
		for k := range d.s.Devices {
			if o := &d.s.Devices[k]; k != i && o.Account == x.Account && d.chance(50) {
				d.any(id, o.ID+".1")
			}
		}
	}
	for i := range d.s.Sites {
		s := &d.s.Sites[i]
		from := s.ID + ".1.till"
		for k := range d.s.Connectors {
			if c := &d.s.Connectors[k]; c.Account == s.Account && c.VNet == "" && d.chance(70) {
				d.same(from, c.ID+".db", 5432)
			}
		}
		for k := range d.s.Devices {
			if o := &d.s.Devices[k]; o.Account == s.Account && d.chance(40) {
				d.same(from, o.ID+".1", 5433)
			}
		}
	}
	for i := range d.s.Connectors {
		if c := &d.s.Connectors[i]; c.Source == spec.Preserve && d.chance(60) {
			d.any(c.ID+".db", "web")
		}
	}
}

// same asks from a source port that other sites use too.
func (d *drawer) same(from, to string, port int) {
	t := spec.Traffic{From: from, To: to, SourcePort: 40000}
	if d.chance(50) {
		t.TCP = port
	} else {
		t.UDP = port
	}
	d.add(t)
}

// any asks in any way.
func (d *drawer) any(from, to string) {
	t := spec.Traffic{From: from, To: to, Flows: 1 + d.IntN(3), Start: ms(d.IntN(3000))}
	switch d.IntN(3) {
	case 0:
		t.TCP = 443
	case 1:
		t.UDP = 7
	default:
		t.ICMP = 100
	}
	d.add(t)
}

// edge is a source port, often one at the end of a slice.
func (d *drawer) edge() int {
	port := pick(d, 1, 2047, 2048, 4095, 4096, 30719, 32768, 40000, 63488, 65535, 1+d.IntN(65535))
	for d.used[fmt.Sprint(port)] {
		port = 1 + port%65535
	}
	d.used[fmt.Sprint(port)] = true
	return port
}

// add fills in sizes and bounds.
func (d *drawer) add(t spec.Traffic) {
	t.ID = fmt.Sprintf("t%d", len(d.s.Traffic)+1)
	t.Connect, t.Timeout = ms(2000), ms(6000)
	if t.TCP != 0 {
		t.Request = pick(d, unit.Bytes(1), 100, 1024, 20000)
		if t.Response == 0 {
			t.Response = pick(d, unit.Bytes(1), 1000, 1436, 65536, 200000)
		}
		t.Close = pick(d, "", "server")
		if d.chance(20) {
			t.Hold = ms(d.IntN(3000))
		}
	} else {
		t.Request = pick(d, unit.Bytes(0), 24, 512, 1400, 1473, 3000)
		if t.Packets == 0 {
			t.Packets = 1 + d.IntN(5)
			t.Interval = pick(d, ms(1), ms(50), ms(300))
		}
		if wait := t.Interval.D() * time.Duration(t.Packets); wait > 5*time.Second {
			t.Timeout = unit.Duration(wait + 3*time.Second)
		}
	}
	d.s.Traffic = append(d.s.Traffic, t)
}

// steps are what goes wrong, in four of five cases.
func (d *drawer) steps() []Step {
	if d.chance(20) {
		return nil
	}
	var all []Step
	for range 1 + d.IntN(6) {
		s := Step{At: time.Duration(d.IntN(6000)) * time.Millisecond, For: time.Duration(1+d.IntN(800)) * time.Millisecond, N: d.Uint64()}
		switch d.IntN(10) {
		case 0:
			s.Do, s.On = DoCut, pick(d, d.ramps...)
		case 1:
			s.Do, s.On = DoCut, pick(d, d.servers...)
		case 2:
			s.Do, s.On = DoRestart, pick(d, d.servers...)
		case 3:
			s.Do, s.On = DoJunk, pick(d, d.servers...)
		case 4:
			s.Do, s.On = pick(d, DoForge, DoForge, DoReplay), pick(d, d.servers...)
		case 5, 6:
			s.Do, s.On = DoARR, pick(d, d.ramps...)
		case 7:
			s.Do, s.On = DoLive, pick(d, d.servers...)
		case 8:
			s.Do, s.On = DoRamp, pick(d, d.ramps...)
		default:
			s.Do, s.On = pick(d, DoRoutes, DoBlocked, DoEpoch, DoEpoch), d.account().ID
		}
		all = append(all, s)
	}
	return all
}

// faults are those that the language has and that leave every server its state and
// configuration: of links, and of announcements.
func (d *drawer) faults() {
	for i := range d.IntN(3) {
		f := spec.Fault{ID: fmt.Sprintf("f%d", i+1), At: ms(200 + d.IntN(5000)), For: ms(100 + d.IntN(2000))}
		switch d.IntN(5) {
		case 0:
			f.Do, f.On, f.Every = spec.Flap, pick(d, d.ramps...), ms(100)
		case 1:
			f.Do, f.On, f.Direction = spec.Blackhole, pick(d, d.ramps...), pick(d, "up", "down")
		case 2:
			f.Do, f.On, f.Impairment = spec.Degrade, pick(d, d.ramps...), &spec.Impairment{Loss: ratio("20%"), Delay: spec.Delay{Fixed: ms(30)}}
		case 3:
			f.Do, f.On, f.Address = spec.Withdraw, d.s.Datacenters[0].ID, spec.TunnelAddress
		default:
			f.Do, f.On = spec.Partition, d.s.Datacenters[0].ID
		}
		d.s.Faults = append(d.s.Faults, f)
	}
}
