// Package hubtest is a network in memory around real hubs: packets travel by
// their outer addresses from hub to hub until they reach a site or the
// Internet. It has no kernel, no clock and no goroutine.
//
// It is for tests and benchmarks. Its packets are built by gopacket, so that
// what the hub reads was not written by the hub's own code.
package hubtest

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Flags of a TCP segment.
type Flags struct{ SYN, ACK, FIN, RST bool }

// IP is an IPv4 packet to build. Zero fields mean the usual: TTL 64, DF set,
// no payload.
type IP struct {
	Src, Dst netip.AddrPort // ports, or the echo id in Src (request) or Dst (reply)
	TTL      uint8
	ClearDF  bool
	Payload  []byte
}

func (p IP) header(proto layers.IPProtocol) *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TTL: p.TTL, Protocol: proto, Id: 1,
		SrcIP: p.Src.Addr().AsSlice(), DstIP: p.Dst.Addr().AsSlice(),
	}
	if ip.TTL == 0 {
		ip.TTL = 64
	}
	if !p.ClearDF {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

func serialize(l ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(fmt.Sprintf("hubtest: %v", err)) // a packet that gopacket cannot write is a mistake in the test
	}
	return b.Bytes()
}

// TCP builds a segment; mss 0 means no MSS option.
func (p IP) TCP(f Flags, seq, ack uint32, mss uint16) []byte {
	ip := p.header(layers.IPProtocolTCP)
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(p.Src.Port()), DstPort: layers.TCPPort(p.Dst.Port()),
		SYN: f.SYN, ACK: f.ACK, FIN: f.FIN, RST: f.RST, Seq: seq, Ack: ack, Window: 65535,
	}
	if mss != 0 {
		tcp.Options = []layers.TCPOption{
			{OptionType: layers.TCPOptionKindNop, OptionLength: 1},
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(mss >> 8), byte(mss)}},
		}
	}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	return serialize(ip, tcp, gopacket.Payload(p.Payload))
}

// UDP builds a datagram.
func (p IP) UDP() []byte {
	ip := p.header(layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: layers.UDPPort(p.Src.Port()), DstPort: layers.UDPPort(p.Dst.Port())}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return serialize(ip, udp, gopacket.Payload(p.Payload))
}

// Ping builds an echo request with the id of Src's port.
func (p IP) Ping() []byte { return p.echo(layers.ICMPv4TypeEchoRequest, p.Src.Port()) }

// Pong builds an echo reply with the id of Dst's port.
func (p IP) Pong() []byte { return p.echo(layers.ICMPv4TypeEchoReply, p.Dst.Port()) }

func (p IP) echo(kind uint8, id uint16) []byte {
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: id, Seq: 1}
	return serialize(p.header(layers.IPProtocolICMPv4), icmp, gopacket.Payload(p.Payload))
}

// Unreachable builds the ICMP error from router that quotes packet.
func Unreachable(router netip.Addr, code uint8, mtu uint16, packet []byte) []byte {
	quoted := Decode(packet)
	ip := IP{Src: netip.AddrPortFrom(router, 0), Dst: quoted.Src}.header(layers.IPProtocolICMPv4)
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, code), Seq: mtu}
	return serialize(ip, icmp, gopacket.Payload(packet[:min(len(packet), 28)]))
}

// GRE wraps inner as a branch router does; key may be nil.
func GRE(src, dst netip.Addr, key *uint32, inner []byte) []byte {
	ip := IP{Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(dst, 0)}.header(layers.IPProtocolGRE)
	gre := &layers.GRE{Protocol: layers.EthernetTypeIPv4}
	if key != nil {
		gre.KeyPresent, gre.Key = true, *key
	}
	return serialize(ip, gre, gopacket.Payload(inner))
}

// View is a packet as gopacket sees it.
type View struct {
	Src, Dst netip.AddrPort // echo ids as in IP
	Proto    layers.IPProtocol
	TTL      uint8
	TCP      *layers.TCP
	ICMP     *layers.ICMPv4
	IP       *layers.IPv4
	GRE      *layers.GRE
	Payload  []byte
	// Sound says that all checksums are right.
	Sound bool
}

// Decode reads a packet; what gopacket cannot read comes out as a zero View.
func Decode(b []byte) View {
	p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.DecodeOptions{NoCopy: true})
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		return View{}
	}
	v := View{IP: ip, Proto: ip.Protocol, TTL: ip.TTL, Payload: ip.Payload, Sound: true}
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	var sport, dport uint16
	switch l := p.Layer(ip.NextLayerType()).(type) {
	case *layers.TCP:
		sport, dport, v.TCP, v.Payload = uint16(l.SrcPort), uint16(l.DstPort), l, l.Payload
		_ = l.SetNetworkLayerForChecksum(ip)
	case *layers.UDP:
		_ = l.SetNetworkLayerForChecksum(ip)
		sport, dport, v.Payload = uint16(l.SrcPort), uint16(l.DstPort), l.Payload
	case *layers.ICMPv4:
		v.ICMP, v.Payload = l, l.Payload
		switch l.TypeCode.Type() {
		case layers.ICMPv4TypeEchoRequest:
			sport = l.Id
		case layers.ICMPv4TypeEchoReply:
			dport = l.Id
		}
	case *layers.GRE:
		v.GRE, v.Payload = l, l.Payload
	}
	v.Src, v.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	// Layers beyond the second are guessed from ports and mean nothing here.
	for _, l := range p.Layers()[:min(2, len(p.Layers()))] {
		if l, ok := l.(gopacket.LayerWithChecksum); ok {
			err, result := l.VerifyChecksum()
			v.Sound = v.Sound && err == nil && result.Valid
		}
	}
	return v
}
