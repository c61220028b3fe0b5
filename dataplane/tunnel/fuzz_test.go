package tunnel_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// FuzzAnswer: what is read as an answer is written as it was, and is neither a
// context nor a packet.
func FuzzAnswer(f *testing.F) {
	for _, a := range []tunnel.Answer{0, 1, 2, tunnel.Accepted, tunnel.Refused, tunnel.Unknown, tunnel.Unknown + 1, 255} {
		whole := tunnel.AppendAnswer(nil, a, 0xfffe)
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
		f.Add(append(whole, 0))
		for i := range whole {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1
			f.Add(flipped)
		}
	}
	f.Add(appended(f, device())[:tunnel.AnswerLen])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, vnet, ok := tunnel.ParseAnswer(b)
		if !ok {
			return
		}
		if got := tunnel.AppendAnswer(nil, a, vnet); !bytes.Equal(got, b) {
			t.Fatalf("%x read and written as %x", b, got)
		}
		if _, err := tunnel.ParseContext(b); err == nil || tunnel.CheckConnected(b) == drop.None {
			t.Fatalf("%x is an answer, and something else too", b)
		}
	})
}

// FuzzUDPPayload: what is accepted is what gopacket reads: ports, payload and a
// sum that is right, or absent over IPv4.
func FuzzUDPPayload(f *testing.F) {
	for _, inner := range [][]byte{nil, {0}, bare(4, 20), bare(6, 41)} {
		for _, e := range []tunnel.Encap{gue4, gue6} {
			e.Proto = tunnel.ViaUDP
			head := e.Overhead() - 8
			udp := e.Append(nil, inner)[head:]
			six := e.Dst.Is6()
			f.Add(udp, six)
			f.Add(append(bytes.Clone(udp), 1, 2, 3), six)
			f.Add(udp[:len(udp)-1], six)
			for _, size := range []uint16{0, 7, 8, 9, 0xffff} {
				lies := bytes.Clone(udp)
				binary.BigEndian.PutUint16(lies[4:], size)
				f.Add(lies, six)
			}
			unsummed := bytes.Clone(udp)
			unsummed[6], unsummed[7] = 0, 0
			f.Add(unsummed, six)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		src, dst := gue4.Src, gue4.Dst
		if six {
			src, dst = gue6.Src, gue6.Dst
		}
		from, to, payload, reason := tunnel.UDPPayload(src, dst, b, true)
		lazyFrom, lazyTo, lazy, lazyReason := tunnel.UDPPayload(src, dst, b, false)
		if reason == drop.None && (lazyReason != drop.None || lazyFrom != from || lazyTo != to || !bytes.Equal(lazy, payload)) {
			t.Fatalf("%x is %d to %d, %x, and without its sum %v, %d to %d, %x", b, from, to, payload, lazyReason, lazyFrom, lazyTo, lazy)
		}
		var udp layers.UDP
		truncated := &truncation{}
		err := udp.DecodeFromBytes(b, truncated)
		if lazyReason != drop.None {
			if err == nil && !truncated.yes && udp.Length != 0 { // length 0 is a jumbogram's (RFC 2675)
				t.Fatalf("%x is refused as %v, gopacket reads %v", b, lazyReason, udp)
			}
			return
		}
		if err != nil || truncated.yes || uint16(udp.SrcPort) != lazyFrom || uint16(udp.DstPort) != lazyTo || !bytes.Equal(udp.Payload, lazy) {
			t.Fatalf("%x is %d to %d, %x, gopacket reads %+v, %v", b, lazyFrom, lazyTo, lazy, udp, err)
		}
		if got, want := reason == drop.None, summed(t, &udp, src, dst); got != want {
			t.Fatalf("%x: sum accepted %v, gopacket says %v", b, got, want)
		}
	})
}

// truncation is what gopacket tells of a packet that ends too early.
type truncation struct{ yes bool }

func (t *truncation) SetTruncated() { t.yes = true }

// summed reports whether a datagram's checksum is right; 0 is none, which IPv4
// allows.
func summed(t *testing.T, udp *layers.UDP, src, dst netip.Addr) bool {
	if udp.Checksum == 0 {
		return dst.Is4()
	}
	var ip gopacket.NetworkLayer = &layers.IPv6{SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), NextHeader: layers.IPProtocolUDP}
	if dst.Is4() {
		ip = &layers.IPv4{SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Protocol: layers.IPProtocolUDP}
	}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	err, result := udp.VerifyChecksum()
	return err == nil && result.Valid
}
