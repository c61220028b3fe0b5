package pkt_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// whole6 is a UDP datagram over IPv6 behind these extension headers, each
// starting with a byte for the next header, which is filled in.
func whole6(size int, protos []byte, extensions [][]byte) []byte {
	b := make([]byte, 40)
	b[0], b[7] = 0x60, 64
	b[8], b[23], b[24], b[39] = 0xfd, 1, 0xfd, 2
	link := 6
	for i, e := range extensions {
		b[link], link = protos[i], len(b)
		b = append(b, e...)
	}
	b[link] = pkt.ProtoUDP
	udp := make([]byte, 8+size)
	binary.BigEndian.PutUint16(udp, 1)
	binary.BigEndian.PutUint16(udp[2:], 2)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	udp[6] = 1 // IPv6 has no datagrams without a checksum; nobody verifies this one
	for i := range size {
		udp[8+i] = byte(i * 7)
	}
	b = append(b, udp...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// TestFragmentIPv6: the fragments of a whole fit the link, repeat the headers
// that routers read, and make the same whole again. RFC 8200 section 4.5.
func TestFragmentIPv6(t *testing.T) {
	options := []byte{0, 0, 1, 4, 0, 0, 0, 0}
	for name, b := range map[string][]byte{
		"plain":       whole6(4000, nil, nil),
		"hop-by-hop":  whole6(4000, []byte{0}, [][]byte{options}),
		"routing":     whole6(3000, []byte{0, 43}, [][]byte{options, {0, 0, 0, 0, 0, 0, 0, 0}}),
		"destination": whole6(3000, []byte{60}, [][]byte{options}),
	} {
		var m pkt.Meta
		if m.Parse(b); m.Kind != pkt.UDP {
			t.Fatalf("%s: a %v", name, m.Kind)
		}
		m.SetID(b, 0x12345678)
		var parts [][]byte
		for from, more := 0, true; more; more = from != 0 {
			var part []byte
			part, from = m.AppendFragment(nil, b, 1280, from)
			var f pkt.Meta
			if f.Parse(part); f.Kind != pkt.Fragment || f.FragID != 0x12345678 || f.Len != len(part) || len(part) > 1280 {
				t.Fatalf("%s: fragment %+v of %d bytes", name, f, len(part))
			}
			parts = append(parts, part)
		}
		r := fragment.New(fragment.Limits{})
		var whole []byte
		for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(parts)) {
			key, ok := fragment.KeyOf(1, 1, 1, parts[i])
			if !ok {
				t.Fatalf("%s: %x is no fragment", name, parts[i][:60])
			}
			if w, result := r.Add(0, key, parts[i]); result == fragment.Complete {
				whole = w
			}
		}
		if len(parts) < 3 || !bytes.Equal(whole, b) {
			t.Errorf("%s: %d fragments make %d bytes, want the same %d", name, len(parts), len(whole), len(b))
		}
	}
}

// TestSetID: an IPv4 header with another identification is sound.
func TestSetID(t *testing.T) {
	b := []byte{0x45, 0, 0, 28, 0xab, 0xcd, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 8, 0, 0}
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum&0xffff))
	var m pkt.Meta
	if m.Parse(b); m.Kind != pkt.UDP {
		t.Fatalf("the test's packet is %v", m.Kind)
	}
	m.SetID(b, 0x12345678)
	if !pkt.HeaderSound(b[:20]) || b[4] != 0x56 || b[5] != 0x78 || m.FragID != 0x5678 {
		t.Errorf("header %x, id %x", b[:20], m.FragID)
	}
}
