package connector_test

import (
	"bytes"
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

// The connector's address, a flow's source out of the network's own, and a
// private host.
var (
	own    = netip.MustParseAddr("10.0.9.1")
	client = netip.MustParseAddrPort("100.64.0.1:3000")
	other  = netip.MustParseAddrPort("100.64.0.2:3000")
	host   = netip.MustParseAddrPort("10.0.9.5:443")
)

const second = vt.Instant(time.Second)

func ip(src, dst netip.AddrPort) hubtest.IP { return hubtest.IP{Src: src, Dst: dst} }

// in translates a packet from the tunnel and returns the source that the host
// sees.
func in(t *testing.T, n *connector.NAT, now vt.Instant, packet []byte) netip.AddrPort {
	t.Helper()
	if reason := n.FromTunnel(now, packet, pkt.Offload{}); reason != drop.None {
		t.Fatalf("from the tunnel: dropped as %v, want translated", reason)
	}
	var m pkt.Meta
	m.Parse(packet)
	return netip.AddrPortFrom(m.Src, m.SrcPort)
}

// refused wants a packet dropped for a reason, its bytes untouched.
func refused(t *testing.T, translate func(vt.Instant, []byte, pkt.Offload) drop.Reason, now vt.Instant, packet []byte, want drop.Reason) {
	t.Helper()
	before := bytes.Clone(packet)
	if got := translate(now, packet, pkt.Offload{}); got != want {
		t.Errorf("dropped as %v, want %v", got, want)
	}
	if !bytes.Equal(packet, before) {
		t.Errorf("a dropped packet was changed:\n%x, was\n%x", packet, before)
	}
}

// same wants packet to be, byte for byte, what gopacket builds.
func same(t *testing.T, packet, want []byte) {
	t.Helper()
	if !bytes.Equal(packet, want) {
		t.Errorf("packet is\n%x, want\n%x", packet, want)
	}
}

func TestAnswersGoBackToWhoAsked(t *testing.T) {
	kinds := []struct {
		name string
		ask  func(hubtest.IP) []byte
		tell func(hubtest.IP) []byte
		host netip.AddrPort
	}{
		{"tcp", func(p hubtest.IP) []byte { return p.TCP(hubtest.Flags{SYN: true}, 1, 0, 1460) },
			func(p hubtest.IP) []byte { return p.TCP(hubtest.Flags{SYN: true, ACK: true}, 9, 2, 1460) }, host},
		{"udp", hubtest.IP.UDP, hubtest.IP.UDP, host},
		{"echo", hubtest.IP.Ping, hubtest.IP.Pong, netip.AddrPortFrom(host.Addr(), 0)},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			n := connector.New(connector.Config{Address: own, Seed: 1})
			first, again := k.ask(ip(client, k.host)), k.ask(ip(client, k.host))
			seen := in(t, n, 0, first)
			if seen.Addr() != own || seen.Port() < 32768 {
				t.Fatalf("the host sees %v, want %v with a port of 32768 or more", seen, own)
			}
			same(t, first, k.ask(ip(seen, k.host)))
			if got := in(t, n, 1, again); got != seen {
				t.Errorf("the flow's second packet comes from %v, want %v", got, seen)
			}
			if got := in(t, n, 2, k.ask(ip(other, k.host))); got == seen {
				t.Errorf("two flows come from %v", got)
			}
			answer := k.tell(ip(k.host, seen))
			if reason := n.FromNetwork(3, answer, pkt.Offload{}); reason != drop.None {
				t.Fatalf("the answer was dropped as %v", reason)
			}
			same(t, answer, k.tell(ip(k.host, client)))
			stranger := netip.AddrPortFrom(netip.MustParseAddr("10.0.9.6"), k.host.Port())
			refused(t, n.FromNetwork, 4, k.tell(ip(stranger, seen)), drop.NoFlow)
		})
	}
}

func TestPartialChecksumsStayTrue(t *testing.T) {
	n := connector.New(connector.Config{Address: own})
	want := ip(client, host).UDP()
	seen := in(t, n, 0, bytes.Clone(want))
	packet := bytes.Clone(want)
	pseudo(packet)
	if reason := n.FromTunnel(1, packet, pkt.Offload{Partial: true}); reason != drop.None {
		t.Fatalf("dropped as %v", reason)
	}
	var m pkt.Meta
	m.Parse(packet)
	m.FillChecksum(packet)
	same(t, packet, ip(seen, host).UDP())
}

// pseudo leaves only the pseudo header's sum in a UDP datagram without payload
// or options: the checksum less the header itself.
func pseudo(b []byte) {
	sum := uint32(^(uint16(b[26])<<8 | uint16(b[27])))
	for i := 20; i < 26; i += 2 {
		sum += uint32(^(uint16(b[i])<<8 | uint16(b[i+1])))
	}
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	b[26], b[27] = byte(sum>>8), byte(sum)
}

func TestErrorsFollowWhatTheyQuote(t *testing.T) {
	router := netip.MustParseAddr("10.0.9.250")
	n := connector.New(connector.Config{Address: own})
	asked := ip(client, host).UDP()
	seen := in(t, n, 0, asked)

	t.Run("of the private network", func(t *testing.T) {
		e := hubtest.Unreachable(router, 3, 0, asked)
		if reason := n.FromNetwork(1, e, pkt.Offload{}); reason != drop.None {
			t.Fatalf("dropped as %v", reason)
		}
		same(t, e, hubtest.Unreachable(router, 3, 0, ip(client, host).UDP()))
	})
	t.Run("of the client's side", func(t *testing.T) {
		hub := netip.MustParseAddr("198.18.0.1")
		e := hubtest.Unreachable(hub, 4, 1400, ip(host, client).UDP())
		if reason := n.FromTunnel(1, e, pkt.Offload{}); reason != drop.None {
			t.Fatalf("dropped as %v", reason)
		}
		// Sent by the address that the host knows, not by one of the network's.
		same(t, e, hubtest.Unreachable(own, 4, 1400, ip(host, seen).UDP()))
	})
	t.Run("about nothing known", func(t *testing.T) {
		unknown := netip.AddrPortFrom(own, seen.Port()^1)
		refused(t, n.FromNetwork, 1, hubtest.Unreachable(router, 3, 0, ip(unknown, host).UDP()), drop.NoFlow)
		refused(t, n.FromTunnel, 1, hubtest.Unreachable(router, 3, 0, ip(host, other).UDP()), drop.NoFlow)
	})
}

func TestWhatOpensNoFlow(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8::1]:1")
	n := connector.New(connector.Config{Address: own})
	for name, c := range map[string]struct {
		packet []byte
		want   drop.Reason
	}{
		"mid-flow segment": {ip(client, host).TCP(hubtest.Flags{ACK: true}, 1, 1, 0), drop.Orphan},
		"SYN-ACK":          {ip(client, host).TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 1, 0), drop.Orphan},
		"reset":            {ip(client, host).TCP(hubtest.Flags{RST: true}, 1, 1, 0), drop.Orphan},
		"echo reply":       {ip(client, host).Pong(), drop.NoFlow},
		"IPv6":             {ip(six, six).UDP(), drop.Unsupported},
		"junk":             {[]byte{0x45}, drop.Malformed},
		"nothing":          {nil, drop.Malformed},
	} {
		t.Run(name, func(t *testing.T) { refused(t, n.FromTunnel, 0, c.packet, c.want) })
	}
	t.Run("fragment", func(t *testing.T) {
		p := ip(client, host)
		p.ClearDF = true
		b := p.UDP()
		b[6] |= 0x20 // more fragments
		b[10], b[11] = 0, 0
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
		sum = sum>>16 + sum&0xffff
		b[10], b[11] = ^byte(sum>>8), ^byte(sum)
		refused(t, n.FromTunnel, 0, b, drop.Fragment)
	})
	t.Run("from the private network", func(t *testing.T) {
		refused(t, n.FromNetwork, 0, ip(host, netip.AddrPortFrom(own, 40000)).TCP(hubtest.Flags{SYN: true}, 1, 0, 0), drop.NoFlow)
		refused(t, n.FromNetwork, 0, ip(host, netip.AddrPortFrom(own, 0)).Ping(), drop.NoFlow)
		refused(t, n.FromNetwork, 0, ip(host, client).UDP(), drop.NotForUs)
	})
	if n.Flows() != 0 {
		t.Errorf("%d flows were made, want 0", n.Flows())
	}
}

func TestLifetimes(t *testing.T) {
	timeouts := flow.NewTimeouts(5*time.Second, time.Hour, 20*time.Second, 10*time.Second, 2*time.Second, 3*time.Second, 4*time.Second)
	for name, c := range map[string]struct {
		ask  []byte
		tell func(hubtest.IP) []byte
		life vt.Instant
	}{
		"udp":                 {ip(client, host).UDP(), hubtest.IP.UDP, 10 * second},
		"dns":                 {ip(client, netip.AddrPortFrom(host.Addr(), 53)).UDP(), hubtest.IP.UDP, 2 * second},
		"echo":                {ip(client, host).Ping(), hubtest.IP.Pong, 3 * second},
		"tcp connect attempt": {ip(client, host).TCP(hubtest.Flags{SYN: true}, 1, 0, 0), func(p hubtest.IP) []byte { return p.TCP(hubtest.Flags{SYN: true, ACK: true}, 1, 2, 0) }, 5 * second},
	} {
		t.Run(name, func(t *testing.T) {
			n := connector.New(connector.Config{Address: own, Timeouts: timeouts})
			var m pkt.Meta
			m.Parse(c.ask)
			to := netip.AddrPortFrom(m.Dst, m.DstPort)
			seen := in(t, n, 0, c.ask)
			if wake := n.NextWake(); wake > c.life+second || wake == 0 {
				t.Errorf("NextWake = %v, want about %v", wake, c.life)
			}
			if reason := n.FromNetwork(c.life-1, c.tell(ip(to, seen)), pkt.Offload{}); reason != drop.None {
				t.Errorf("an answer in time was dropped as %v", reason)
			}
			refused(t, n.FromNetwork, c.life, c.tell(ip(to, seen)), drop.NoFlow)
			n.HandleTimer(c.life + second)
			if n.Flows() != 0 || n.NextWake() != vt.Never {
				t.Errorf("%d flows, next wake %v; want 0 and never", n.Flows(), n.NextWake())
			}
		})
	}
}

// A new SYN on the tuple of a connection that was reset keeps its port and
// begins a new life.
func TestReopens(t *testing.T) {
	n := connector.New(connector.Config{Address: own})
	syn := func() []byte { return ip(client, host).TCP(hubtest.Flags{SYN: true}, 1, 0, 0) }
	seen := in(t, n, 0, syn())
	in(t, n, 1, ip(client, host).TCP(hubtest.Flags{RST: true}, 2, 0, 0))
	if got := in(t, n, 10*second, syn()); got != seen {
		t.Errorf("comes from %v, want %v again", got, seen)
	}
	answer := func() []byte { return ip(host, seen).TCP(hubtest.Flags{SYN: true, ACK: true}, 9, 2, 0) }
	if reason := n.FromNetwork(39*second, answer(), pkt.Offload{}); reason != drop.None {
		t.Errorf("an answer within the new connect time was dropped as %v", reason)
	}
	refused(t, n.FromNetwork, 40*second, answer(), drop.NoFlow)
}

// A connection that was made outlives the connect time.
func TestEstablished(t *testing.T) {
	n := connector.New(connector.Config{Address: own})
	up := func(f hubtest.Flags, seq, ack uint32) []byte { return ip(client, host).TCP(f, seq, ack, 0) }
	seen := in(t, n, 0, up(hubtest.Flags{SYN: true}, 1, 0))
	if reason := n.FromNetwork(1, ip(host, seen).TCP(hubtest.Flags{SYN: true, ACK: true}, 9, 2, 0), pkt.Offload{}); reason != drop.None {
		t.Fatalf("SYN-ACK dropped as %v", reason)
	}
	in(t, n, 2, up(hubtest.Flags{ACK: true}, 2, 10))
	n.HandleTimer(3600 * second)
	if got := in(t, n, 3600*second, up(hubtest.Flags{ACK: true}, 2, 10)); got != seen {
		t.Errorf("after an hour the connection comes from %v, want %v", got, seen)
	}
}

func TestBounds(t *testing.T) {
	t.Run("flows", func(t *testing.T) {
		n := connector.New(connector.Config{Address: own, Flows: 2})
		for i := range uint16(2) {
			in(t, n, 0, ip(netip.AddrPortFrom(client.Addr(), 1+i), host).UDP())
		}
		refused(t, n.FromTunnel, 1, ip(client, host).UDP(), drop.TableFull)
		in(t, n, 1, ip(netip.AddrPortFrom(client.Addr(), 1), host).UDP()) // one that is there
		in(t, n, 301*second, ip(client, host).UDP())                      // when the others are over
	})
	t.Run("ports", func(t *testing.T) {
		n := connector.New(connector.Config{Address: own})
		taken := map[netip.AddrPort]bool{}
		ask := func(i int, to netip.AddrPort) []byte {
			return ip(netip.AddrPortFrom(client.Addr(), uint16(i)), to).UDP()
		}
		for i := range 32768 {
			seen := in(t, n, 0, ask(i, host))
			if taken[seen] || seen.Port() < 32768 {
				t.Fatalf("flow %d comes from %v, taken %v", i, seen, taken[seen])
			}
			taken[seen] = true
		}
		refused(t, n.FromTunnel, 1, ask(40000, host), drop.PortsExhausted)
		in(t, n, 1, ask(40000, netip.AddrPortFrom(host.Addr(), 444))) // to another port of the host
	})
}

func TestDoesNotAllocate(t *testing.T) {
	n := connector.New(connector.Config{Address: own})
	ask := ip(client, host).UDP()
	var m pkt.Meta
	seen := in(t, n, 0, bytes.Clone(ask))
	tell := ip(host, seen).UDP()
	packet := make([]byte, len(ask))
	both := func() {
		copy(packet, ask)
		n.FromTunnel(1, packet, pkt.Offload{})
		copy(packet, tell)
		n.FromNetwork(1, packet, pkt.Offload{})
		n.HandleTimer(1)
	}
	if got := testing.AllocsPerRun(100, both); got != 0 {
		t.Errorf("%v allocations for a packet each way, want 0", got)
	}
	if m.Parse(packet); m.Dst != client.Addr() {
		t.Errorf("the packets measured were not translated: destination %v", m.Dst)
	}
}
