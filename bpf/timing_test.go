package bpf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// whole makes every slice of all egress addresses the first server's, n of them.
func whole(n int, owner ident.Server) func(c *hub.Config) {
	return func(c *hub.Config) {
		a := c.Egress[0]
		c.Egress = nil
		for i := range n {
			a.Addr = netip.AddrFrom4([4]byte{198, 51, 101, byte(i)})
			for k := 1; k < len(a.Owner); k++ {
				a.Owner[k] = owner
			}
			c.Egress = append(c.Egress, a)
		}
	}
}

// fill installs n flows to one remote end, over all ports of the addresses.
func (p plane) fill(t testing.TB, n, addresses int) {
	t.Helper()
	f := udpFlow(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}, egressPort)
	for i := range n {
		f.Key.Scope = hubSite(1).Scope
		f.Key.SrcPort, f.Key.Src[15] = uint16(i), byte(i>>16)
		f.Egress = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 101, byte(i % addresses)}), uint16(2048+i/addresses))
		f.Progress = flow.Progress{Deadline: vt.Never}
		if err := p.Install(f); err != nil {
			t.Fatalf("flow %d: %v", i, err)
		}
	}
}

// Each piece that can be timed does what it is timed for.
func TestTimer(t *testing.T) {
	const addresses = 1
	p := newPlane(t, hubtest.Options{Datacenters: 1, Servers: 2, Edit: whole(addresses, 1)}, Spec{PortSlots: 65536, Flows: 1 << 16})
	p.fill(t, addresses*(65536-2048), addresses)
	reply := ethernet(testMAC, testGateway, etherIPv4, hubtest.IP{Src: hubtest.Web, Dst: netip.MustParseAddrPort("198.51.101.0:2048")}.UDP())
	timer, err := p.NewTimer(reply, addresses)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer timer.Close()
	timer.repeat = 100
	for name, time := range map[string]func([]byte) (time.Duration, error){"replies": timer.Replies, "decision": timer.Decision} {
		if took, err := time(reply); err != nil {
			t.Errorf("%s: %v, %v", name, took, err)
		}
	}
	if _, err := timer.Steering(reply); err == nil {
		t.Error("a reply that is at home here was steered")
	}
	next := p.spec.Config
	whole(addresses, 2)(&next)
	if err := p.Configure(next); err != nil {
		t.Fatal(err)
	}
	if _, err := timer.Steering(reply); err != nil {
		t.Error(err)
	}
	if _, err := timer.Replies(reply); err == nil {
		t.Error("replies that are at home elsewhere were decided")
	}
}

// BenchmarkReplies: what a reply takes among so many flows.
func BenchmarkReplies(b *testing.B) {
	for _, n := range []struct {
		name             string
		flows, addresses int
	}{{"63k", 63488, 1}, {"1M", 16 * 63488, 16}} {
		b.Run(n.name, func(b *testing.B) {
			p := plane{Dataplane: mustPlane(b, n.addresses, 1)}
			start := time.Now()
			p.fill(b, n.flows, n.addresses)
			install := time.Since(start) / time.Duration(n.flows)
			for b.Loop() {
			}
			b.ReportMetric(float64(install.Nanoseconds()), "ns/install")
			reply := ethernet(testMAC, testGateway, etherIPv4, hubtest.IP{Src: hubtest.Web, Dst: netip.MustParseAddrPort("198.51.101.0:2048")}.UDP())
			timer, err := p.NewTimer(reply, n.addresses)
			if err != nil {
				b.Fatal(err)
			}
			defer timer.Close()
			for name, f := range map[string]func([]byte) (time.Duration, error){"any": timer.Replies, "one": timer.Decision} {
				took, err := f(reply)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(took.Nanoseconds()), "ns/"+name)
			}
		})
	}
}

// BenchmarkSteering: what it takes to hand a reply over.
func BenchmarkSteering(b *testing.B) {
	p := plane{Dataplane: mustPlane(b, 1, 2)}
	reply := ethernet(testMAC, testGateway, etherIPv4, hubtest.IP{Src: hubtest.Web, Dst: netip.MustParseAddrPort("198.51.101.0:2048")}.UDP())
	timer, err := p.NewTimer(reply, 1)
	if err != nil {
		b.Fatal(err)
	}
	defer timer.Close()
	took, err := timer.Steering(reply)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
	}
	b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
}

func mustPlane(b *testing.B, addresses int, owner ident.Server) *Dataplane {
	b.Helper()
	o := hubtest.Options{Datacenters: 1, Servers: 2, ARR: hubtest.All, Edit: func(c *hub.Config) {
		c.Trace = false
		whole(addresses, owner)(c)
	}}
	d, err := NewDataplane(Spec{Config: o.Config(), MAC: testMAC, Gateway: testGateway, PortSlots: 65536, Flows: 1 << 20})
	if err != nil {
		b.Fatalf("%+v", err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}
