// Package hubtest is a network in memory around real hubs: packets travel by
// their outer addresses from hub to hub until they reach a site or the
// Internet. It has no kernel, no clock and no goroutine.
//
// It is for tests and benchmarks. Its packets are built by gopacket, so that
// what the hub reads was not written by the hub's own code.
package hubtest

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Flags of a TCP segment.
type Flags struct{ SYN, ACK, FIN, RST bool }

// IP is a packet to build, of the family of its addresses. Zero fields mean the
// usual: TTL 64, DF set, no payload.
type IP struct {
	Src, Dst netip.AddrPort // ports, or the echo id in Src (request) or Dst (reply)
	TTL      uint8
	Seq      uint16 // of an echo message; 0 means 1
	ClearDF  bool   // IPv4 only
	Payload  []byte
	// Before are IPv6 extension headers in front of the payload's own, complete
	// but for their next-header field.
	Before []Extension
}

// Extension is an IPv6 extension header: its protocol number and its bytes.
type Extension struct {
	Proto layers.IPProtocol
	Bytes []byte
}

// network is an IP header of either family.
type network interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

func (p IP) header(proto layers.IPProtocol) network {
	ttl := p.TTL
	if ttl == 0 {
		ttl = 64
	}
	if p.Src.Addr().Is6() {
		return &layers.IPv6{Version: 6, HopLimit: ttl, NextHeader: proto, SrcIP: p.Src.Addr().AsSlice(), DstIP: p.Dst.Addr().AsSlice()}
	}
	ip := &layers.IPv4{
		Version: 4, TTL: ttl, Protocol: proto, Id: 1,
		SrcIP: p.Src.Addr().AsSlice(), DstIP: p.Dst.Addr().AsSlice(),
	}
	if !p.ClearDF {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

// packet writes the layers, with the extension headers after the first.
func (p IP) packet(ip network, l ...gopacket.SerializableLayer) []byte {
	six, ok := ip.(*layers.IPv6)
	if !ok || len(p.Before) == 0 {
		return serialize(append([]gopacket.SerializableLayer{ip}, l...)...)
	}
	var extensions []byte
	proto := six.NextHeader
	for i := len(p.Before) - 1; i >= 0; i-- {
		e := append([]byte{byte(proto)}, p.Before[i].Bytes[1:]...)
		extensions, proto = append(e, extensions...), p.Before[i].Proto
	}
	upper := serialize(append([]gopacket.SerializableLayer{ip}, l...)...)[40:]
	six.NextHeader = proto
	return serialize(six, gopacket.Payload(append(extensions, upper...)))
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
	return p.packet(ip, tcp, gopacket.Payload(p.Payload))
}

// UDP builds a datagram.
func (p IP) UDP() []byte {
	ip := p.header(layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: layers.UDPPort(p.Src.Port()), DstPort: layers.UDPPort(p.Dst.Port())}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return p.packet(ip, udp, gopacket.Payload(p.Payload))
}

// Ping builds an echo request with the id of Src's port.
func (p IP) Ping() []byte {
	return p.echo(layers.ICMPv4TypeEchoRequest, layers.ICMPv6TypeEchoRequest, p.Src.Port())
}

// Pong builds an echo reply with the id of Dst's port.
func (p IP) Pong() []byte {
	return p.echo(layers.ICMPv4TypeEchoReply, layers.ICMPv6TypeEchoReply, p.Dst.Port())
}

func (p IP) echo(four, six uint8, id uint16) []byte {
	seq := max(p.Seq, 1)
	if p.Src.Addr().Is6() {
		return p.icmp6(six, 0, &layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}, gopacket.Payload(p.Payload))
	}
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(four, 0), Id: id, Seq: seq}
	return p.packet(p.header(layers.IPProtocolICMPv4), icmp, gopacket.Payload(p.Payload))
}

func (p IP) icmp6(kind, code uint8, l ...gopacket.SerializableLayer) []byte {
	ip := p.header(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return p.packet(ip, append([]gopacket.SerializableLayer{icmp}, l...)...)
}

// Unreachable builds the ICMP error from router that quotes packet. With an mtu
// it is of IPv6 "packet too big".
func Unreachable(router netip.Addr, code uint8, mtu uint16, packet []byte) []byte {
	quoted := Decode(packet)
	p := IP{Src: netip.AddrPortFrom(router, 0), Dst: quoted.Src}
	if router.Is6() {
		kind := uint8(layers.ICMPv6TypeDestinationUnreachable)
		if mtu != 0 {
			kind, code = layers.ICMPv6TypePacketTooBig, 0
		}
		word := gopacket.Payload{0, 0, byte(mtu >> 8), byte(mtu)}
		return p.icmp6(kind, code, word, gopacket.Payload(packet[:min(len(packet), 1232)]))
	}
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, code), Seq: mtu}
	return serialize(p.header(layers.IPProtocolICMPv4), icmp, gopacket.Payload(packet[:min(len(packet), 28)]))
}

// GRE wraps inner as a branch router does; key may be nil.
func GRE(src, dst netip.Addr, key *uint32, inner []byte) []byte {
	ip := IP{Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(dst, 0)}.header(layers.IPProtocolGRE)
	gre := &layers.GRE{Protocol: layers.EthernetTypeIPv4}
	if len(inner) > 0 && inner[0]>>4 == 6 {
		gre.Protocol = layers.EthernetTypeIPv6
	}
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
	ICMP6    *layers.ICMPv6
	IP       *layers.IPv4
	IP6      *layers.IPv6
	GRE      *layers.GRE
	// Payload is what the transport carries: of an ICMP error, the quote.
	Payload []byte
	// Sound says that all checksums are right.
	Sound bool
}

// Decode reads a packet; what gopacket cannot read comes out as a zero View.
func Decode(b []byte) View {
	first := layers.LayerTypeIPv4
	if len(b) > 0 && b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.DecodeOptions{NoCopy: true})
	v := View{Sound: true}
	var ip gopacket.NetworkLayer
	var src, dst netip.Addr
	switch l := p.NetworkLayer().(type) {
	case *layers.IPv4:
		ip, v.IP, v.Proto, v.TTL, v.Payload = l, l, l.Protocol, l.TTL, l.Payload
		src, _ = netip.AddrFromSlice(l.SrcIP)
		dst, _ = netip.AddrFromSlice(l.DstIP)
		v.verify(l)
	case *layers.IPv6:
		ip, v.IP6, v.Proto, v.TTL, v.Payload = l, l, l.NextHeader, l.HopLimit, l.Payload
		src, _ = netip.AddrFromSlice(l.SrcIP)
		dst, _ = netip.AddrFromSlice(l.DstIP)
	default:
		return View{}
	}
	var sport, dport uint16
	for _, l := range p.Layers()[1:] {
		if upper := v.upper(l, ip, &sport, &dport); upper {
			break // layers beyond are guessed from ports and mean nothing here
		}
	}
	v.Src, v.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return v
}

func (v *View) verify(l gopacket.LayerWithChecksum) {
	err, result := l.VerifyChecksum()
	v.Sound = v.Sound && err == nil && result.Valid
}

// upper reads a layer above ip, and reports whether it is the transport's.
func (v *View) upper(l gopacket.Layer, ip gopacket.NetworkLayer, sport, dport *uint16) bool {
	switch l := l.(type) {
	case *layers.TCP:
		*sport, *dport, v.TCP, v.Payload, v.Proto = uint16(l.SrcPort), uint16(l.DstPort), l, l.Payload, layers.IPProtocolTCP
		_ = l.SetNetworkLayerForChecksum(ip)
		v.verify(l)
	case *layers.UDP:
		*sport, *dport, v.Payload, v.Proto = uint16(l.SrcPort), uint16(l.DstPort), l.Payload, layers.IPProtocolUDP
		_ = l.SetNetworkLayerForChecksum(ip)
		v.verify(l)
	case *layers.ICMPv4:
		v.ICMP, v.Payload = l, l.Payload
		switch l.TypeCode.Type() {
		case layers.ICMPv4TypeEchoRequest:
			*sport = l.Id
		case layers.ICMPv4TypeEchoReply:
			*dport = l.Id
		}
		v.verify(l)
	case *layers.ICMPv6:
		v.ICMP6, v.Proto = l, layers.IPProtocolICMPv6
		_ = l.SetNetworkLayerForChecksum(ip)
		v.verify(l)
		if len(l.Payload) < 4 {
			return true
		}
		v.Payload = l.Payload[4:]
		switch id := binary.BigEndian.Uint16(l.Payload); l.TypeCode.Type() {
		case layers.ICMPv6TypeEchoRequest:
			*sport = id
		case layers.ICMPv6TypeEchoReply:
			*dport = id
		}
	case *layers.GRE:
		v.GRE, v.Payload = l, l.Payload
	default:
		return false
	}
	return true
}

// EchoRequest reports a ping.
func (v *View) EchoRequest() bool {
	return v.ICMP != nil && v.ICMP.TypeCode.Type() == layers.ICMPv4TypeEchoRequest ||
		v.ICMP6 != nil && v.ICMP6.TypeCode.Type() == layers.ICMPv6TypeEchoRequest
}

// Error reports an ICMP error.
func (v *View) Error() bool {
	if v.ICMP6 != nil {
		return v.ICMP6.TypeCode.Type() < layers.ICMPv6TypeEchoRequest
	}
	if v.ICMP == nil {
		return false
	}
	switch v.ICMP.TypeCode.Type() {
	case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeTimeExceeded, layers.ICMPv4TypeParameterProblem:
		return true
	}
	return false
}

// TooBig is the MTU that the ICMP error tells; 0 if it is none of that kind.
func (v *View) TooBig() int {
	switch {
	case v.ICMP != nil && v.ICMP.TypeCode == layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded):
		return int(v.ICMP.Seq)
	case v.ICMP6 != nil && v.ICMP6.TypeCode == layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0):
		return int(binary.BigEndian.Uint32(v.ICMP6.Payload))
	}
	return 0
}
