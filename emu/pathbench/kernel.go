package pathbench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/agent"
	"github.com/homeward-lab/homeward/reports/figure"
)

// Goals, ns.
const (
	goalSteer  = 40
	goalLookUp = 60
)

// kernelRows are figures of the programs by themselves: nothing is sent.
func (b *Bench) kernelRows(ctx context.Context) (rows []figure.Row, err error) {
	if err := bpf.DataplaneSupported(); err != nil {
		return []figure.Row{figure.Cost("dataplane.forward_ns", 0, "ns").Beside(err.Error(), 0)}, nil
	}
	s, err := b.newServer()
	if err != nil {
		return nil, err
	}
	defer s.kernel.Close()
	setUp, err := s.setUp(ctx)
	if err != nil {
		return nil, err
	}
	programs, err := s.programs(b.Rounds)
	if err != nil {
		return nil, err
	}
	warm, err := s.warm(b.Rounds)
	if err != nil {
		return nil, err
	}
	programs = append(programs, warm...)
	looks, err := lookUps()
	return append(append(setUp, programs...), looks...), err
}

// server is a hub and the kernel's part of it, without a link.
type server struct {
	config hub.Config
	hub    *hub.Hub
	kernel *bpf.Dataplane
	ramp   *hub.OnRamp
	// egress of each flow that is set up.
	egress []netip.AddrPort
	now    vt.Instant
}

// setUpFlows is how many flows are set up: as many as a slice of four addresses
// has ports for, and several remote ends share them.
const setUpFlows = 20000

func (b *Bench) newServer() (*server, error) {
	p, err := b.Compile(2)
	if err != nil {
		return nil, err
	}
	quiet(p)
	s := &server{config: p.Servers[0].Config}
	// This server is home for all: steering is measured with the other's replies.
	for i := range s.config.Servers {
		s.config.Servers[i].Live = s.config.Servers[i].ID == s.config.Self
	}
	s.ramp = &s.config.OnRamps[0]
	if s.hub, err = hub.New(s.config); err != nil {
		return nil, err
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	var clock unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &clock); err != nil {
		return nil, err
	}
	if s.kernel, err = bpf.NewDataplane(bpf.Spec{Config: s.config, MAC: mac, Gateway: mac, Base: clock.Nano(), Flows: setUpFlows}); err != nil {
		return nil, err
	}
	s.hub.SetFast(agent.NewFast(s.kernel))
	return s, nil
}

// ends are the client and the remote end of the i-th flow.
func ends(i int) (client, remote netip.AddrPort) {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + i>>14)}), uint16(1024+i&(1<<14-1))),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(113 + i>>12), 9}), 443)
}

func (s *server) up(i int) []byte {
	client, remote := ends(i)
	return hubtest.GRE(s.ramp.Remote, s.ramp.Local, s.ramp.Key, hubtest.IP{Src: client, Dst: remote, Payload: make([]byte, payload)}.UDP())
}

func (s *server) down(i int) []byte {
	_, remote := ends(i)
	return hubtest.IP{Src: remote, Dst: s.egress[i], Payload: make([]byte, payload)}.UDP()
}

// setUp measures a flow from its first packet until the kernel carries it: two
// decisions, both directions installed; its end; and the memory it takes.
func (s *server) setUp(ctx context.Context) ([]figure.Row, error) {
	before, err := s.kernel.Memory()
	if err != nil {
		return nil, err
	}
	first := make([][]byte, setUpFlows)
	for i := range first {
		first[i] = s.up(i)
	}
	var out hub.Out
	s.now = vt.Instant(time.Second)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	for i := range first {
		out.Reset()
		s.hub.HandlePacket(s.now, &hub.Packet{Data: first[i]}, &out)
		if len(out.Send) != 1 {
			return nil, fmt.Errorf("flow %d was not set up", i)
		}
		var m pkt.Meta
		m.Parse(out.Send[0].Data)
		s.egress = append(s.egress, netip.AddrPortFrom(m.Src, m.SrcPort))
	}
	took := threadTime() - began
	replies := make([][]byte, setUpFlows)
	for i := range replies {
		replies[i] = s.down(i)
	}
	began = threadTime()
	for i := range replies {
		out.Reset()
		s.hub.HandlePacket(s.now, &hub.Packet{Data: replies[i]}, &out)
	}
	took += threadTime() - began
	after, err := s.kernel.Memory()
	if err != nil {
		return nil, err
	}
	carried := 0
	for range s.kernel.All {
		carried++
	}
	equal := carried == setUpFlows
	each := float64(took) / setUpFlows
	return []figure.Row{
		figure.Rate("dataplane.setup_per_s", 1e9/each, "/s").Checked(equal),
		figure.Cost("dataplane.setup_us", each/1e3, "µs"),
		figure.Cost("dataplane.flow_bytes", float64(after-before)/setUpFlows, "B"),
	}, context.Cause(ctx)
}

// programs are the test-run times of the program by what it does.
func (s *server) programs(rounds int) ([]figure.Row, error) {
	other := s.config.Servers[1]
	foreign := netip.AddrPortFrom(s.egress[0].Addr(), 0)
	for i := range s.config.Egress {
		for k, owner := range s.config.Egress[i].Owner {
			if owner == other.ID && s.config.Egress[i].Addr.Is4() {
				foreign = netip.AddrPortFrom(s.config.Egress[i].Addr, uint16(k*2048+7))
			}
		}
	}
	_, remote := ends(0)
	steered := hubtest.IP{Src: remote, Dst: foreign, Payload: make([]byte, payload)}.UDP()
	var rows []figure.Row
	for _, c := range []struct {
		id     string
		packet func(i int) []byte
		xdp    bool
		goal   float64
	}{
		{"dataplane.forward_ns", s.up, false, 0},
		{"dataplane.return_ns", s.down, false, 0},
		{"dataplane.handover_ns", func(int) []byte { return steered }, false, 0},
		{"dataplane.steer_ns", func(int) []byte { return steered }, true, goalSteer},
	} {
		took, err := s.time(rounds, c.packet, c.xdp)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.id, err)
		}
		r := figure.Cost(c.id, took, "ns")
		if c.goal > 0 {
			r = r.Bound(c.goal)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// frames are packets of many flows, in turns.
func frames(rounds int, packet func(int) []byte) (all [][]byte) {
	const flows = 512
	for range rounds {
		for i := range flows {
			all = append(all, append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0}, packet(i)...))
		}
	}
	return all
}

// time is the median of one run over many flows' packets, less what it takes to
// run nothing and read the clock.
func (s *server) time(rounds int, packet func(int) []byte, xdp bool) (float64, error) {
	own, empty, err := s.kernel.Time(frames(rounds, packet), xdp)
	if err != nil {
		return 0, err
	}
	return middle(own) - middle(empty), nil
}

func middle(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2])
}

// lookUps are what it costs to find a reply's flow.
func lookUps() (rows []figure.Row, err error) {
	for _, at := range []struct {
		name  string
		flows int
		goal  float64
	}{{"1k", 1000, 0}, {"100k", 100_000, 0}, {"1m", 1 << 20, goalLookUp}} {
		indexed, err := bpf.LookUp(at.flows, true)
		if err != nil {
			return rows, err
		}
		hashed, err := bpf.LookUp(at.flows, false)
		if err != nil {
			return rows, err
		}
		r := figure.Cost("dataplane.return_lookup_"+at.name+"_ns", indexed, "ns").Beside("by a hash", hashed)
		if at.goal > 0 {
			r = r.Bound(at.goal)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
