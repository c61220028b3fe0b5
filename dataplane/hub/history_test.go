package hub_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/route"
)

// TestPrivateHistories: over long random histories of flows from everywhere to
// everywhere, with devices that connect elsewhere, servers that leave and come
// back, and timers, an answer comes to who asked, or to nobody; every packet is
// counted once, and every flow starts and ends once.
func TestPrivateHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { privateHistory(t, seed) })
	}
}

func privateHistory(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	collision := hub.CollisionReject
	if seed%2 == 1 {
		collision = hub.CollisionSNAT
	}
	n := private(t, hubtest.Options{
		ARR: hubtest.All, Sites: 3, Devices: 2, Connectors: 2, Interconnects: 2, Translate: seed%3 == 0,
		Edit: func(c *hub.Config) { c.Tenants[0].Collision = collision },
	})
	answered := 0
	for step := range 600 {
		n.Now = n.Now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		switch r.IntN(30) {
		case 0:
			n.Connect(device+ident.OnRamp(r.IntN(2)), route.DefaultVNet+ident.VNet(r.IntN(2)))
		case 1:
			n.Reconfigure(func(c *hub.Config) {
				i := r.IntN(len(c.Servers))
				c.Change(c.Servers[i].Name, func(s *hub.Server) { s.Live = !s.Live || i%2 == 0 })
			})
		case 2:
			n.Now = n.Now.Add(time.Hour)
			n.Timer()
		}
		answered += question(t, n, r, step)
	}
	if answered < 300 {
		t.Errorf("%d of 600 answered: drops %v", answered, n.Counters().Drops)
	}
	n.Now = n.Now.Add(24 * time.Hour)
	n.Timer()
	startedAndEnded(t, n.Events)
	if c := n.Counters(); accounted(&c) != c.Packets {
		t.Errorf("%d packets and %d counted", c.Packets, accounted(&c))
	}
}

// question has somebody send a datagram to somebody, and counts the answers. One that
// comes to anybody else fails the test.
func question(t *testing.T, n *hubtest.Net, r *rand.Rand, step int) (answered int) {
	t.Helper()
	askers := []ident.OnRamp{1, 2, 3, plainLink, plainLink + 1, device, device + 1}
	targets := []netip.AddrPort{hubtest.Web, hubtest.Host, netip.AddrPortFrom(hubtest.DeviceAddr(device), 22), netip.AddrPortFrom(hubtest.DeviceAddr(device+1), 22)}
	asker, to := askers[r.IntN(len(askers))], targets[r.IntN(len(targets))]
	src := netip.AddrPortFrom(hubtest.Till.Addr(), 40000+uint16(r.IntN(3)))
	if asker >= device {
		src = netip.AddrPortFrom(hubtest.DeviceAddr(asker), src.Port())
	}
	if src.Addr() == to.Addr() {
		return 0
	}
	payload := binary.BigEndian.AppendUint32(nil, uint32(step))
	for _, a := range n.FromSite(asker, hubtest.IP{Src: src, Dst: to, Payload: payload}.UDP()) {
		v := hubtest.Decode(a.Packet)
		if v.Src.Addr() != to.Addr() || !bytes.Equal(v.Payload, payload) {
			continue // the question, on its way
		}
		if a.Site != asker {
			t.Fatalf("step %d: on-ramp %d asked %v, and %d got the answer", step, asker, to, a.Site)
		}
		answered++
	}
	return answered
}

// startedAndEnded fails the test unless every session did so once.
func startedAndEnded(t *testing.T, events []hub.Event) {
	t.Helper()
	counts := map[[16]byte][2]int{}
	for _, e := range events {
		if e.Kind != hub.FlowStart && e.Kind != hub.FlowEnd {
			continue
		}
		x := counts[e.Session.ID]
		x[e.Kind-hub.FlowStart]++
		counts[e.Session.ID] = x
	}
	for id, x := range counts {
		if x != [2]int{1, 1} {
			t.Errorf("session %x started and ended %v times", id, x)
		}
	}
}
