package agent

import (
	"io"
	"testing"

	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// chain is the baseline: as many links as a packet crosses in onePath (the
// uplink counts twice), and nothing but kernel routing.
func chain() *plan.Plan {
	const host, origin = "10.0.1.0/24", "203.0.113.0/24"
	return &plan.Plan{
		Scenario: "chain",
		Nodes: []plan.Node{
			{ID: "host", Kind: plan.KindHost, Routes: []plan.KernelRoute{to("0.0.0.0/0", "eth0", "10.0.1.1")}},
			{ID: "branch", Kind: plan.KindBranch, Forward: true, Routes: []plan.KernelRoute{to("0.0.0.0/0", "wan0", "192.0.2.1")}},
			{ID: "edge", Kind: plan.KindEdge, Forward: true, Routes: []plan.KernelRoute{to(host, "b1", "192.0.2.2"), to(origin, "s1", "172.16.1.2")}},
			{ID: "server", Kind: plan.KindEdge, Forward: true, Routes: []plan.KernelRoute{to(host, "up0", "172.16.1.1"), to(origin, "up1", "172.16.2.1")}},
			{ID: "edge2", Kind: plan.KindEdge, Forward: true, Routes: []plan.KernelRoute{to(host, "s1", "172.16.2.2")}},
			{ID: "origin", Kind: plan.KindOrigin, Routes: []plan.KernelRoute{to("0.0.0.0/0", "eth0", "203.0.113.1")}},
		},
		Links: []plan.Link{
			wire("lan", 1500, "host", "eth0", "10.0.1.5/24", 0x11, "branch", "lan0", "10.0.1.1/24", 0x12),
			wire("access", 1500, "branch", "wan0", "192.0.2.2/30", 0x21, "edge", "b1", "192.0.2.1/30", 0x22),
			wire("uplink", 1600, "edge", "s1", "172.16.1.1/30", 0x31, "server", "up0", "172.16.1.2/30", 0x32),
			wire("uplink2", 1600, "edge2", "s1", "172.16.2.1/30", 0x33, "server", "up1", "172.16.2.2/30", 0x34),
			wire("internet", 1500, "edge2", "i0", "203.0.113.1/24", 0x41, "origin", "eth0", "203.0.113.9/24", 0x42),
		},
	}
}

// engines are what the benchmarks compare, the baseline first.
var engines = []struct {
	name string
	up   func(b *testing.B) *lab
}{
	{"route", func(b *testing.B) *lab {
		k, err := keeper.Up(b.Context(), chain(), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { k.Close() })
		return &lab{Lab: k}
	}},
	{"vnet", func(b *testing.B) *lab { return raise(b, "hub", nil, IOVnet, branch.IOKernel) }},
	{"plain", func(b *testing.B) *lab { return raise(b, "hub", nil, IOPlain, branch.IOPlain) }},
}

// BenchmarkTransfer moves 64 MiB over one TCP connection, up and down: plain
// kernel routing first, then the hub on each engine, in one run.
func BenchmarkTransfer(b *testing.B) {
	need.BPF(b)
	const n = 64 << 20
	for _, c := range engines {
		for _, way := range []string{"up", "down"} {
			b.Run(c.name+"/"+way, func(b *testing.B) {
				l := c.up(b)
				b.SetBytes(n)
				for b.Loop() {
					from, to := l.connect(b, "host", hostAddr, "origin", originAddr)
					if way == "down" {
						from, to = to, from
					}
					if _, err := transfer(from, to, n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRoundTrip sends one byte there and back over a TCP connection.
func BenchmarkRoundTrip(b *testing.B) {
	need.BPF(b)
	for _, c := range engines {
		b.Run(c.name, func(b *testing.B) {
			client, server := c.up(b).connect(b, "host", hostAddr, "origin", originAddr)
			done := make(chan error, 1)
			go func() {
				_, err := io.Copy(server, server)
				done <- err
			}()
			var one [1]byte
			for b.Loop() {
				if _, err := client.Write(one[:]); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(client, one[:]); err != nil {
					b.Fatal(err)
				}
			}
			if err := client.CloseWrite(); err != nil {
				b.Fatal(err)
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			client.Close()
			server.Close()
		})
	}
}
