package agent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/internal/need"
)

// owner is one of many servers that share an egress address, without a link: a hub
// and the kernel's part of it.
type owner struct {
	t     *testing.T
	slice int
	hub   *hub.Hub
	fast  *fastPath
	now   vt.Instant
	out   hub.Out
	// lives are the egress ports of live flows, by flow.
	lives map[int]netip.AddrPort
	ended []hub.Session
}

// slices of an address, and their servers.
const slices31 = egress.Slices - 1

func newOwner(t *testing.T, slice, flows int) *owner {
	c := hubtest.Options{Datacenters: 1, Servers: slices31, Sites: 1, ARR: hubtest.All}.Config()
	c.Trace, c.Self = false, ident.Server(slice)
	for i := range c.Servers { // all packets are given to their home
		c.Servers[i].Live = c.Servers[i].ID == c.Self
	}
	o := &owner{t: t, slice: slice, lives: map[int]netip.AddrPort{}}
	var err error
	if o.hub, err = hub.New(c); err != nil {
		t.Fatal(err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	d, err := bpf.NewDataplane(bpf.Spec{Config: c, MAC: mac, Gateway: mac, Base: ts.Nano(), Flows: flows})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	o.fast = &fastPath{Dataplane: d}
	o.hub.SetFast(o.fast)
	return o
}

func (o *owner) ends(i int) (client, remote netip.AddrPort) {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(o.slice), byte(1 + i>>15)}), uint16(1024+i&(1<<15-1))),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i>>10)}), 7)
}

const ownPayload = 18

func (o *owner) request(i int) []byte {
	client, remote := o.ends(i)
	r := o.hub.Config().OnRamps[0]
	return hubtest.GRE(r.Remote, r.Local, r.Key, hubtest.IP{Src: client, Dst: remote, Payload: make([]byte, ownPayload)}.UDP())
}

func (o *owner) handle(packet []byte) []hub.Send {
	o.out.Reset()
	o.hub.HandlePacket(o.now, &hub.Packet{Data: packet}, &o.out)
	o.take()
	return o.out.Send
}

func (o *owner) take() {
	for _, e := range o.out.Events {
		if e.Kind == hub.FlowEnd {
			o.ended = append(o.ended, *e.Session)
		}
	}
}

// open sets a flow up, there and back, so that the kernel carries it.
func (o *owner) open(i int) {
	o.t.Helper()
	sent := o.handle(o.request(i))
	if len(sent) != 1 {
		o.t.Fatalf("slice %d: flow %d was not set up: %+v", o.slice, i, o.out.Events)
	}
	var m pkt.Meta
	m.Parse(sent[0].Data)
	o.lives[i] = netip.AddrPortFrom(m.Src, m.SrcPort)
	o.handle(hubtest.IP{Src: netip.AddrPortFrom(m.Dst, m.DstPort), Dst: o.lives[i], Payload: make([]byte, ownPayload)}.UDP())
}

func (o *owner) carried() (n int) {
	for range o.fast.All {
		n++
	}
	return n
}

// Port ownership under load (SEMANTICS SU-3): over the 31 slices of one address no
// flow has a port outside its server's slice, no two share a reverse key, every one
// is carried by the kernel, and when their time is over nothing of them is left.
func TestPortOwnership(t *testing.T) {
	need.BPF(t)
	all := 62_000
	if os.Getenv("HOMEWARD_SOAK") != "" {
		all = 1_000_000
	}
	type reverse struct{ egress, remote netip.AddrPort }
	seen := make(map[reverse]bool, all)
	for slice := 1; slice <= slices31; slice++ {
		o := newOwner(t, slice, all/slices31+1)
		n := all / slices31
		for i := range n {
			o.open(i)
			_, remote := o.ends(i)
			key := reverse{o.lives[i], remote}
			if int(key.egress.Port()/egress.SliceSize) != slice {
				t.Fatalf("slice %d: flow %d left as %v", slice, i, key.egress)
			}
			if seen[key] {
				t.Fatalf("slice %d: %v toward %v is another flow's", slice, key.egress, remote)
			}
			seen[key] = true
		}
		if got := o.carried(); got != n || o.fast.refused+o.fast.lost != 0 {
			t.Fatalf("slice %d: %d of %d flows are carried, %d refused, %d lost", slice, got, n, o.fast.refused, o.fast.lost)
		}
		o.now = vt.Instant(time.Hour)
		o.out.Reset()
		o.hub.HandleTimer(o.now, &o.out)
		o.take()
		if got := o.hub.Counters().Flows; len(o.ended) != n || got != 0 || o.carried() != 0 || o.fast.lost != 0 {
			t.Fatalf("slice %d: of %d flows %d ended, %d live, %d carried, %d lost", slice, n, len(o.ended), got, o.carried(), o.fast.lost)
		}
		o.fast.Close()
	}
}

// Set-up and expiry race with traffic: while packets of the flows are carried on
// another processor, flows come and go; each ends once, and the session log holds
// every byte that was carried or decided.
func TestSetUpRacesWithTraffic(t *testing.T) {
	need.BPF(t)
	const flows, rounds = 200, 30
	o := newOwner(t, 1, flows)
	frames := make([][]byte, flows)
	for i := range frames {
		frames[i] = append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 8, 0}, o.request(i)...)
	}
	var stop atomic.Bool
	var failed error
	var traffic sync.WaitGroup
	traffic.Go(func() {
		for !stop.Load() && failed == nil {
			_, _, failed = o.fast.Time(frames, false)
		}
	})
	for round := range rounds {
		for i := range flows {
			o.open(i)
		}
		o.now = vt.Instant(round+1) * vt.Instant(time.Hour)
		o.out.Reset()
		o.hub.HandleTimer(o.now, &o.out)
		o.take()
	}
	stop.Store(true)
	traffic.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	tally, err := o.fast.Tally()
	if err != nil {
		t.Fatal(err)
	}
	o.out.Reset()
	o.hub.Close(o.now, &o.out)
	o.take()
	var sent uint64
	ids := map[[16]byte]bool{}
	for _, s := range o.ended {
		sent += s.BytesSent
		if ids[s.ID] {
			t.Fatalf("session %x ended twice", s.ID)
		}
		ids[s.ID] = true
	}
	c := o.hub.Counters()
	want := (tally[bpf.Forwarded] + c.Forwarded) * ownPayload
	t.Logf("%d packets carried, %d decided, %d sessions", tally[bpf.Forwarded], c.Forwarded, len(o.ended))
	if sent != want || c.FlowsStarted != c.FlowsEnded || tally[bpf.Forwarded] == 0 || o.carried() != 0 {
		t.Errorf("sessions hold %d bytes, want %d; %d started, %d ended; %s", sent, want, c.FlowsStarted, c.FlowsEnded, fmt.Sprint(tally.Map()))
	}
}
