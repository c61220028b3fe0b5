package keeper

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// spareFiles is what a process needs beside its lab: standard streams, the
// runtime's own, results, a few children.
const spareFiles = 64

// resultFiles is what a run opens between Fits and Up: where its results go.
const resultFiles = 16

// metersPerCut are the meter's sockets, one at each end.
const metersPerCut = 2

// What a program that carries packets keeps open: for a tunnel a packet socket,
// its bell and two kernel parameters, and a UDP socket for each beginning; for an
// interconnect a packet socket at the edge and two at the site, with a bell; and
// the UDP sockets of an edge.
const (
	filesPerTunnel       = 4
	filesPerGRE          = 9 // programs, their maps and links; or packet sockets and a bell
	filesPerRouter       = 2 // where it hears of its tunnels' ways
	filesPerInterconnect = 4
	filesPerEdge         = 18
	// A server's pipes, its process and the tap beside it; a program's likewise.
	filesPerServer  = 6
	filesPerProgram = 3
)

// LimitError says that a lab needs more open files than the process may have.
type LimitError struct {
	Need, Hard uint64
}

// Error names both numbers and the mend.
func (e *LimitError) Error() string {
	return fmt.Sprintf("this lab needs %d open files, the limit is %d: raise it to %[1]d (`ulimit -Hn %[1]d` as root, or LimitNOFILE= in a systemd unit)", e.Need, e.Hard)
}

// filesNeeded is how many open files a plan takes at its peak: a namespace, a routing
// socket and a kernel parameter per node while it is wired; afterwards a capture socket per
// link, those of the meter of an impaired one, and what carries packets.
func filesNeeded(p *plan.Plan) uint64 {
	nodes, links, cuts := uint64(len(p.Nodes)), uint64(len(p.Links)), uint64(len(wire.Cuts(p)))
	return nodes + 1 + max(2*(nodes+1), links+metersPerCut*cuts+carriers(p)+inhabitants(p))
}

// inhabitants is how many open files what lives in the nodes takes: servers,
// hosts with the taps beside them, origins that listen, users' programs.
func inhabitants(p *plan.Plan) uint64 {
	n := filesPerServer*len(p.Servers) + filesPerProgram*len(p.Programs)
	for i := range p.Nodes {
		if k := p.Nodes[i].Kind; k == plan.KindHost || k == plan.KindDevice {
			n++
		}
	}
	for i := range p.Services {
		n += len(p.Services[i].Ports)
	}
	return uint64(n)
}

// carriers is how many open files carry packets between links and sockets.
func carriers(p *plan.Plan) uint64 {
	n, edges := filesPerInterconnect*len(p.Interconnects), map[string]bool{}
	for i := range p.Interconnects {
		edges[p.Interconnects[i].Edge] = true
	}
	for i := range p.Branches {
		n += filesPerRouter
		for _, t := range p.Branches[i].Tunnels {
			if t.Connect != nil {
				n += filesPerTunnel + 1 + len(t.Connect.Switch)
			} else {
				n += filesPerGRE
			}
		}
	}
	return uint64(n + filesPerEdge*len(edges))
}

// Fits says whether the process may have the open files that the plan needs;
// the error is a *LimitError where it may not.
func Fits(p *plan.Plan) error { return ensureFiles(p, spareFiles+resultFiles) }

// ensureFiles raises the soft limit of open files as far as the plan needs
// beside spare others.
func ensureFiles(p *plan.Plan, spare uint64) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("count open files: %w", err)
	}
	need := filesNeeded(p) + uint64(len(open)) + spare
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if need <= lim.Cur {
		return nil
	}
	if need > lim.Max {
		return &LimitError{need, lim.Max}
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", lim.Max, err)
	}
	return nil
}
