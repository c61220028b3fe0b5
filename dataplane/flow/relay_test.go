package flow_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"pgregory.net/rapid"
)

var relayTimers = flow.NewTimeouts(30*time.Second, time.Hour, 4*time.Minute, 5*time.Minute, 10*time.Second, time.Minute, time.Minute)

func second(s int64) vt.Instant { return vt.Instant(s * int64(time.Second)) }

func relayKey(proto uint8, n uint16) flow.Key {
	m := pkt.Meta{Src: netip.MustParseAddr("10.0.1.5"), SrcPort: n, Dst: netip.MustParseAddr("203.0.113.9"), DstPort: 443, Proto: proto}
	return flow.ForwardKey(1, 1, 1, &m)
}

// TestRelays: which of a client's packets keep a relay, and for how long.
func TestRelays(t *testing.T) {
	tcp := func(flags uint8) pkt.Meta { return pkt.Meta{Kind: pkt.TCP, Proto: pkt.ProtoTCP, Flags: flags} }
	udp := pkt.Meta{Kind: pkt.UDP, Proto: pkt.ProtoUDP}
	type event struct {
		at int64
		m  pkt.Meta
	}
	for _, tt := range []struct {
		name   string
		proto  uint8
		events []event
		end    int64 // seconds
	}{
		{"a connect attempt, repeated", 6, []event{{10, tcp(pkt.SYN)}, {29, tcp(pkt.SYN)}}, 30},
		{"established", 6, []event{{1, tcp(pkt.ACK)}, {2, tcp(pkt.ACK)}}, 3602},
		{"closing", 6, []event{{1, tcp(pkt.ACK)}, {5, tcp(pkt.ACK | pkt.FIN)}, {6, tcp(pkt.ACK)}}, 246},
		{"reset", 6, []event{{1, tcp(pkt.ACK)}, {5, tcp(pkt.RST)}}, 245},
		{"reset meant for another", 6, []event{{1, tcp(pkt.ACK)}, {5, tcp(pkt.RST)}, {6, tcp(pkt.ACK)}}, 3606},
		{"again after the end", 6, []event{{1, tcp(pkt.ACK | pkt.FIN)}, {240, tcp(pkt.SYN)}}, 270},
		{"a complaint says nothing", 6, []event{{1, tcp(pkt.ACK)}, {100, pkt.Meta{Kind: pkt.ICMPError, Proto: pkt.ProtoICMP}}}, 3601},
		{"UDP", 17, []event{{100, udp}, {399, udp}}, 699},
	} {
		r, k := flow.NewRelays(2, relayTimers), relayKey(tt.proto, 1)
		if !r.Add(0, &k, 7) || r.Add(0, &k, 8) {
			t.Fatalf("%s: added once %v", tt.name, r.Len() == 1)
		}
		for _, e := range tt.events {
			if to := r.Find(second(e.at), &k, &e.m); to != 7 {
				t.Errorf("%s: at %d s server %d, want 7", tt.name, e.at, to)
			}
		}
		complaint := pkt.Meta{Kind: pkt.ICMPError}
		if to := r.Find(second(tt.end)-1, &k, &complaint); to != 7 {
			t.Errorf("%s: gone before %d s", tt.name, tt.end)
		}
		if wake := r.NextWake(); wake > second(tt.end)+1<<25 {
			t.Errorf("%s: wakes at %v, is due at %d s", tt.name, wake, tt.end)
		}
		if to := r.Find(second(tt.end), &k, &complaint); to != 0 || r.Len() != 0 {
			t.Errorf("%s: still there at %d s", tt.name, tt.end)
		}
	}
}

// TestRelaysKept: the bound holds, room that was freed is used again, and a
// server that is gone takes its relays with it.
func TestRelaysKept(t *testing.T) {
	r, udp := flow.NewRelays(3, relayTimers), pkt.Meta{Kind: pkt.UDP}
	var keys [5]flow.Key
	for n := range keys {
		keys[n] = relayKey(17, uint16(n))
		if got := r.Add(0, &keys[n], ident.Server(1+n%2)); got != (n < 3) {
			t.Errorf("relay %d of 3 at most was added: %v", n+1, got)
		}
	}
	r.Configure(3, relayTimers, func(s ident.Server) bool { return s == 1 })
	for n, want := range []ident.Server{1, 0, 1} {
		if got := r.Find(1, &keys[n], &udp); got != want {
			t.Errorf("relay %d is with server %d, want %d", n, got, want)
		}
	}
	if !r.Add(1, &keys[4], 2) || r.Add(1, &keys[3], 2) || r.Len() != 3 {
		t.Errorf("%d relays after one was freed", r.Len())
	}
	r.Expire(second(1000))
	if r.Len() != 0 || r.NextWake() != vt.Never {
		t.Errorf("%d relays after all had run out, next wake %v", r.Len(), r.NextWake())
	}
}

// TestRelayOutlivesFlow: as long as the server that opened a flow has it, its
// home knows where it is, whatever the two ends send, if only the client
// acknowledges what it gets. A flow that was reset is not missed, nor one whose
// client sends a FIN that means nothing.
func TestRelayOutlivesFlow(t *testing.T) {
	flags := rapid.SampledFrom([]uint8{pkt.SYN, pkt.ACK, pkt.ACK, pkt.ACK | pkt.FIN, pkt.RST, pkt.RST | pkt.ACK})
	rapid.Check(t, func(rt *rapid.T) {
		proto := rapid.SampledFrom([]uint8{6, 6, 17}).Draw(rt, "proto")
		packet := func(who string) pkt.Meta {
			if proto == 17 {
				return pkt.Meta{Kind: pkt.UDP, Proto: 17, PayloadLen: 1}
			}
			m := pkt.Meta{Kind: pkt.TCP, Proto: 6, Flags: flags.Draw(rt, who), Seq: rapid.Uint32Range(0, 3).Draw(rt, "seq"), Ack: rapid.Uint32Range(0, 3).Draw(rt, "ack")}
			if who == "origin" && m.Flags == pkt.SYN {
				m.Flags |= pkt.ACK
			}
			return m
		}
		far, home := flow.New(1, 10, relayTimers), flow.NewRelays(10, relayTimers)
		k, now := relayKey(proto, 1), vt.Instant(0)
		i, f := far.Insert(now, k, netip.MustParseAddrPort("198.51.100.1:2048"))
		home.Add(now, &k, 2)
		client := func(m pkt.Meta) {
			if home.Find(now, &k, &m) == 0 {
				rt.Fatalf("at %v the relay is gone, the flow lives to %v in state %d", now, f.Deadline, f.State())
			}
			if m.Opens() && f.Reusable() {
				far.Reopen(now, i)
				return
			}
			far.Outbound(now, i, f, &m)
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 29, 31, 239, 299, 3599}).Draw(rt, "ahead")) * time.Second)
			home.Expire(now)
			if f.Deadline <= now || f.Over() || f.State() == flow.Reset {
				return
			}
			if rapid.Bool().Draw(rt, "origin speaks") {
				m := packet("origin")
				far.Inbound(now, i, f, &m)
				ack := pkt.Meta{Kind: pkt.TCP, Proto: 6, Flags: pkt.ACK, Seq: m.Ack, Ack: m.Seq + 1}
				if proto == 6 && m.Flags&pkt.RST == 0 {
					client(ack)
				}
				continue
			}
			m := packet("client")
			client(m)
			if m.Flags&pkt.FIN != 0 && f.State() != flow.Closing {
				return
			}
		}
	})
}
