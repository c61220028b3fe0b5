package bpf

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/homeward-lab/homeward/dataplane/egress"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// crowd is a hub with the fast path, whose flows come and go.
type crowd struct {
	plane
	hub *hub.Hub
	out hub.Out
	now vt.Instant
	// clients are all that ever had an egress port.
	mu      sync.Mutex
	clients map[netip.AddrPort]map[netip.AddrPort]bool
}

func newCrowd(t *testing.T, addresses, flows int) *crowd {
	t.Helper()
	o := hubtest.Options{Datacenters: 1, Servers: 31, Addresses: addresses, Edit: func(c *hub.Config) {
		for i := range c.Servers {
			c.Servers[i].Live = i == 0 // every flow's home is here
		}
		c.Timers.UDP = time.Minute
	}}
	p := newPlane(t, o, Spec{Flows: flows})
	h, err := hub.New(p.spec.Config)
	if err != nil {
		t.Fatal(err)
	}
	h.SetFast(&carrier{Dataplane: p.Dataplane})
	return &crowd{plane: p, hub: h, now: monotonic(), clients: make(map[netip.AddrPort]map[netip.AddrPort]bool)}
}

func (c *crowd) client(n int) hubtest.IP {
	return hubtest.IP{Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(1 + n>>15)}), uint16(n)), Dst: hubtest.Web}
}

func (c *crowd) handle(packet []byte) []hub.Send {
	c.out.Reset()
	c.hub.HandlePacket(c.now, &hub.Packet{Data: packet, Internal: true}, &c.out)
	return c.out.Send
}

// setUp opens the n-th flow, and has it answered, after which it is carried. It
// returns the port that it leaves by.
func (c *crowd) setUp(n int) netip.AddrPort {
	c.t.Helper()
	client := c.client(n)
	sent := c.handle(hubtest.GRE(hubSite(1).Remote, hubtest.Tunnel, nil, client.UDP()))
	if len(sent) != 1 {
		c.t.Fatalf("flow %d was refused", n)
	}
	port := hubtest.Decode(sent[0].Data).Src
	c.mu.Lock()
	if c.clients[port] == nil {
		c.clients[port] = make(map[netip.AddrPort]bool)
	}
	c.clients[port][client.Src] = true
	c.mu.Unlock()
	if len(c.handle(hubtest.IP{Src: hubtest.Web, Dst: port}.UDP())) != 1 {
		c.t.Fatalf("flow %d was not answered", n)
	}
	return port
}

// expire lets two minutes of silence pass.
func (c *crowd) expire() {
	c.now = c.now.Add(2 * time.Minute)
	c.out.Reset()
	c.hub.HandleTimer(c.now, &c.out)
}

// empty checks that nothing is left, anywhere.
func (c *crowd) empty() {
	c.t.Helper()
	for f := range c.All {
		c.t.Fatalf("still carried: %+v", f)
	}
	var key dataplaneFlowKey
	if err := c.objects.Forwards.NextKey(nil, &key); !errors.Is(err, ebpf.ErrKeyNotExist) {
		c.t.Fatalf("still forwarded: %+v, %v", key, err)
	}
	if n := c.hub.Counters(); n.FlowsStarted != n.FlowsEnded {
		c.t.Errorf("%d flows started and %d ended", n.FlowsStarted, n.FlowsEnded)
	}
}

// SU-3, SU-5: no flow leaves by a port outside its server's slice, no two have the
// same reverse key, at the end of the slices nobody is let in, and after their time
// nothing of them is left.
func TestSU3_PortsAreOwned(t *testing.T) {
	const addresses, flows = 2, 2 * egress.SliceSize
	c := newCrowd(t, addresses, flows)
	ports := make(map[netip.AddrPort]bool)
	for n := range flows {
		port := c.setUp(n)
		switch {
		case egress.Slice(port.Port()) != 1:
			t.Fatalf("flow %d leaves by %v, outside of the server's slice", n, port)
		case ports[port]:
			t.Fatalf("flow %d leaves by %v, as another does to the same remote end", n, port)
		}
		ports[port] = true
	}
	if sent := c.handle(hubtest.GRE(hubSite(1).Remote, hubtest.Tunnel, nil, c.client(flows).UDP())); len(sent) != 0 {
		t.Errorf("a flow more than there are ports was let in")
	}
	carried := 0
	for range c.All {
		carried++
	}
	if carried != flows {
		t.Errorf("%d flows are carried, want %d", carried, flows)
	}
	c.expire()
	c.empty()
	c.setUp(0)
}

// Set-up and expiry race with traffic: a reply never comes to a client that did
// not have its port, whatever comes and goes meanwhile.
func TestRacesWithTraffic(t *testing.T) {
	const flows = 512
	c := newCrowd(t, 1, 2*flows)
	var stop atomic.Bool
	var returned atomic.Int64
	var senders sync.WaitGroup
	defer senders.Wait()
	defer stop.Store(true)
	for s := range 2 {
		senders.Go(func() {
			for i := s; !stop.Load(); i++ {
				port := netip.AddrPortFrom(egressPort.Addr(), uint16(egress.SliceSize+i%egress.SliceSize))
				reply := hubtest.IP{Src: hubtest.Web, Dst: port}.UDP()
				o := &ebpf.RunOptions{Data: ethernet(testMAC, testGateway, etherIPv4, reply), DataOut: make([]byte, 256)}
				verdict, err := c.objects.FastPath.Run(o)
				switch {
				case err != nil:
					t.Error(err)
				case verdict == redirect:
					returned.Add(1)
					to := hubtest.Decode(o.DataOut[14+24:]).Dst
					c.mu.Lock()
					if !c.clients[port][to] {
						t.Errorf("a reply to %v came to %v, which never had it", port, to)
					}
					c.mu.Unlock()
				case verdict != next:
					t.Errorf("a reply to %v: verdict %d", port, int32(verdict))
				}
			}
		})
	}
	for round := range 6 {
		for n := range flows {
			c.setUp(round*flows + n)
		}
		c.expire()
		c.empty()
	}
	stop.Store(true)
	senders.Wait()
	if returned.Load() == 0 {
		t.Error("no reply met a flow: nothing raced")
	}
}
