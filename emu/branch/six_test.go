package branch

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	hostAddr6 = netip.MustParseAddr("fd00:1::5")
	farAddr6  = netip.MustParseAddr("2001:db8::9")
)

// withSix gives a site IPv6 too: LAN and gre1 have both.
func withSix(p *plan.Plan) *plan.Plan {
	lan := &p.Links[0]
	lan.A.Addresses, lan.A.Neighbors = append(lan.A.Addresses, pfx("fd00:1::5/64")), append(lan.A.Neighbors, addr("fd00:1::1"))
	lan.B.Addresses, lan.B.Neighbors = append(lan.B.Addresses, pfx("fd00:1::1/64")), append(lan.B.Neighbors, hostAddr6)
	p.Nodes[0].Routes = append(p.Nodes[0].Routes, labtest.Route("::/0", "eth0", "fd00:1::1"))
	p.Nodes[1].Routes = append(p.Nodes[1].Routes, labtest.Route("::/0", "gre1", "2001:2:0:2::2"))
	gre1 := &p.Branches[0].Tunnels[0]
	gre1.Inner6, gre1.Peer6 = addr("2001:2:0:2::3"), addr("2001:2:0:2::2")
	return p
}

// udp6 opens a socket of the host, connected to the far address.
func (l *lab) udp6(t *testing.T) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := l.NS("host").Do(func() (err error) {
		c, err = net.DialUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(hostAddr6, 40000)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(farAddr6, 7)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// mustSix is the next packet with IPv6 in it, behind GRE or not.
func (p *tap) mustSix(t *testing.T) (gopacket.Packet, *layers.IPv6) {
	t.Helper()
	d := p.must(t)
	ip, ok := d.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	if !ok {
		t.Fatalf("no IPv6 in %v", d)
	}
	return d, ip
}

// IPv6 travels in the same tunnel, over IPv4, and back, and nothing but what was
// sent leaves the branch: no neighbour is asked, no group reported, nothing goes
// round.
func TestSixInTheTunnel(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		c := l.udp6(t)
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		p, inner := l.wire.mustSix(t)
		outer, gre := ips(p)[0], p.Layer(layers.LayerTypeGRE).(*layers.GRE)
		if len(ips(p)) != 1 || !outer.DstIP.Equal(anycast.AsSlice()) || gre.Protocol != layers.EthernetTypeIPv6 || gre.KeyPresent != l.encap.HasKey || gre.Key != l.encap.Key {
			t.Errorf("outer headers %+v, %+v", outer, gre)
		}
		if int(outer.Length) != 20+len(gre.Contents)+40+8+len("question") {
			t.Errorf("outer length %d does not fit IPv6 of %d", outer.Length, inner.Length)
		}
		if inner.HopLimit != 63 || !inner.SrcIP.Equal(hostAddr6.AsSlice()) {
			t.Errorf("inside: from %v with hop limit %d, want %v and 63", inner.SrcIP, inner.HopLimit, hostAddr6)
		}
		ip := &layers.IPv6{Version: 6, HopLimit: 60, NextHeader: layers.IPProtocolUDP, SrcIP: farAddr6.AsSlice(), DstIP: hostAddr6.AsSlice()}
		udp := &layers.UDP{SrcPort: 7, DstPort: 40000}
		_ = udp.SetNetworkLayerForChecksum(ip)
		l.inject(t, ip, udp, gopacket.Payload("answer"))
		wantAnswer(t, c)
		if _, got := l.lan.mustSix(t); got.HopLimit != 59 {
			t.Errorf("hop limit at the host = %d, want 59", got.HopLimit)
		}
		if b := l.wire.next(t, 200*time.Millisecond); b != nil {
			t.Errorf("the branch sent %x besides", b)
		}
	})
}

// A SYN over IPv6 leaves with what the tunnel leaves it, 1416 or 1412 behind a
// key, and a SYN-ACK comes in so.
func TestSixMSSIsClampedBothWays(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		want := uint16(l.encap.InnerMTU(1500) - 60)
		dialled := make(chan error, 1)
		go func() {
			dialled <- l.NS("host").Do(func() error {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: hostAddr6.AsSlice(), Port: 40001}}
				d.SetMultipathTCP(false)
				c, err := d.DialContext(t.Context(), "tcp6", netip.AddrPortFrom(farAddr6, 443).String())
				if err == nil {
					err = c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
				return err
			})
		}()
		p, _ := l.wire.mustSix(t)
		syn := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if got := mss(t, syn); !syn.SYN || got != want {
			t.Errorf("SYN %v with MSS %d, want %d", syn.SYN, got, want)
		}
		ip := &layers.IPv6{Version: 6, HopLimit: 60, NextHeader: layers.IPProtocolTCP, SrcIP: farAddr6.AsSlice(), DstIP: hostAddr6.AsSlice()}
		ack := &layers.TCP{
			SrcPort: 443, DstPort: 40001, Seq: 1000, Ack: syn.Seq + 1, SYN: true, ACK: true, Window: 1000,
			Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 160}}},
		}
		_ = ack.SetNetworkLayerForChecksum(ip)
		l.inject(t, ip, ack)
		if err := <-dialled; err != nil {
			t.Errorf("connect: %v", err)
		}
		p, _ = l.lan.mustSix(t)
		synack := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if got := mss(t, synack); !synack.SYN || !synack.ACK || got != want {
			t.Errorf("SYN-ACK with MSS %d at the host, want %d", got, want)
		}
	})
}

// What does not fit the tunnel is refused by the kernel with "packet too big"
// (RFC 4443 section 3.2), naming the tunnel's MTU.
func TestSixTooBigIsRefusedByTheKernel(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		refused(t, l, l.udp6(t), pmtud{48, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU})
	})
}

// The tunnel's peer has no IPv6: the kernel would route round what comes out there.
func TestPeerHasNoIPv6(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		var got []byte
		if err := l.NS("branch").Do(func() (err error) {
			got, err = os.ReadFile("/proc/sys/net/ipv6/conf/gre1x/disable_ipv6")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if string(got) != "1\n" {
			t.Errorf("disable_ipv6 on gre1x is %q, want 1", got)
		}
	})
}
