package run

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/emu/tail"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// A lab of NFTables has the same wires, branches, witnesses and traffic as any
// other; where it has agents otherwise, a script was run once. Its servers' GRE
// devices are the ones that branches have (emu/branch), so that it needs no GRE
// of the kernel's, and what is compared is the same tunnel.

// withTunnels gives the servers of a plan the other ends of all GRE tunnels.
func withTunnels(p *plan.Plan) *plan.Plan {
	with := *p
	with.Branches = slices.Clone(p.Branches)
	for i := range p.Servers {
		s := &p.Servers[i]
		b := plan.Branch{Node: s.Node, WAN: s.Interface}
		for j := range p.Branches {
			for _, t := range p.Branches[j].Tunnels {
				n := len(b.Tunnels)
				mac := net.HardwareAddr{2, 0xa0, byte(i >> 8), byte(i), byte(n >> 8), byte(n)}
				peer := slices.Clone(mac)
				peer[1]++
				b.Tunnels = append(b.Tunnels, plan.BranchTunnel{
					OnRamp: t.OnRamp, Name: t.Name, Kind: t.Kind, Interface: fmt.Sprintf("onramp%d", t.OnRamp),
					Local: t.Remote, Remote: t.Local, Key: t.Key, MTU: t.MTU, Inner: t.Peer, Peer: t.Inner, MAC: mac, PeerMAC: peer,
				})
			}
		}
		with.Branches = append(with.Branches, b)
	}
	return &with
}

// scripted are the nodes that the script is run on.
func (r *runner) scripted() []string {
	if r.options.Dataplane != NFTables {
		return nil
	}
	var all []string
	for i := range r.plan.Nodes {
		if k := r.plan.Nodes[i].Kind; k == plan.KindServer || k == plan.KindEdge {
			all = append(all, r.plan.Nodes[i].ID)
		}
	}
	return all
}

func (r *runner) script(i int) error {
	node := r.scripted()[i]
	cmd := exec.Command("sh", "-s", node)
	cmd.Stdin = bytes.NewReader(r.options.Script)
	_, err := r.within(node, cmd)
	return err
}

// within runs a command on a node to its end, and returns what it said.
func (r *runner) within(node string, cmd *exec.Cmd) (string, error) {
	said := tail.New(4 << 10)
	cmd.Stdout, cmd.Stderr = said, said
	err := r.lab.Spawn(node, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%v on %s: %w: %s", cmd, node, err, said)
	}
	return said.String(), nil
}

// nullRouted matches the script's one counter, as nft lists it.
var nullRouted = regexp.MustCompile(`packets (\d+)`)

// countScripted notes what the kernel counted for the script on each server, and
// what the tap beside it saw.
func (r *runner) countScripted() error {
	if r.options.Dataplane != NFTables {
		return nil
	}
	for i := range r.egress {
		node := r.plan.Servers[i].Node
		text, err := r.within(node, exec.Command("nft", "list", "counter", "ip", "homeward", "null_routed"))
		if err != nil {
			return err
		}
		found := nullRouted.FindStringSubmatch(text)
		if found == nil {
			return fmt.Errorf("nft on %s: want a counter of packets, got %q", node, text)
		}
		n, err := strconv.ParseUint(found[1], 10, 63)
		if err != nil {
			return fmt.Errorf("nft on %s: %w", node, err)
		}
		f := agent.Final{Drops: map[string]uint64{}, IO: map[string]uint64{"tap_packets": uint64(r.egress[i].Count().Checked)}}
		if n > 0 {
			f.Drops[drop.NullRouted.String()] = n
		}
		r.count(node, f)
		if err := r.tracked(&r.plan.Servers[i]); err != nil {
			return err
		}
	}
	return nil
}
