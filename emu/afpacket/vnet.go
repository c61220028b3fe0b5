package afpacket

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// vnetSize is struct virtio_net_hdr (virtio 1.2, 5.1.6), in host byte order:
//
//	flags u8 · gso_type u8 · hdr_len u16 · gso_size u16 · csum_start u16 · csum_offset u16
const vnetSize = 10

// gsoECN marks a superpacket whose CWR flag belongs to the first segment alone.
const gsoECN = unix.VIRTIO_NET_HDR_GSO_ECN

// Header is what a received frame's virtio header says. Offsets are from the
// Ethernet header on.
type Header struct {
	partial            bool
	gso                uint8
	size               uint16
	csumStart, csumOff uint16
}

func parseVnet(b []byte) Header {
	ne := binary.NativeEndian
	return Header{
		partial:   b[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0,
		gso:       b[1] &^ gsoECN,
		size:      ne.Uint16(b[4:]),
		csumStart: ne.Uint16(b[6:]),
		csumOff:   ne.Uint16(b[8:]),
	}
}

// Errors of Offload.
var (
	// ErrSuperpacket is a superpacket of a kind that pkt.Offload cannot say.
	ErrSuperpacket = errors.New("superpacket that is not TCP")
	// ErrChecksum is an unfinished checksum where no transport header is.
	ErrChecksum = errors.New("checksum to fill in at an unknown place")
)

// Offload says what is left undone in the packet, which starts at the frame's
// IP header. For a tunnelled packet that is about the packet inside. A checksum
// that pkt.Offload cannot say, being of some other header, is filled in here.
func (h Header) Offload(packet []byte) (pkt.Offload, error) {
	var off pkt.Offload
	switch h.gso {
	case unix.VIRTIO_NET_HDR_GSO_NONE:
	case unix.VIRTIO_NET_HDR_GSO_TCPV4, unix.VIRTIO_NET_HDR_GSO_TCPV6:
		off.Segment = h.size
	default:
		return pkt.Offload{}, ErrSuperpacket
	}
	if !h.partial {
		return off, nil
	}
	start, field := int(h.csumStart)-EthernetHeader, int(h.csumOff)
	if start < 0 || start+field+2 > len(packet) {
		return pkt.Offload{}, ErrChecksum
	}
	if t, ok := innermost(packet); ok && t.at == start && t.sum == field {
		off.Partial = true
		return off, nil
	}
	if off.Segment != 0 {
		return pkt.Offload{}, ErrChecksum
	}
	binary.BigEndian.PutUint16(packet[start+field:], ^checksum.Checksum(packet[start:], 0))
	return off, nil
}

// transport is where a packet's TCP or UDP header is.
type transport struct {
	at    int // from the start of the packet
	sum   int // checksum field, from at
	proto uint8
}

// header sizes and protocol fields, bytes.
const (
	tcpSum, udpSum    = 16, 6
	ipv4Min, ipv6Size = 20, 40
	tcpMin            = 20
)

// upper is the IP packet's transport protocol and where its header starts.
func upper(packet []byte) (proto uint8, at int, ok bool) {
	switch {
	case len(packet) >= ipv4Min && packet[0]>>4 == 4:
		at = int(packet[0]&15) * 4
		return packet[9], at, at >= ipv4Min && at < len(packet)
	case len(packet) > ipv6Size && packet[0]>>4 == 6:
		return packet[6], ipv6Size, true
	}
	return 0, 0, false
}

// own finds the transport header of the packet itself.
func own(packet []byte) (t transport, ok bool) {
	t.proto, t.at, ok = upper(packet)
	switch t.proto {
	case pkt.ProtoTCP:
		t.sum = tcpSum
	case pkt.ProtoUDP:
		t.sum = udpSum
	default:
		return t, false
	}
	return t, ok && t.at+t.sum+2 <= len(packet)
}

// innermost finds the transport header of the packet, or of the one inside it.
func innermost(packet []byte) (transport, bool) {
	proto, at, ok := upper(packet)
	if !ok || proto != pkt.ProtoGRE {
		return own(packet)
	}
	gre, reason := tunnel.ParseGRE(packet[at:], false)
	if reason != drop.None {
		return transport{}, false
	}
	t, ok := own(packet[at+gre.Len:])
	t.at += at + gre.Len
	return t, ok
}

// IsIP reports whether a frame carries IPv4 or IPv6, of which an IPv4 header
// fits.
func IsIP(frame []byte) bool {
	if len(frame) < EthernetHeader+ipv4Min {
		return false
	}
	t := binary.BigEndian.Uint16(frame[12:])
	return t == EtherTypeIPv4 || t == EtherTypeIPv6
}
