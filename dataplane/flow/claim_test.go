package flow

import (
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestClaim: who expects an answer first gets it, until its flow closes or runs
// out; what only one client can send goes to who sent it last.
func TestClaim(t *testing.T) {
	r := NewRelays(2, NewTimeouts(time.Second, time.Minute, 10*time.Second, time.Minute, time.Second, time.Second, time.Second))
	tcp := Key{SrcPort: 80, DstPort: 1000, Proto: pkt.ProtoTCP}
	udp := Key{SrcPort: 80, DstPort: 1000, Proto: pkt.ProtoUDP}
	segment := func(flags uint8) *pkt.Meta { return &pkt.Meta{Kind: pkt.TCP, Flags: flags} }
	datagram := &pkt.Meta{Kind: pkt.UDP}
	for _, step := range []struct {
		name string
		at   time.Duration
		k    *Key
		m    *pkt.Meta
		to   int
		take bool
		want bool
	}{
		{"first", 0, &tcp, segment(pkt.SYN), 1, false, true},
		{"again", 0, &tcp, segment(pkt.ACK), 1, false, true},
		{"another", 0, &tcp, segment(pkt.SYN), 2, false, false},
		{"another, mid-flow", 0, &tcp, segment(pkt.ACK), 2, false, false},
		{"closing", 0, &tcp, segment(pkt.FIN | pkt.ACK), 1, false, true},
		{"another's segment while it closes", 0, &tcp, segment(pkt.ACK), 2, false, false},
		{"another opens while it closes", 0, &tcp, segment(pkt.SYN), 2, false, true},
		{"the first is behind us", 0, &tcp, segment(pkt.ACK), 1, false, false},
		{"UDP", 0, &udp, datagram, 1, false, true},
		{"full", 0, &Key{Proto: pkt.ProtoICMP}, datagram, 1, false, false},
		{"UDP by another", time.Second, &udp, datagram, 2, false, false},
		{"UDP, taken", time.Second, &udp, datagram, 2, true, true},
		{"run out", time.Hour, &udp, datagram, 1, false, true},
	} {
		if got := r.Claim(vt.Instant(step.at), step.k, step.m, ident.Server(step.to), step.take); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
