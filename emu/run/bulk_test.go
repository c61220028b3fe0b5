package run_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/host"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// bulk is three branches in one datacenter that download at once; %s is the
// LAN of each: the same one for all, or one each for plain routing.
const bulk = `version: 1
name: bulk
seed: 7
datacenters: [{id: lhr, servers: 2, egress: [198.51.100.0/30]}]
sites:
  - {id: a, near: lhr, lan: %s, hosts: {till: %s}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: b, near: lhr, lan: %s, hosts: {till: %s}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: c, near: lhr, lan: %s, hosts: {till: %s}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http]}]
traffic:
  - {id: a_down, from: a.1.till, to: web, tcp: 443, source_port: 40000, response: 200MB, timeout: 60s}
  - {id: b_down, from: b.1.till, to: web, tcp: 443, source_port: 40000, response: 200MB, timeout: 60s}
  - {id: c_down, from: c.1.till, to: web, tcp: 443, source_port: 40000, response: 200MB, timeout: 60s}
`

const bulkBytes = 200e6

// A 200 MB download from each branch at once, identical tuples: every byte
// arrives as it was sent. How fast, beside plain kernel routing over the same
// links, is printed and not judged: machines differ.
func TestLiveBulk(t *testing.T) {
	need.BPF(t)
	routed := routedBulk(t)
	t.Logf("plain routing over the same links: %s", gbits(routed))
	same := []any{"10.0.1.0/24", "10.0.1.5", "10.0.1.0/24", "10.0.1.5", "10.0.1.0/24", "10.0.1.5"}
	p := compile(t, fmt.Sprintf(bulk, same...))
	for _, io := range []agent.IO{agent.IOVnet, agent.IOPlain} {
		r := live(t, p, run.Options{IO: io})
		wantAll(t, r, record.OK)
		took := time.Duration(0)
		for _, f := range r.Flows {
			if f.BytesDown < bulkBytes {
				t.Errorf("%s received %d bytes, want %d and headers", f.Client, f.BytesDown, int(bulkBytes))
			}
			took = max(took, time.Duration(f.EndNs-f.StartNs))
		}
		t.Logf("hub, %s: %s, %.2f of plain routing", io, gbits(took), routed.Seconds()/took.Seconds())
	}
}

func gbits(took time.Duration) string {
	return fmt.Sprintf("%.2f Gbit/s in all", 3*bulkBytes*8/took.Seconds()/1e9)
}

// routedBulk is the same transfer with branches that do not overlap, routed by
// kernels over the same links and through a server that only forwards.
func routedBulk(t *testing.T) time.Duration {
	t.Helper()
	lans := []any{"10.0.1.0/24", "10.0.1.5", "10.0.2.0/24", "10.0.2.5", "10.0.3.0/24", "10.0.3.5"}
	p := compile(t, fmt.Sprintf(bulk, lans...))
	for i := range p.Branches {
		straight(t, p, &p.Branches[i])
	}
	lab, err := keeper.Up(context.Background(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	detour(t, p, lab)
	key := host.NewKey()
	for _, s := range p.Services {
		c, err := host.Serve(context.Background(), lab.NS(s.Node), s, host.Options{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	took := time.Duration(0)
	for _, o := range host.Run(context.Background(), p.Flows, host.Config{Namespace: lab.NS, Key: key, Base: time.Now().Add(500 * time.Millisecond)}) {
		if o.Result != record.OK {
			t.Fatalf("plain routing: %s (%s)", o.Result, o.Reason)
		}
		took = max(took, o.End.Sub(o.Start))
	}
	return took
}

// straight sends a branch's traffic out of the WAN instead of its tunnel, and
// lets the transit router know its LAN.
func straight(t *testing.T, p *plan.Plan, b *plan.Branch) {
	t.Helper()
	var wan, far plan.Endpoint
	for _, l := range p.Links {
		if l.A.Node == b.Node && l.A.Interface == b.WAN {
			wan, far = l.A, l.B
		}
	}
	node, _ := p.Node(b.Node)
	for i := range node.Routes {
		if node.Routes[i].To.Bits() == 0 {
			node.Routes[i].Hops = []plan.Hop{{Interface: wan.Interface, Via: wan.Neighbors[0]}}
		}
	}
	transit, _ := p.Node(far.Node)
	transit.Routes = append(transit.Routes, plan.KernelRoute{To: node.LAN, Hops: []plan.Hop{{Interface: far.Interface, Via: far.Neighbors[0]}}})
}

// detour makes transit and edge send everything through the first server, which
// forwards: the way that the hub's packets take.
func detour(t *testing.T, p *plan.Plan, lab *keeper.Lab) {
	t.Helper()
	server := p.Servers[0]
	up := endpoint(t, p, server.Node, "lhr.edge")
	err := lab.NS(server.Node).Do(func() error {
		for _, name := range []string{"ip_forward", "conf/all/send_redirects", "conf/" + up.at.Interface + "/send_redirects"} {
			value := "0"
			if name == "ip_forward" {
				value = "1"
			}
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	edge := endpoint(t, p, "transit.lhr", "lhr.edge")
	for _, l := range p.Links {
		if l.Class == plan.ClassAccess || l.Class == plan.ClassInternet {
			divert(t, lab, "transit.lhr", l.B.Interface, edge.at.Interface, edge.at.Neighbors[0])
		}
	}
	divert(t, lab, "lhr.edge", edge.to.Interface, up.to.Interface, up.to.Neighbors[0])
}

type ends struct{ at, to plan.Endpoint }

func endpoint(t *testing.T, p *plan.Plan, from, to string) ends {
	t.Helper()
	for _, l := range p.Links {
		if l.A.Node == from && l.B.Node == to {
			return ends{l.A, l.B}
		}
		if l.B.Node == from && l.A.Node == to {
			return ends{l.B, l.A}
		}
	}
	t.Fatalf("no link %s – %s", from, to)
	return ends{}
}

// divert sends what comes in by one interface out by another.
func divert(t *testing.T, lab *keeper.Lab, node, in, out string, via netip.Addr) {
	t.Helper()
	const table = 100
	err := lab.NS(node).Do(func() error {
		l, err := netlink.LinkByName(out)
		if err != nil {
			return err
		}
		rule := netlink.NewRule()
		rule.IifName, rule.Table, rule.Priority = in, table, 100
		if err := netlink.RuleAdd(rule); err != nil {
			return err
		}
		all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
		return netlink.RouteReplace(&netlink.Route{Table: table, Dst: all, Gw: via.AsSlice(), LinkIndex: l.Attrs().Index, Flags: int(netlink.FLAG_ONLINK)})
	})
	if err != nil {
		t.Fatalf("divert %s: %v", node, err)
	}
}
