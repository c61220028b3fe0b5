package branch

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	hostAddr = netip.MustParseAddr("10.0.1.5")
	farAddr  = netip.MustParseAddr("203.0.113.9")
	anycast  = netip.MustParseAddr("198.18.0.1")
	wanAddr  = netip.MustParseAddr("192.0.2.2")
	wanMAC   = labtest.MAC(0x21)
	farMAC   = labtest.MAC(0x22)
	gateways = map[string]net.HardwareAddr{"wan0": farMAC}
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr  { return netip.MustParseAddr(s) }

// secondKey is the key of gre2, which carries 203.0.113.66 alone.
const secondKey = 0xabcd

// site is host – branch – far, where far plays the edge. gre1 has the key
// given, gre2 another.
func site(key *uint32) *plan.Plan {
	second := uint32(secondKey)
	t := func(name, inner, peer string, m byte, key *uint32) plan.BranchTunnel {
		e := tunnel.Encap{Src: wanAddr, Dst: anycast, HasKey: key != nil}
		return plan.BranchTunnel{
			Name: "shop.1." + name, Interface: name, MTU: e.InnerMTU(1500), Local: wanAddr, Remote: anycast, Key: key,
			Inner: addr(inner), Peer: addr(peer), MAC: labtest.MAC(m), PeerMAC: labtest.MAC(m + 1),
		}
	}
	return &plan.Plan{
		Scenario: "site",
		Nodes: []plan.Node{
			{ID: "host", Kind: plan.KindHost, Routes: []plan.KernelRoute{labtest.Route("0.0.0.0/0", "eth0", "10.0.1.1")}},
			{ID: "branch", Kind: plan.KindBranch, Forward: true, Routes: []plan.KernelRoute{
				labtest.Route("198.18.0.0/16", "wan0", "192.0.2.1"), labtest.Route("0.0.0.0/0", "gre1", "169.254.240.0"), labtest.Route("203.0.113.66/32", "gre2", "169.254.240.2"),
			}},
			{ID: "far", Kind: plan.KindServer},
		},
		Links: []plan.Link{
			labtest.Link("lan", 1500, labtest.Side{Node: "host", Interface: "eth0", Address: "10.0.1.5/24", MAC: 0x11}, labtest.Side{Node: "branch", Interface: "lan0", Address: "10.0.1.1/24", MAC: 0x12}),
			labtest.Link("access", 1500, labtest.Side{Node: "branch", Interface: "wan0", Address: "192.0.2.2/30", MAC: 0x21}, labtest.Side{Node: "far", Interface: "b1", Address: "192.0.2.1/30", MAC: 0x22}),
		},
		Branches: []plan.Branch{{Node: "branch", Site: "shop.1", WAN: "wan0", LANs: []string{"lan0"}, Tunnels: []plan.BranchTunnel{
			t("gre1", "169.254.240.1", "169.254.240.0", 0x51, key), t("gre2", "169.254.240.3", "169.254.240.2", 0x61, &second),
		}}},
	}
}

// lab is a running site.
type lab struct {
	*keeper.Lab
	tunnels *Tunnels
	encap   tunnel.Encap // of gre1, toward the branch
	// wire is the far end of the WAN, lan the host's own link.
	wire, lan *tap
	send      *afpacket.Sender
}

// each runs f on a lab for every engine, without and with a key.
func each(t *testing.T, f func(t *testing.T, l *lab)) {
	need.BPF(t)
	key := uint32(0xfeed0002)
	for _, io := range []IO{IOKernel, IOPlain} {
		for name, k := range map[string]*uint32{"no key": nil, "key": &key} {
			t.Run(string(io)+"/"+name, func(t *testing.T) { f(t, raise(t, io, k)) })
		}
	}
}

func raise(t *testing.T, io IO, key *uint32) *lab {
	t.Helper()
	p := withSix(site(key))
	k := labtest.Up(t, p)
	l := &lab{Lab: k, encap: tunnel.Encap{Src: anycast, Dst: wanAddr, TTL: 61}}
	if key != nil {
		l.encap.HasKey, l.encap.Key = true, *key
	}
	l.wire, l.lan = l.tap(t, "far", "b1"), l.tap(t, "host", "eth0")
	l.send = afpacket.NewSender(l.wire.socket, farMAC, wanMAC)
	var err error
	if l.tunnels, err = Attach(k.NS("branch"), p.Branches[0], Options{Gateways: gateways, IO: io}); err != nil {
		t.Fatal(err)
	}
	labtest.CloseTwice(t, "tunnels", l.tunnels.Close)
	return l
}

// tap sees what arrives at an interface.
type tap struct {
	socket *afpacket.Socket
	rx     *afpacket.Receiver
	queue  [][]byte
}

func (l *lab) tap(t *testing.T, node, iface string) *tap {
	t.Helper()
	p := new(tap)
	err := l.NS(node).Do(func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		p.socket, err = afpacket.Listen(i.Index)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.socket.Close() })
	p.rx = afpacket.NewReceiver(p.socket)
	return p
}

// next is the next IP packet, or nil after the patience.
func (p *tap) next(t *testing.T, patience time.Duration) []byte {
	t.Helper()
	for deadline := time.Now().Add(patience); len(p.queue) == 0; {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		if err := afpacket.Wait([]unix.PollFd{{Fd: int32(p.socket.Fd()), Events: unix.POLLIN}}, left); err != nil {
			t.Fatal(err)
		}
		n, err := p.rx.Receive()
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if f, _ := p.rx.Frame(i); (f[12] == 8 && f[13] == 0) || (f[12] == 0x86 && f[13] == 0xdd) {
				p.queue = append(p.queue, append([]byte(nil), f[afpacket.EthernetHeader:]...))
			}
		}
	}
	first := p.queue[0]
	p.queue = p.queue[1:]
	return first
}

// patience is how long a packet that must come may take.
const patience = 5 * time.Second

// must is the next packet, decoded by gopacket.
func (p *tap) must(t *testing.T) gopacket.Packet {
	t.Helper()
	b := p.next(t, patience)
	if b == nil {
		t.Fatal("no packet came")
	}
	first := layers.LayerTypeIPv4
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	d := gopacket.NewPacket(b, first, gopacket.Default)
	if e := d.ErrorLayer(); e != nil {
		t.Fatalf("%x: %v", b, e.Error())
	}
	return d
}

// ips are all IPv4 headers of a packet, outermost first.
func ips(p gopacket.Packet) (all []*layers.IPv4) {
	for _, l := range p.Layers() {
		if ip, ok := l.(*layers.IPv4); ok {
			all = append(all, ip)
		}
	}
	return all
}

// udp opens a socket of the host, connected to a far address.
func (l *lab) udp(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := l.NS("host").Do(func() (err error) {
		c, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(hostAddr, 40000)), net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// inject sends a packet into the tunnel from the far end.
func (l *lab) inject(t *testing.T, ls ...gopacket.SerializableLayer) {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	l.put(t, l.encap.Append(nil, buf.Bytes()))
}

// put sends a packet to the branch as it is.
func (l *lab) put(t *testing.T, packet []byte) {
	t.Helper()
	before := l.send.Sent().Packets
	l.send.Finish(packet, zero, &tunnel.Encap{})
	if l.send.Flush(); l.send.Sent().Packets != before+1 {
		t.Fatalf("the packet was not sent: %+v", l.send.Sent())
	}
}

// timedOut reports whether a read ended by its deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
