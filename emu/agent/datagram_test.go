package agent

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// A tunnel's datagram whose checksum the sender's kernel left to the hardware
// reaches the hub complete, and the packet inside is untouched; other datagrams
// keep their promise.
func TestDatagramsOfTunnelsAreCompleted(t *testing.T) {
	ends := tunnelEndsOf(t)
	inner := hubtest.IP{Src: netip.AddrPortFrom(deviceAddr, 1), Dst: netip.AddrPortFrom(originAddr, 2), Payload: []byte("odd")}.UDP()
	for _, c := range []struct {
		name, to string
		complete bool
	}{
		{"tunnel address", "198.18.0.1", true},
		{"unconnected", "198.18.0.2", true},
		{"own hand-over address", "198.18.1.1", true},
		{"another's hand-over address", "198.18.1.2", false},
		{"egress", "198.51.100.1", false},
		{"tunnel address of IPv6", "2001:db8::1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := netip.MustParseAddr(c.to)
			src := branchAddr
			if dst.Is6() {
				src = netip.MustParseAddr("2001:db8::2")
			}
			whole := hubtest.IP{Src: netip.AddrPortFrom(src, 50000), Dst: netip.AddrPortFrom(dst, tunnel.ConnectedPort), Payload: inner}.UDP()
			packet := partial(bytes.Clone(whole))
			left := ends.complete(packet, pkt.Offload{Partial: true})
			if left.Partial == c.complete {
				t.Errorf("left undone: %+v, want the checksum undone: %v", left, !c.complete)
			}
			if c.complete != bytes.Equal(packet, whole) {
				t.Errorf("packet %x, want it as its sender meant it: %v\n%x", packet, c.complete, whole)
			}
			o, _ := pkt.ParseOuter(packet)
			_, _, payload, reason := tunnel.UDPPayload(src, dst, packet[o.Head:o.Len], true)
			if c.complete && (reason != drop.None || !bytes.Equal(payload, inner)) {
				t.Errorf("read as %v, %x; want the packet inside", reason, payload)
			}
		})
	}
	whole := hubtest.IP{Src: netip.AddrPortFrom(branchAddr, 1), Dst: netip.AddrPortFrom(anycast, 2)}.UDP()
	if left := ends.complete(bytes.Clone(whole), pkt.Offload{}); left != (pkt.Offload{}) {
		t.Errorf("of a complete datagram is left %+v", left)
	}
}

func tunnelEndsOf(t *testing.T) tunnelEnds {
	t.Helper()
	c := hub.Config{
		Self: 1, Tunnels: []netip.Addr{anycast, netip.MustParseAddr("2001:db8::1")}, Unconnected: []netip.Addr{netip.MustParseAddr("198.18.0.2")},
		Servers: []hub.Server{{ID: 1, Handover: netip.MustParseAddr("198.18.1.1")}, {ID: 2, Handover: netip.MustParseAddr("198.18.1.2")}},
	}
	return endsOf(&c)
}

// partial replaces a datagram's checksum by the pseudo header's sum.
func partial(b []byte) []byte {
	o, _ := pkt.ParseOuter(b)
	udp := b[o.Head:]
	src, dst := o.Src.Addr().As16(), o.Dst.Addr().As16()
	from := 0
	if o.Src.Is4() {
		from = 12
	}
	sum := checksum.Checksum(src[from:], checksum.Checksum(dst[from:], pkt.ProtoUDP))
	binary.BigEndian.PutUint16(udp[6:], checksum.Combine(sum, uint16(len(udp))))
	return b
}
