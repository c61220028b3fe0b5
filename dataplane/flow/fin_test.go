package flow

import (
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// A client's FIN that was lost before it came here, the acknowledgement that the
// client sent after it, and the FIN again: the acknowledgement stands behind a
// sequence number that nobody has seen, and says nothing of payload.
func TestFINLostOnTheWayHere(t *testing.T) {
	table := New(1, 8, NewTimeouts(time.Second, time.Second, time.Second, time.Second, time.Second, time.Second, time.Second))
	key := Key{Proto: pkt.ProtoTCP, SrcPort: 40000, DstPort: 443}
	i, f := table.Insert(0, key, netip.MustParseAddrPort("198.51.100.1:2048"))
	segment := func(flags uint8, seq, ack uint32, payload int) *pkt.Meta {
		return &pkt.Meta{Kind: pkt.TCP, Proto: pkt.ProtoTCP, Flags: flags, Seq: seq, Ack: ack, PayloadLen: payload}
	}
	table.Outbound(1, i, f, segment(pkt.SYN, 100, 0, 0))
	table.Inbound(2, i, f, segment(pkt.SYN|pkt.ACK, 500, 101, 0))
	table.Outbound(3, i, f, segment(pkt.ACK, 101, 501, 7))
	table.Inbound(4, i, f, segment(pkt.ACK, 501, 108, 3))
	// FIN 108 is lost here.
	table.Outbound(5, i, f, segment(pkt.ACK, 109, 504, 0))
	table.Outbound(6, i, f, segment(pkt.FIN|pkt.ACK, 108, 504, 0))
	table.Inbound(7, i, f, segment(pkt.FIN|pkt.ACK, 504, 109, 0))
	if ended := table.Outbound(8, i, f, segment(pkt.ACK, 109, 505, 0)); !ended {
		t.Error("both ends have closed, and the session goes on")
	}
	if f.Sent != 7 || f.Received != 3 {
		t.Errorf("counts %d and %d bytes, want 7 and 3", f.Sent, f.Received)
	}
}
