package connector_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/connector"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// modelled is a flow as a list keeps it: UDP and echo, whose life is one timer.
type modelled struct {
	echo         bool
	client, host netip.AddrPort
	seen         netip.AddrPort
	ends         vt.Instant
}

// model is the obvious translation: a list of flows, searched from its start.
type model struct {
	flows []modelled
	bound int
}

const modelLife = 10 * second

func (m *model) sweep(now vt.Instant) {
	kept := m.flows[:0]
	for _, f := range m.flows {
		if f.ends > now {
			kept = append(kept, f)
		}
	}
	m.flows = kept
}

func (m *model) find(match func(modelled) bool) *modelled {
	for i := range m.flows {
		if match(m.flows[i]) {
			return &m.flows[i]
		}
	}
	return nil
}

// history is a translation beside its model.
type history struct {
	t   *testing.T
	r   *rand.Rand
	nat *connector.NAT
	model
	now vt.Instant
}

func (h *history) address(net byte) netip.Addr {
	return netip.AddrFrom4([4]byte{net, 64, 0, 1 + byte(h.r.IntN(3))})
}

// ask sends a client's packet: a new flow if the list has room for it.
func (h *history) ask() {
	echo := h.r.IntN(3) == 0
	client := netip.AddrPortFrom(h.address(100), uint16(h.r.IntN(4)))
	host := netip.AddrPortFrom(h.address(10), uint16(1000+h.r.IntN(2)))
	build := hubtest.IP.UDP
	if echo {
		build, host = hubtest.IP.Ping, netip.AddrPortFrom(host.Addr(), 0)
	}
	packet := build(ip(client, host))
	reason := h.nat.FromTunnel(h.now, packet, pkt.Offload{})
	f := h.find(func(f modelled) bool { return f.echo == echo && f.client == client && f.host == host })
	if f == nil {
		if len(h.flows) >= h.bound {
			if reason != drop.TableFull {
				h.t.Fatalf("with %d flows a new one got %v, want %v", len(h.flows), reason, drop.TableFull)
			}
			return
		}
		var m pkt.Meta
		m.Parse(packet)
		seen := netip.AddrPortFrom(m.Src, m.SrcPort)
		if clash := h.find(func(f modelled) bool { return f.echo == echo && f.host == host && f.seen == seen }); clash != nil {
			h.t.Fatalf("%v and %v look the same to %v: %v", clash.client, client, host, seen)
		}
		h.flows = append(h.flows, modelled{echo: echo, client: client, host: host, seen: seen})
		f = &h.flows[len(h.flows)-1]
	}
	f.ends = h.now + modelLife
	if reason != drop.None || !bytes.Equal(packet, build(ip(f.seen, host))) {
		h.t.Fatalf("%v to %v: %v, packet %x, want it from %v", client, host, reason, packet, f.seen)
	}
}

// tell sends a host's packet: to a flow of the list, or to a port near one.
func (h *history) tell() {
	host := netip.AddrPortFrom(h.address(10), uint16(1000+h.r.IntN(2)))
	seen := netip.AddrPortFrom(own, uint16(h.r.Uint32()))
	echo := h.r.IntN(3) == 0
	if len(h.flows) > 0 && h.r.IntN(8) > 0 {
		f := h.flows[h.r.IntN(len(h.flows))]
		echo, seen = f.echo, f.seen
		if h.r.IntN(4) > 0 {
			host = f.host
		}
	}
	build := hubtest.IP.UDP
	if echo {
		build, host = hubtest.IP.Pong, netip.AddrPortFrom(host.Addr(), 0)
	}
	packet := build(ip(host, seen))
	reason := h.nat.FromNetwork(h.now, packet, pkt.Offload{})
	f := h.find(func(f modelled) bool { return f.echo == echo && f.host == host && f.seen == seen })
	switch {
	case f == nil && reason != drop.NoFlow:
		h.t.Fatalf("%v to %v, whom nobody asked: %v, want %v", host, seen, reason, drop.NoFlow)
	case f != nil && (reason != drop.None || !bytes.Equal(packet, build(ip(host, f.client)))):
		h.t.Fatalf("%v to %v: %v, packet %x, want it to %v", host, seen, reason, packet, f.client)
	}
}

// Over long random histories the translation says what a list says, and its
// bytes are what gopacket builds.
func TestAgreesWithAList(t *testing.T) {
	life := time.Duration(modelLife)
	for seed := range uint64(20) {
		h := &history{t: t, r: rand.New(rand.NewPCG(seed, 1)), model: model{bound: 20}}
		h.nat = connector.New(connector.Config{
			Address: own, Seed: seed, Flows: h.bound,
			Timeouts: flow.NewTimeouts(life, life, life, life, life, life, life),
		})
		for range 2000 {
			h.now += vt.Instant(h.r.Int64N(int64(second)))
			h.sweep(h.now)
			switch h.r.IntN(5) {
			case 0, 1:
				h.ask()
			case 2, 3:
				h.tell()
			default:
				h.nat.HandleTimer(h.now)
			}
			if h.nat.Flows() < len(h.flows) {
				t.Fatalf("seed %d: %d flows, want at least the %d that live", seed, h.nat.Flows(), len(h.flows))
			}
		}
	}
}
