package fragment_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"pgregory.net/rapid"
)

// sent is a datagram and its payload.
type sent struct {
	datagram
	payload []byte
}

func drawSent(t *rapid.T) []sent {
	all := make([]sent, rapid.IntRange(1, 4).Draw(t, "datagrams"))
	for i := range all {
		d := datagram{
			v6: rapid.Bool().Draw(t, "v6"), id: rapid.SampledFrom([]uint32{0, 1, 0xffff}).Draw(t, "id"),
			proto: rapid.SampledFrom([]uint8{6, 17, 132}).Draw(t, "proto"), tenant: ident.Tenant(i + 1),
		}
		if rapid.Bool().Draw(t, "options") {
			d.options = routerAlert
			if d.v6 {
				d.options = hopByHop
			}
		}
		size := rapid.OneOf(rapid.IntRange(32, 200), rapid.IntRange(32, 9000), rapid.SampledFrom([]int{2047, 2048, 2049, 4096, 4104})).Draw(t, "size")
		payload := pattern(size)
		payload[0] = byte(i)
		all[i] = sent{d, payload}
	}
	return all
}

// drawPieces cuts a payload in two or more; the first piece shows any transport
// header.
func drawPieces(t *rapid.T, payload []byte) (pieces []piece) {
	for from := 0; from < len(payload); {
		least := 1
		if from == 0 {
			least = 3
		}
		units := rapid.OneOf(rapid.IntRange(least, 12), rapid.IntRange(least, 400), rapid.SampledFrom([]int{185, 255, 256, 257})).Draw(t, "units")
		to := min(from+units*8, len(payload))
		if from == 0 {
			to = min(to, (len(payload)-1)&^7)
		}
		pieces = append(pieces, cut(payload, from, to))
		from = to
	}
	return pieces
}

// drawTwist is a piece that a sender of good will would not send.
func drawTwist(t *rapid.T, payload []byte, p piece) piece {
	switch rapid.IntRange(0, 4).Draw(t, "twist") {
	case 0: // an exact copy
	case 1: // other bytes
		p.data = bytes.Clone(p.data)
		p.data[rapid.IntRange(0, len(p.data)-1).Draw(t, "byte")] ^= 1
	case 2: // reaching further or less far
		end := p.offset + 8*rapid.IntRange(3, 60).Draw(t, "reach")
		p = piece{p.offset, pattern(end)[p.offset:], p.more}
	case 3: // ending or not ending here
		if p.offset > 0 && len(p.data)%8 == 0 {
			p.more = !p.more
		}
	case 4: // from the middle
		from := rapid.IntRange(2, len(payload)/8).Draw(t, "from") * 8
		p = piece{from, pattern(from + 16)[from:], true}
	}
	return p
}

// step is one packet on its way.
type step struct {
	of int
	p  piece
}

// TestHistories: the reassembler and the oracle agree on every fragment of
// random histories, byte for byte, and on what is held and when it ends.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := drawSent(rt)
		var steps []step
		for i, s := range all {
			for _, p := range drawPieces(rt, s.payload) {
				steps = append(steps, step{i, p})
				if rapid.IntRange(0, 9).Draw(rt, "twisted") == 0 {
					steps = append(steps, step{i, drawTwist(rt, s.payload, p)})
				}
			}
		}
		if rapid.Bool().Draw(rt, "shuffled") {
			steps = rapid.Permutation(steps).Draw(rt, "order")
		}
		limits := fragment.Limits{
			Datagrams: rapid.SampledFrom([]int{1, 2, 8}).Draw(rt, "bound"), Bytes: rapid.SampledFrom([]int{2, 6, 40}).Draw(rt, "pages") * 2048,
			Seed: rapid.Uint64().Draw(rt, "seed"),
		}
		r, o := fragment.New(limits), &oracle{limits: limits}
		var now vt.Instant
		var timedOut uint64
		for i, s := range steps {
			if rapid.IntRange(0, 19).Draw(rt, "wait") == 0 {
				now = now.Add(rapid.SampledFrom([]time.Duration{1, time.Second, 30*time.Second - 1, 30 * time.Second}).Draw(rt, "pause"))
			}
			d := all[s.of].datagram
			got, result := add(t, r, now, d, d.fragment(t, s.p))
			payload, want, gone := o.add(now, d.key(), s.p)
			timedOut += gone
			if result != want {
				rt.Fatalf("packet %d, [%d,%d) of %d: %v, want %v", i, s.p.offset, s.p.end(), s.of, result, want)
			}
			if want == fragment.Complete && !bytes.Equal(got, d.whole(t, payload)) {
				rt.Fatalf("packet %d: the whole differs", i)
			}
			compareUsage(rt, r, o)
		}
		if got, want := r.Expire(now), timedOut; got != want {
			rt.Fatalf("%d timed out, want %d", got, want)
		}
		now = now.Add(30 * time.Second)
		if got, want := r.Expire(now), o.expire(now); got != want {
			rt.Fatalf("%d timed out at the end, want %d", got, want)
		}
		if r.Usage() != (fragment.Usage{}) || r.NextWake() != vt.Never {
			rt.Fatalf("still holds %+v", r.Usage())
		}
	})
}

func compareUsage(t *rapid.T, r *fragment.Reassembler, o *oracle) {
	want, wake := fragment.Usage{Datagrams: len(o.held)}, vt.Never
	for _, h := range o.held {
		want.Bytes += h.pages() * 2048
		wake = min(wake, h.deadline)
	}
	if got := r.Usage(); got != want || got.Bytes > o.limits.Bytes {
		t.Fatalf("holds %+v, want %+v", got, want)
	}
	if got := r.NextWake(); got != wake {
		t.Fatalf("wakes at %v, want %v", got, wake)
	}
}

// TestAgreesWithGopacket: somebody else's reassembler makes the same of
// datagrams in random order.
func TestAgreesWithGopacket(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		d := datagram{id: uint32(round), proto: 17}
		payload := pattern(200 + rng.IntN(8000))
		var pieces []piece
		for from := 0; from < len(payload); {
			to := min(from+8*(1+rng.IntN(185)), len(payload))
			pieces = append(pieces, cut(payload, from, to))
			from = to
		}
		if len(pieces) == 1 {
			continue
		}
		rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		r, theirs := fragment.New(fragment.Limits{}), ip4defrag.NewIPv4Defragmenter()
		for i, p := range pieces {
			packet := d.fragment(t, p)
			got, result := add(t, r, 0, d, packet)
			ip := gopacket.NewPacket(packet, layers.LayerTypeIPv4, gopacket.Default).NetworkLayer().(*layers.IPv4)
			want, err := theirs.DefragIPv4(ip)
			if err != nil {
				t.Fatal(err)
			}
			if (want != nil) != (result == fragment.Complete) {
				t.Fatalf("piece %d of %d: %v, theirs %v", i, len(pieces), result, want)
			}
			if want != nil && !bytes.Equal(got[20:], want.Payload) {
				t.Fatalf("%d bytes, theirs %d", len(got)-20, len(want.Payload))
			}
		}
	}
}
