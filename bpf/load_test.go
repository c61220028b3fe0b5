package bpf

import (
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/internal/need"
)

// insnBudget bounds what the verifier has to walk through, and so how long a
// lab waits for each branch.
const insnBudget = 5000

// fastBudget is that of the fast path, of which there is one per server.
const fastBudget = 40000

func options(key *uint32) BranchOptions {
	return BranchOptions{
		Local: netip.MustParseAddr("192.0.2.2"), Remote: netip.MustParseAddr("198.18.0.1"), Key: key, MTU: 1476,
		WAN: 2, WANMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, GatewayMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Tunnel: 3, TunnelMAC: net.HardwareAddr{2, 0, 0, 0, 0, 3},
		TunnelPeer: 4, TunnelPeerMAC: net.HardwareAddr{2, 0, 0, 0, 0, 4},
	}
}

// Every program passes the verifier within the budget.
func TestProgramsLoad(t *testing.T) {
	need.BPF(t)
	server, err := loadServer()
	if err != nil {
		t.Fatal(err)
	}
	branch, err := loadBranch()
	if err != nil {
		t.Fatal(err)
	}
	fast, err := loadDataplane()
	if err != nil {
		t.Fatal(err)
	}
	socket, err := loadXsk()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []*ebpf.CollectionSpec{server, branch, socket, fast} {
		c, err := ebpf.NewCollection(spec)
		if err != nil {
			t.Errorf("%+v", err)
			continue
		}
		defer c.Close()
		for name, p := range c.Programs {
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			n, ok := info.VerifiedInstructions()
			t.Logf("%s: the verifier processed %d instructions", name, n)
			budget := uint32(insnBudget)
			if spec == fast {
				budget = fastBudget
			}
			if !ok || n == 0 || n > budget {
				t.Errorf("%s: verifier processed %d instructions, want 1 to %d", name, n, budget)
			}
		}
	}
}
