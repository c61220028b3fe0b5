//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/export"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// An exported containerlab file is a network: with nodes and links made as it says,
// every command that containerlab would run in a node succeeds, by iproute2, and
// both ends of every link reach each other.
func TestLiveContainerlabFile(t *testing.T) {
	need.Root(t)
	need.Tool(t, "ip")
	need.Tool(t, "sysctl")
	for _, scenario := range []string{"overlapping_branches", "interconnect", "ipv6_branches", "private_datacenter"} {
		t.Run(scenario, func(t *testing.T) {
			doc, err := topologies.Load(scenario)
			if err != nil {
				t.Fatal(err)
			}
			s, err := doc.Resolve("base", nil)
			if err != nil {
				t.Fatal(err)
			}
			p, err := plan.CompileVariant(s, "base")
			if err != nil {
				t.Fatal(err)
			}
			var text bytes.Buffer
			if err := export.Containerlab(&text, p); err != nil {
				t.Fatal(err)
			}
			nodes := deploy(t, text.Bytes())
			for i := range p.Links {
				l := &p.Links[i]
				for _, a := range l.B.Addresses {
					if len(l.A.Addresses) == 0 || !a.Addr().Is4() {
						continue
					}
					if out, err := within(nodes[l.A.Node], "ping -c 1 -W 5 "+a.Addr().String()); err != nil {
						t.Errorf("from %s to %s: %v\n%s", l.A.Node, l.B.Node, err, out)
					}
				}
			}
		})
	}
}

// deploy does with namespaces what containerlab does with containers: its kind
// linux has nothing in it but links and what the commands make.
func deploy(t *testing.T, file []byte) map[string]*netns.NS {
	t.Helper()
	var f struct {
		Topology struct {
			Nodes map[string]struct{ Exec []string }
			Links []struct{ Endpoints []string }
		}
	}
	if err := yaml.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	nodes := make(map[string]*netns.NS)
	for id := range f.Topology.Nodes {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		nodes[id] = ns
	}
	for _, l := range f.Topology.Links {
		a, nameA, _ := strings.Cut(l.Endpoints[0], ":")
		b, nameB, _ := strings.Cut(l.Endpoints[1], ":")
		err := nodes[a].Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA}, PeerName: nameB, PeerNamespace: netlink.NsFd(nodes[b].Fd())})
		})
		if err != nil {
			t.Fatalf("link %v: %v", l.Endpoints, err)
		}
	}
	for id, n := range f.Topology.Nodes {
		for _, command := range n.Exec {
			out, err := within(nodes[id], command)
			if err != nil && withoutGRE(command, out) {
				out, err = within(nodes[id], fmt.Sprintf("ip link add %s type veth peer name %[1]sx", strings.Fields(command)[3]))
			}
			if err != nil {
				t.Errorf("%s: %s: %v\n%s", id, command, err, out)
			}
		}
	}
	return nodes
}

// withoutGRE says whether a command failed for want of the kernel's GRE alone, and
// not for its words: iproute2 understood it.
func withoutGRE(command, said string) bool {
	return strings.HasPrefix(command, "ip tunnel add ") && strings.Contains(said, `add tunnel "gre0" failed: No such device`)
}

func within(ns *netns.NS, command string) (out string, err error) {
	cmd := exec.Command("sh", "-c", command)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err = ns.Do(cmd.Run)
	return b.String(), err
}
