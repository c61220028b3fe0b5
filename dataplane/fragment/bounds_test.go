package fragment_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// TestFlood: what never completes costs what the limits say, and ends.
func TestFlood(t *testing.T) {
	both(t, func(t *testing.T, d datagram) {
		r := fragment.New(fragment.Limits{Datagrams: 50, Bytes: 100 << 10})
		var full int
		for i := range 500 {
			d.id = uint32(i)
			if _, got := add(t, r, 0, d, d.fragment(t, piece{24 + 2048*(i%30), pattern(1400), true})); got == fragment.Full {
				full++
			}
			if u := r.Usage(); u.Datagrams > 50 || u.Bytes > 100<<10 {
				t.Fatalf("holds %+v", u)
			}
		}
		if full != 450 {
			t.Errorf("%d refused, want 450", full)
		}
		// Those in progress go on: none is evicted.
		d.id = 0
		payload := pattern(1424 + 8)
		add(t, r, 0, d, d.fragment(t, piece{0, payload[:24], true}))
		if _, got := add(t, r, 0, d, d.fragment(t, piece{1424, payload[1424:], false})); got != fragment.Complete {
			t.Errorf("the first one: %v", got)
		}
		if got := r.Expire(vt.Instant(30 * time.Second)); got != 49 {
			t.Errorf("%d timed out, want 49", got)
		}
	})
}

// TestAllocatesOnce: at its bound the reassembler allocates nothing.
func TestAllocatesOnce(t *testing.T) {
	both(t, func(t *testing.T, d datagram) {
		var packets [][]byte
		payload := pattern(4000)
		for _, p := range []piece{cut(payload, 0, 1480), cut(payload, 0, 1480), cut(payload, 1480, 2960), cut(payload, 2960, 4000)} {
			packets = append(packets, d.fragment(t, p))
		}
		r := fragment.New(fragment.Limits{})
		var now vt.Instant
		var wholes int
		round := func() {
			now++
			for _, b := range packets {
				key, _ := fragment.KeyOf(1, 7, 3, b)
				if _, got := r.Add(now, key, b); got == fragment.Complete {
					wholes++
				}
			}
			r.Expire(now)
		}
		round()
		if got := testing.AllocsPerRun(100, round); got != 0 {
			t.Errorf("%v allocations per datagram", got)
		}
		if wholes != 102 {
			t.Errorf("%d wholes", wholes)
		}
	})
}

// FuzzAdd feeds packets cut from the input: nothing panics, the bounds hold,
// and a whole is a packet of the length it says and no fragment.
func FuzzAdd(f *testing.F) {
	payload := pattern(100)
	for _, d := range []datagram{{id: 1, proto: 17}, {id: 1, proto: 6, options: routerAlert}, {v6: true, id: 1, proto: 17}, {v6: true, id: 1, proto: 60, options: hopByHop}} {
		var seed []byte
		for _, p := range []piece{cut(payload, 64, 100), cut(payload, 0, 64), cut(payload, 0, 64), cut(payload, 8, 72)} {
			b := d.fragment(f, p)
			seed = append(binary.BigEndian.AppendUint16(append(seed, 1), uint16(len(b))), b...)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		limits := fragment.Limits{Datagrams: 4, Bytes: 8 << 10, Timeout: 300}
		r := fragment.New(limits)
		var now vt.Instant
		for len(in) > 3 {
			now = now.Add(time.Duration(in[0]))
			n := min(int(binary.BigEndian.Uint16(in[1:])), len(in)-3)
			b := bytes.Clone(in[3 : 3+n])
			in = in[3+n:]
			if len(b) >= pkt.IPv4Header && b[0]>>4 == 4 {
				repairChecksum(b) // or nothing would get past it
			}
			key, ok := fragment.KeyOf(1, 1, 1, b)
			whole, result := r.Add(now, key, b)
			if !ok && (whole != nil || result.Reason() == 0) {
				t.Fatalf("KeyOf refuses what Add calls %v", result)
			}
			if u := r.Usage(); u.Datagrams > limits.Datagrams || u.Bytes > limits.Bytes {
				t.Fatalf("holds %+v", u)
			}
			if result != fragment.Complete {
				continue
			}
			var m pkt.Meta
			m.Parse(whole)
			if _, again := fragment.KeyOf(1, 1, 1, whole); m.Kind == pkt.Fragment || again {
				t.Fatalf("the whole is a fragment: %x", whole)
			}
			if m.Kind != pkt.Malformed && m.Len != len(whole) {
				t.Fatalf("%d bytes say %d", len(whole), m.Len)
			}
		}
		r.Expire(now.Add(limits.Timeout))
		if u := r.Usage(); u != (fragment.Usage{}) {
			t.Fatalf("still holds %+v", u)
		}
	})
}

func repairChecksum(b []byte) {
	head := int(b[0]&0xf) * 4
	if head < pkt.IPv4Header || head > len(b) {
		return
	}
	b[10], b[11] = 0, 0
	var sum uint32
	for i := 0; i < head; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
}

func BenchmarkAdd(b *testing.B) {
	d, payload := datagram{id: 1, proto: 17}, pattern(2960)
	first, second := d.fragment(b, cut(payload, 0, 1480)), d.fragment(b, cut(payload, 1480, 2960))
	r := fragment.New(fragment.Limits{})
	key := d.key()
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		r.Add(0, key, second)
		if _, got := r.Add(0, key, first); got != fragment.Complete {
			b.Fatal(got)
		}
	}
}
