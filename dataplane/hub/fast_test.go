package hub_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// carrier is a hub.Fast that a test moves by hand. That programs in the kernel and
// a hub are together what a hub is alone is dataplane/conform's to show.
type carrier struct {
	t       *testing.T
	flows   map[flow.Key]hub.FastFlow
	full    bool
	asked   int // to install
	removed int
}

func (c *carrier) Install(f hub.FastFlow) bool {
	c.asked++
	if c.full {
		return false
	}
	if _, twice := c.flows[f.Key]; twice {
		c.t.Errorf("%v is installed twice", f.Key)
	}
	c.flows[f.Key] = f
	return true
}

func (c *carrier) Look(f hub.FastFlow) (hub.Account, bool) {
	own, ok := c.flows[f.Key]
	if ok && own.Egress != f.Egress {
		c.t.Errorf("asked about %v, which left as %v", f.Egress, own.Egress)
	}
	return hub.Account{Progress: own.Progress}, ok
}

func (c *carrier) Remove(f hub.FastFlow) (hub.Account, bool) {
	a, ok := c.Look(f)
	if !ok {
		c.t.Errorf("%v is removed and was not installed", f.Key)
	}
	delete(c.flows, f.Key)
	c.removed++
	return a, ok
}

func (c *carrier) Ask(ident.OnRamp, bool)       {}
func (c *carrier) AskServer(ident.Server, bool) {}
func (c *carrier) Pass(flow.Key, ident.Server)  {}
func (c *carrier) PassNone()                    {}

// one is the only flow that is carried.
func (c *carrier) one() hub.FastFlow {
	c.t.Helper()
	if len(c.flows) != 1 {
		c.t.Fatalf("%d flows are carried, want 1", len(c.flows))
	}
	for _, f := range c.flows {
		return f
	}
	return hub.FastFlow{}
}

// went notes what packets did without the hub.
func (c *carrier) went(sent, received uint64, deadline vt.Instant) {
	f := c.one()
	f.Progress.Sent += sent
	f.Progress.Received += received
	f.Progress.Deadline = deadline
	c.flows[f.Key] = f
}

// withCarrier is a network of one server whose flows a carrier may carry.
func withCarrier(t *testing.T, o hubtest.Options) (*hubtest.Net, *carrier) {
	o.Datacenters, o.Servers = 1, 1
	n := hubtest.New(t, o)
	c := &carrier{t: t, flows: map[flow.Key]hub.FastFlow{}}
	n.Hubs[1].SetFast(c)
	return n, c
}

// ask sends a datagram of site 1, and its reply.
func ask(n *hubtest.Net, port uint16, payload string) {
	q := hubtest.IP{Src: hubtest.Till, Dst: netip.AddrPortFrom(hubtest.Web.Addr(), port), Payload: []byte(payload)}
	for _, a := range toInternet(n.FromSite(1, q.UDP())) {
		v := hubtest.Decode(a.Packet)
		n.Send(hubtest.IP{Src: v.Dst, Dst: v.Src, Payload: []byte(payload)}.UDP())
	}
}

// A flow is carried once it was answered, if its replies go into a stored on-ramp
// and nothing but progress can happen to it.
func TestFastCarries(t *testing.T) {
	for _, c := range []struct {
		name string
		arr  func(int) bool
		send func(n *hubtest.Net)
		want int
	}{
		{"udp", hubtest.All, func(n *hubtest.Net) { ask(n, 7, "a") }, 1},
		{"udp unanswered", hubtest.All, func(n *hubtest.Net) {
			n.FromSite(1, hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web}.UDP())
		}, 0},
		{"dns", hubtest.All, func(n *hubtest.Net) { ask(n, 53, "a") }, 0},
		{"without arr", nil, func(n *hubtest.Net) { ask(n, 7, "a") }, 0},
		{"tcp half open", hubtest.All, func(n *hubtest.Net) {
			c := conversation{t: t, n: n}
			c.up(hubtest.Flags{SYN: true}, 99, 0, "")
			c.down(hubtest.Flags{SYN: true, ACK: true}, 499, 100, "")
		}, 0},
		{"tcp", hubtest.All, func(n *hubtest.Net) { (&conversation{t: t, n: n}).open() }, 1},
		{"tcp closing", hubtest.All, func(n *hubtest.Net) {
			c := conversation{t: t, n: n}
			c.open()
			c.up(hubtest.Flags{FIN: true, ACK: true}, 0xffffff01, 500, "")
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, carried := withCarrier(t, hubtest.Options{ARR: c.arr, Routes: []int{1}})
			c.send(n)
			if len(carried.flows) != c.want {
				t.Fatalf("%d flows are carried, want %d", len(carried.flows), c.want)
			}
			if c.want == 1 && carried.one().OnRamp != 1 {
				t.Errorf("replies leave by on-ramp %d, want 1", carried.one().OnRamp)
			}
		})
	}
}

// A packet of a carried flow that reaches the hub finds all that the others did,
// and the flow is given back afterwards with what it did itself.
func TestFastTakesBack(t *testing.T) {
	n, c := withCarrier(t, hubtest.Options{ARR: hubtest.All})
	ask(n, 7, "four")
	c.went(100, 1000, c.one().Progress.Deadline)
	for s := range n.Hubs[1].Sessions() {
		if s.BytesSent != 104 || s.BytesReceived != 1004 {
			t.Errorf("while it is carried: %d and %d bytes, want 104 and 1004", s.BytesSent, s.BytesReceived)
		}
	}
	ask(n, 7, "five!")
	if p := c.one().Progress; p.Sent != 109 || p.Received != 1009 || c.removed != 2 {
		t.Errorf("%d and %d bytes after %d removals, want 109, 1009 and 2", p.Sent, p.Received, c.removed)
	}
	if got := len(starts(n)); got != 1 {
		t.Errorf("%d flows started, want 1", got)
	}
}

// A carried flow does not end while packets of it go by without the hub, and ends
// once, with all of their bytes, when that is over.
func TestFastExpiry(t *testing.T) {
	n, c := withCarrier(t, hubtest.Options{ARR: hubtest.All})
	ask(n, 7, "x")
	const udp = 300 * time.Second
	n.Run(vt.Instant(200 * time.Second))
	heard := n.Now
	c.went(50, 60, heard.Add(udp))
	n.Run(vt.Instant(400 * time.Second))
	if len(ends(n)) != 0 {
		t.Fatalf("the flow ended %v after it was heard", n.Now.Sub(heard))
	}
	n.Run(vt.Instant(600 * time.Second))
	all := ends(n)
	if len(all) != 1 || len(c.flows) != 0 {
		t.Fatalf("%d ends and %d flows carried, want 1 and 0", len(all), len(c.flows))
	}
	if s := all[0]; s.BytesSent != 51 || s.BytesReceived != 61 || s.End != heard.Add(udp) {
		t.Errorf("%d and %d bytes until %v, want 51, 61 and %v", s.BytesSent, s.BytesReceived, s.End, heard.Add(udp))
	}
}

// Where no flow can be carried any more, the hub goes on by itself and does not ask
// for every packet.
func TestFastFull(t *testing.T) {
	n, c := withCarrier(t, hubtest.Options{ARR: hubtest.All})
	c.full = true
	for range 20 {
		ask(n, 7, "x")
	}
	if c.asked != 1 || n.Counters().Forwarded != 20 || n.Counters().Returned != 20 {
		t.Errorf("asked %d times, %+v", c.asked, n.Counters())
	}
	c.full = false
	n.Now = n.Now.Add(time.Second)
	ask(n, 7, "x")
	if len(c.flows) != 1 {
		t.Errorf("%d flows are carried when there is room again, want 1", len(c.flows))
	}
}

// A flow that a configuration ends is carried no longer; others are, without having
// been touched. At the end of the hub none is.
func TestFastReconfigureAndClose(t *testing.T) {
	n, c := withCarrier(t, hubtest.Options{ARR: hubtest.All})
	ask(n, 7, "x")
	(&conversation{t: t, n: n}).open()
	second := hubtest.IP{Src: hubtest.Till, Dst: hubtest.Web, Payload: []byte("y")}
	for _, a := range toInternet(n.FromSite(2, second.UDP())) {
		v := hubtest.Decode(a.Packet)
		n.Send(hubtest.IP{Src: v.Dst, Dst: v.Src}.UDP())
	}
	if len(c.flows) != 3 {
		t.Fatalf("%d flows are carried, want 3", len(c.flows))
	}
	asked := c.asked
	n.Reconfigure(func(config *hub.Config) { config.OnRamps = config.OnRamps[:1] })
	n.Timer()
	if len(c.flows) != 2 || c.removed != 1 || c.asked != asked {
		t.Errorf("%d carried, %d removed, %d installed since", len(c.flows), c.removed, c.asked-asked)
	}
	var out hub.Out
	n.Hubs[1].Close(n.Now, &out)
	if len(c.flows) != 0 || len(out.Events) != 2 {
		t.Errorf("after the end %d flows are carried and %d ended, want 0 and 2", len(c.flows), len(out.Events))
	}
}

// A flow whose address takes no new ones any more is not carried anew once a packet
// of it has come to the hub: who carries does not steer such an address.
func TestFastClosed(t *testing.T) {
	n, c := withCarrier(t, hubtest.Options{ARR: hubtest.All})
	ask(n, 7, "x")
	from := c.one().Egress.Addr()
	n.Reconfigure(func(config *hub.Config) {
		config.Egress = slices.Clone(config.Egress)
		for i := range config.Egress {
			config.Egress[i].Closed = config.Egress[i].Closed || config.Egress[i].Addr == from
		}
	})
	asked := c.asked
	ask(n, 7, "y")
	if len(c.flows) != 0 || c.asked != asked || n.Hubs[1].Counters().FlowsStarted != 1 || n.Hubs[1].Counters().Flows != 1 {
		t.Errorf("%d carried, %d installed since, of %d flows that began %d live; want none, 0, 1 and 1", len(c.flows), c.asked-asked, n.Hubs[1].Counters().FlowsStarted, n.Hubs[1].Counters().Flows)
	}
}
