package branch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

var zero pkt.Offload

// What the host sends leaves in GRE of RFC 2784, with the key of RFC 2890 where
// there is one, the kernel having routed it: TTL is one less.
func TestOutOnTheWire(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		c := l.udp(t, netip.AddrPortFrom(farAddr, 7))
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		p := l.wire.must(t)
		all := ips(p)
		if len(all) != 2 {
			t.Fatalf("%d IPv4 headers, want 2: %v", len(all), p)
		}
		outer, inner := all[0], all[1]
		if !outer.SrcIP.Equal(wanAddr.AsSlice()) || !outer.DstIP.Equal(anycast.AsSlice()) || outer.TTL != 64 || outer.Flags != layers.IPv4DontFragment {
			t.Errorf("outer header %v > %v, TTL %d, flags %v, want %v > %v, 64, DF", outer.SrcIP, outer.DstIP, outer.TTL, outer.Flags, wanAddr, anycast)
		}
		gre := p.Layer(layers.LayerTypeGRE).(*layers.GRE)
		if gre.KeyPresent != l.encap.HasKey || gre.Key != l.encap.Key || gre.ChecksumPresent || gre.SeqPresent || gre.Version != 0 {
			t.Errorf("GRE header %+v, want key %v %#x and nothing else", gre, l.encap.HasKey, l.encap.Key)
		}
		if inner.TTL != 63 {
			t.Errorf("inner TTL = %d, want 63", inner.TTL)
		}
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if err := udp.SetNetworkLayerForChecksum(inner); err != nil {
			t.Fatal(err)
		}
		// A checksum that the host's kernel left to the hardware may still be
		// undone on a tcx branch's wire; where this process wrote it, never.
		if err, bad := p.VerifyChecksums(); strings.Contains(l.tunnels.Feature(), "userspace") && (err != nil || len(bad) > 0) {
			t.Errorf("checksums: %v %v", err, bad)
		}
		if string(udp.Payload) != "question" {
			t.Errorf("payload = %q, want the question", udp.Payload)
		}
	})
}

// A second tunnel on the same WAN has its own key (and its own packets).
func TestSecondTunnel(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		second := netip.MustParseAddr("203.0.113.66")
		c := l.udp(t, netip.AddrPortFrom(second, 7))
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		gre := l.wire.must(t).Layer(layers.LayerTypeGRE).(*layers.GRE)
		if !gre.KeyPresent || gre.Key != secondKey {
			t.Errorf("GRE key %v %#x, want %#x", gre.KeyPresent, gre.Key, secondKey)
		}
		l.encap.HasKey, l.encap.Key = true, secondKey
		ip, udp := reply(second, 7)
		l.inject(t, ip, udp, gopacket.Payload("answer"))
		wantAnswer(t, c)
	})
}

func reply(from netip.Addr, port uint16) (*layers.IPv4, *layers.UDP) {
	ip := &layers.IPv4{Version: 4, TTL: 60, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: hostAddr.AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 40000}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return ip, udp
}

func wantAnswer(t *testing.T, c *net.UDPConn) {
	t.Helper()
	buf := make([]byte, 100)
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "answer" {
		t.Errorf("the host read %q, %v, want the answer", buf[:n], err)
	}
}

// What comes back reaches the host by the kernel's routing, and the branch's
// kernel, which sees the GRE too, does not complain to the edge.
func TestBackToTheHost(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		c := l.udp(t, netip.AddrPortFrom(farAddr, 7))
		ip, udp := reply(farAddr, 7)
		l.inject(t, ip, udp, gopacket.Payload("answer"))
		wantAnswer(t, c)
		if got := l.lan.must(t); ips(got)[0].TTL != 59 {
			t.Errorf("TTL at the host = %d, want 59", ips(got)[0].TTL)
		}
		// Whatever the kernel had to say, it said before this question.
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if p := l.wire.must(t); p.Layer(layers.LayerTypeGRE) == nil {
			t.Errorf("the branch sent %v, want the question in GRE", p)
		}
	})
}

// What a link made of a packet's ECN field on the outside of the tunnel, the host gets
// (SEMANTICS OX-4); a mark on what understands none is a drop, and counted.
func TestMarksComeOut(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		c := l.udp(t, netip.AddrPortFrom(farAddr, 7))
		marked := func(inside uint8, text string) []byte {
			ip, udp := reply(farAddr, 7)
			ip.TOS = inside
			buf := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(text)); err != nil {
				t.Fatal(err)
			}
			whole := l.encap.Append(nil, buf.Bytes())
			pkt.SetECN(whole, pkt.CE)
			return whole
		}
		l.put(t, marked(uint8(pkt.NotECT), "dropped"))
		l.put(t, marked(uint8(pkt.ECT0), "answer"))
		wantAnswer(t, c)
		if got := l.lan.must(t); ips(got)[0].TOS != uint8(pkt.CE) {
			t.Errorf("TOS at the host = %d, want CE", ips(got)[0].TOS)
		}
		if counters, err := l.tunnels.Counters(); err != nil || counters["drop_not_ect"] != 1 {
			t.Errorf("counters = %v, %v, want one drop_not_ect", counters, err)
		}
	})
}

// A packet with a wrong key is of no tunnel and reaches nobody.
func TestWrongKeyReachesNobody(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		c := l.udp(t, netip.AddrPortFrom(farAddr, 7))
		right := l.encap
		ip, udp := reply(farAddr, 7)
		l.encap.HasKey, l.encap.Key = true, 12345
		l.inject(t, ip, udp, gopacket.Payload("forged"))
		l.encap = right
		l.inject(t, ip, udp, gopacket.Payload("answer"))
		wantAnswer(t, c)
		counters, err := l.tunnels.Counters()
		if err != nil || counters["decapsulated"] != 1 {
			t.Errorf("counters = %v, %v, want decapsulated 1", counters, err)
		}
	})
}

// A SYN leaves with the MSS of the tunnel's MTU, and a SYN-ACK comes in with it
// (SEMANTICS 2.10): 1436, or 1432 behind a key.
func TestMSSIsClampedBothWays(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		want := uint16(l.encap.InnerMTU(1500) - 40)
		ctx, cancel := context.WithCancel(t.Context())
		dialled := make(chan error, 1)
		go func() {
			dialled <- l.NS("host").Do(func() error {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: hostAddr.AsSlice(), Port: 40001}}
				d.SetMultipathTCP(false)
				c, err := d.DialContext(ctx, "tcp4", netip.AddrPortFrom(farAddr, 443).String())
				if err == nil {
					err = c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
				return err
			})
		}()
		syn := l.wire.must(t).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if got := mss(t, syn); !syn.SYN || got != want {
			t.Errorf("SYN %v with MSS %d, want %d", syn.SYN, got, want)
		}
		ip := &layers.IPv4{Version: 4, TTL: 60, Protocol: layers.IPProtocolTCP, SrcIP: farAddr.AsSlice(), DstIP: hostAddr.AsSlice()}
		ack := &layers.TCP{
			SrcPort: 443, DstPort: 40001, Seq: 1000, Ack: syn.Seq + 1, SYN: true, ACK: true, Window: 1000,
			Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}},
		}
		_ = ack.SetNetworkLayerForChecksum(ip)
		l.inject(t, ip, ack)
		// That the host's TCP accepts it shows that the checksum was mended,
		// across two words: the option is at an odd offset.
		if err := <-dialled; err != nil {
			t.Errorf("connect: %v", err)
		}
		cancel()
		synack := l.lan.must(t).Layer(layers.LayerTypeTCP).(*layers.TCP)
		if got := mss(t, synack); !synack.SYN || !synack.ACK || got != want {
			t.Errorf("SYN-ACK with MSS %d at the host, want %d", got, want)
		}
	})
}

func mss(t *testing.T, tcp *layers.TCP) uint16 {
	t.Helper()
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS {
			return uint16(o.OptionData[0])<<8 | uint16(o.OptionData[1])
		}
	}
	t.Fatalf("no MSS option in %v", tcp)
	return 0
}

// A packet with DF that does not fit the tunnel is refused by the kernel with
// "fragmentation needed", naming the tunnel's MTU (RT-14).
func TestTooBigIsRefusedByTheKernel(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		refused(t, l, l.udp(t, netip.AddrPortFrom(farAddr, 7)), pmtud{28, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU})
	})
}

// pmtud is how a socket discovers the path MTU: the headers of UDP, and options.
type pmtud struct{ headers, level, discover, never, mtu int }

// refused sends what does not fit the tunnel, and then what just does.
func refused(t *testing.T, l *lab, c *net.UDPConn, o pmtud) {
	want := l.encap.InnerMTU(1500)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), o.level, o.discover, o.never) }); err != nil || e != nil {
		t.Fatal(err, e)
	}
	if _, err := c.Write(make([]byte, 1500-o.headers)); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.EMSGSIZE) || timedOut(err) {
		t.Errorf("read after a packet too big = %v, want EMSGSIZE", err)
	}
	var mtu int
	if e := raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), o.level, o.mtu) }); err != nil || e != nil {
		t.Fatal(err, e)
	}
	if mtu != want {
		t.Errorf("path MTU at the host = %d, want %d", mtu, want)
	}
	if _, err := c.Write(make([]byte, want-o.headers)); err != nil {
		t.Errorf("a packet of %d bytes: %v, want it sent", want, err)
	}
	if got := ips(l.wire.must(t))[0].Length; got != 1500 {
		t.Errorf("outer packet of %d bytes, want 1500", got)
	}
}

// What was counted can still be read of the loop in userspace after Close.
func TestCountersOutliveClose(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		if err := l.tunnels.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(l.tunnels.Feature(), "userspace") {
			if _, err := l.tunnels.Counters(); err != nil {
				t.Errorf("Counters after Close: %v", err)
			}
		}
	})
}

// Mistakes of the plan are named.
func TestAttachNamesWhatIsMissing(t *testing.T) {
	each(t, func(t *testing.T, l *lab) {
		b := site(nil).Branches[0]
		b.WAN = "nowhere"
		if _, err := Attach(l.NS("branch"), b, Options{Gateways: gateways}); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
			t.Errorf("Attach = %v, want the WAN's name in it", err)
		}
		b = site(nil).Branches[0]
		b.Tunnels[0].Interface = "gre9"
		if _, err := Attach(l.NS("branch"), b, Options{Gateways: gateways}); err == nil || !strings.Contains(err.Error(), `"gre9"`) {
			t.Errorf("Attach = %v, want the tunnel's name in it", err)
		}
	})
}
