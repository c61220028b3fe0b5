package pkt_test

import (
	"bytes"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// headerOf is an IP header with all bits of its TOS or traffic class but those of
// ECN set, and ecn.
func headerOf(version byte, ecn pkt.ECN) []byte {
	if version == 6 {
		b := make([]byte, pkt.IPv6Header)
		b[0], b[1], b[7] = 0x6f, 0xcf|byte(ecn)<<4, 64
		return b
	}
	b := make([]byte, pkt.IPv4Header)
	b[0], b[1], b[3], b[8], b[9], b[12], b[16] = 0x45, 0xfc|byte(ecn), pkt.IPv4Header, 64, pkt.ProtoUDP, 10, 203
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = sum>>16 + sum&0xffff
	b[10], b[11] = byte(^sum>>8), byte(^sum)
	return b
}

// Any value becomes any other, and nothing else changes but an IPv4 header's
// checksum, which stays right.
func TestSetECN(t *testing.T) {
	for _, version := range []byte{4, 6} {
		for from := pkt.NotECT; from <= pkt.CE; from++ {
			for to := pkt.NotECT; to <= pkt.CE; to++ {
				b := headerOf(version, from)
				if pkt.ECNOf(b) != from {
					t.Errorf("IPv%d %x: read as %d, want %d", version, b, pkt.ECNOf(b), from)
				}
				pkt.SetECN(b, to)
				if want := headerOf(version, to); !bytes.Equal(b, want) {
					t.Errorf("IPv%d from %d to %d:\n got %x\nwant %x", version, from, to, b, want)
				}
			}
		}
	}
}

// Only what understands marks is marked (RFC 3168 section 5).
func TestMark(t *testing.T) {
	for _, version := range []byte{4, 6} {
		for ecn, want := range map[pkt.ECN]pkt.ECN{pkt.NotECT: pkt.NotECT, pkt.ECT1: pkt.CE, pkt.ECT0: pkt.CE, pkt.CE: pkt.CE} {
			b := headerOf(version, ecn)
			if said := pkt.Mark(b); said != (want == pkt.CE) || !bytes.Equal(b, headerOf(version, want)) {
				t.Errorf("IPv%d with %d: marked %v, and is now %x", version, ecn, said, b)
			}
		}
		for _, b := range [][]byte{nil, headerOf(version, pkt.ECT0)[:19], {version<<4 | 5, 2}, make([]byte, 60)} {
			if before := bytes.Clone(b); pkt.Mark(b) || !bytes.Equal(b, before) {
				t.Errorf("%x is no IP header, and was marked", before)
			}
		}
	}
}
