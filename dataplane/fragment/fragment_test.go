package fragment_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/fragment"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// datagram describes the packets of one fragmented datagram.
type datagram struct {
	v6     bool
	id     uint32
	proto  uint8
	ecn    uint8
	tenant ident.Tenant
	// options of IPv4, or an IPv6 hop-by-hop header
	options []byte
}

var (
	source4, destination4 = netip.MustParseAddr("10.0.1.5"), netip.MustParseAddr("203.0.113.9")
	source6, destination6 = netip.MustParseAddr("2001:db8::5"), netip.MustParseAddr("2001:db8:9::9")
	routerAlert           = []byte{148, 4, 0, 0}
	hopByHop              = []byte{0, 0, 1, 4, 0, 0, 0, 0} // next header to be set, PadN
)

// write serialises with gopacket, which shares no code with this package.
func write(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

func (d datagram) write4(t testing.TB, flags layers.IPv4Flag, offset int, payload []byte) []byte {
	ip := &layers.IPv4{
		Version: 4, TTL: 61, TOS: 0xb8 | d.ecn, Id: uint16(d.id), Protocol: layers.IPProtocol(d.proto), Flags: flags, FragOffset: uint16(offset / 8),
		SrcIP: source4.AsSlice(), DstIP: destination4.AsSlice(),
	}
	if d.options != nil {
		ip.Options = []layers.IPv4Option{{OptionType: d.options[0], OptionLength: d.options[1], OptionData: d.options[2:]}}
	}
	return write(t, ip, gopacket.Payload(payload))
}

func (d datagram) write6(t testing.TB, next uint8, payload []byte) []byte {
	if d.options != nil {
		payload = append(append([]byte{next}, d.options[1:]...), payload...)
		next = 0
	}
	ip := &layers.IPv6{
		Version: 6, HopLimit: 61, TrafficClass: 0xb8 | d.ecn, FlowLabel: 0x12345, NextHeader: layers.IPProtocol(next),
		SrcIP: source6.AsSlice(), DstIP: destination6.AsSlice(),
	}
	return write(t, ip, gopacket.Payload(payload))
}

// fragment is the packet that carries the piece.
func (d datagram) fragment(t testing.TB, p piece) []byte {
	t.Helper()
	if d.v6 {
		head := binary.BigEndian.AppendUint16([]byte{d.proto, 0}, uint16(p.offset))
		if p.more {
			head[3] |= 1
		}
		head = binary.BigEndian.AppendUint32(head, d.id)
		return d.write6(t, 44, append(head, p.data...))
	}
	var flags layers.IPv4Flag
	if p.more {
		flags = layers.IPv4MoreFragments
	}
	return d.write4(t, flags, p.offset, p.data)
}

// whole is the packet that the pieces were.
func (d datagram) whole(t testing.TB, payload []byte) []byte {
	t.Helper()
	if d.v6 {
		return d.write6(t, d.proto, payload)
	}
	return d.write4(t, 0, 0, payload)
}

func (d datagram) key() fragment.Key {
	k := fragment.Key{ID: d.id, Tenant: d.tenant, Scope: 7, VNet: 3, Proto: d.proto, Version: 4, Src: source4.As16(), Dst: destination4.As16()}
	if d.v6 {
		k.Version, k.Proto, k.Src, k.Dst = 6, 44, source6.As16(), destination6.As16()
	}
	return k
}

func add(t testing.TB, r *fragment.Reassembler, now vt.Instant, d datagram, packet []byte) ([]byte, fragment.Result) {
	t.Helper()
	key, ok := fragment.KeyOf(d.tenant, 7, 3, packet)
	if want := d.key(); ok && key != want {
		t.Fatalf("key %+v, want %+v", key, want)
	}
	whole, result := r.Add(now, d.key(), packet)
	if bad := result == fragment.Malformed || result == fragment.TooLong || result == fragment.Tiny; !ok && !bad {
		t.Fatalf("KeyOf refuses what Add calls %v", result)
	}
	if (result == fragment.Complete) != (whole != nil) {
		t.Fatalf("%v with %d bytes", result, len(whole))
	}
	return whole, result
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func cut(payload []byte, from, to int) piece {
	return piece{offset: from, data: payload[from:to], more: to < len(payload)}
}

// both runs a test over IPv4 and IPv6, UDP inside.
func both(t *testing.T, f func(t *testing.T, d datagram)) {
	t.Run("IPv4", func(t *testing.T) { f(t, datagram{id: 0xbeef, proto: 17, tenant: 1}) })
	t.Run("IPv4 with options", func(t *testing.T) { f(t, datagram{id: 0xbeef, proto: 17, tenant: 1, options: routerAlert}) })
	t.Run("IPv6", func(t *testing.T) { f(t, datagram{v6: true, id: 0xdeadbeef, proto: 17, tenant: 1}) })
	t.Run("IPv6 with options", func(t *testing.T) { f(t, datagram{v6: true, id: 0xdeadbeef, proto: 17, tenant: 1, options: hopByHop}) })
}

func TestWholeIsTheOriginal(t *testing.T) {
	payload := pattern(4000)
	both(t, func(t *testing.T, d datagram) {
		r := fragment.New(fragment.Limits{})
		for _, p := range []piece{cut(payload, 2960, 4000), cut(payload, 0, 1480), cut(payload, 1480, 2960)} {
			packet := d.fragment(t, p)
			got, result := add(t, r, 0, d, append(packet, 0, 0, 0)) // link padding
			if p.offset != 1480 {
				if result != fragment.Incomplete {
					t.Fatalf("at %d: %v", p.offset, result)
				}
				continue
			}
			if want := d.whole(t, payload); result != fragment.Complete || !bytes.Equal(got, want) {
				t.Fatalf("%v: got\n%x, want\n%x", result, got[:60], want[:60])
			}
		}
		if got := r.Usage(); got != (fragment.Usage{}) {
			t.Errorf("holds %+v afterwards", got)
		}
	})
}

// TestRefusals: one datagram, the pieces in order, and what becomes of each.
func TestRefusals(t *testing.T) {
	payload := pattern(2400)
	other := append([]byte(nil), payload...)
	other[100] ^= 1
	last := cut(payload, 1600, 2400)
	type step struct {
		p    piece
		want fragment.Result
	}
	const (
		incomplete, complete, duplicate = fragment.Incomplete, fragment.Complete, fragment.Duplicate
		overlap, malformed, tooLong     = fragment.Overlap, fragment.Malformed, fragment.TooLong
	)
	for name, steps := range map[string][]step{
		"a copy is ignored":       {{cut(payload, 0, 800), incomplete}, {cut(payload, 0, 800), duplicate}, {last, incomplete}, {last, duplicate}, {cut(payload, 800, 1600), complete}},
		"a copy with other bytes": {{cut(payload, 0, 800), incomplete}, {cut(other, 0, 800), overlap}, {last, overlap}, {cut(payload, 0, 800), overlap}, {cut(payload, 800, 1600), overlap}},
		"one byte unit shared":    {{cut(payload, 0, 808), incomplete}, {cut(payload, 800, 1600), overlap}},
		"shared across a page":    {{cut(payload, 2040, 2056), incomplete}, {cut(payload, 2048, 2400), overlap}},
		"inside another":          {{cut(payload, 0, 800), incomplete}, {cut(payload, 80, 160), overlap}},
		"around another":          {{cut(payload, 80, 160), incomplete}, {cut(payload, 0, 800), overlap}},
		"two as one":              {{cut(payload, 0, 80), incomplete}, {cut(payload, 80, 160), incomplete}, {cut(payload, 0, 160), overlap}},
		"one as two":              {{cut(payload, 0, 160), incomplete}, {cut(payload, 0, 80), overlap}},
		"one as two, the second":  {{cut(payload, 0, 160), incomplete}, {cut(payload, 80, 160), overlap}},
		"last as not last":        {{last, incomplete}, {piece{1600, payload[1600:], true}, overlap}},
		"not last as last":        {{cut(payload, 80, 160), incomplete}, {piece{80, payload[80:160], false}, overlap}},
		"last before others":      {{cut(payload, 800, 1600), incomplete}, {piece{0, payload[:800], false}, malformed}},
		"end before others":       {{cut(payload, 800, 1600), incomplete}, {piece{80, payload[80:160], false}, overlap}},
		"beyond the end":          {{last, incomplete}, {piece{2400, payload[:8], true}, overlap}},
		"another end":             {{last, incomplete}, {piece{2400, payload[:8], false}, overlap}},
		"nothing in it":           {{piece{800, nil, true}, malformed}, {piece{800, nil, false}, malformed}},
		"seven bytes and more":    {{piece{800, payload[:7], true}, malformed}},
		"past 65535":              {{piece{65528, payload[:8], false}, tooLong}, {piece{65528, payload[:8], true}, tooLong}},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, d datagram) {
				r := fragment.New(fragment.Limits{})
				for i, s := range steps {
					want := s.want
					if d.v6 && s.p.offset == 0 && !s.p.more {
						want = complete // an atomic fragment, RFC 6946
					}
					if _, got := add(t, r, vt.Instant(i), d, d.fragment(t, s.p)); got != want {
						t.Fatalf("step %d: %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

// TestTiny: RFC 1858 section 3.2 and RFC 7112 section 5.
func TestTiny(t *testing.T) {
	payload := pattern(200)
	chain := append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, payload...) // destination options, then TCP
	again := append([]byte{44, 0, 1, 4, 0, 0, 0, 0}, payload...)
	tcp4, tcp6, options6 := datagram{proto: 6}, datagram{v6: true, proto: 6}, datagram{v6: true, proto: 60}
	for _, tc := range []struct {
		name string
		d    datagram
		p    piece
		want fragment.Result
	}{
		{"IPv4: ports only", tcp4, cut(payload, 0, 8), fragment.Tiny},
		{"IPv4: up to the flags", tcp4, cut(payload, 0, 16), fragment.Incomplete},
		{"IPv4: over the flags", tcp4, cut(payload, 8, 200), fragment.Tiny},
		{"IPv4: behind the flags", tcp4, cut(payload, 16, 200), fragment.Incomplete},
		{"IPv4: UDP needs eight bytes", datagram{proto: 17}, cut(payload, 0, 8), fragment.Incomplete},
		{"IPv4: UDP from eight on", datagram{proto: 17}, cut(payload, 8, 16), fragment.Incomplete},
		{"IPv6: not all of TCP", tcp6, cut(payload, 0, 16), fragment.Tiny},
		{"IPv6: all of TCP", tcp6, cut(payload, 0, 24), fragment.Incomplete},
		{"IPv6: only options", options6, cut(chain, 0, 8), fragment.Tiny},
		{"IPv6: options and part of TCP", options6, cut(chain, 0, 24), fragment.Tiny},
		{"IPv6: options and TCP", options6, cut(chain, 0, 32), fragment.Incomplete},
		{"IPv6: options cut off", options6, cut(append([]byte{6, 9}, payload...), 0, 16), fragment.Tiny},
		{"IPv6: a fragment in a fragment", options6, cut(again, 0, 64), fragment.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := add(t, fragment.New(fragment.Limits{}), 0, tc.d, tc.d.fragment(t, tc.p)); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestNoFragment(t *testing.T) {
	d4, d6 := datagram{id: 1, proto: 17}, datagram{v6: true, id: 1, proto: 17}
	good4, good6 := d4.fragment(t, piece{0, pattern(80), true}), d6.fragment(t, piece{0, pattern(80), true})
	change := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	long := datagram{v6: true, proto: 17, options: append([]byte{0, 15}, make([]byte, 126)...)}
	for _, tc := range []struct {
		name   string
		d      datagram
		packet []byte
		want   fragment.Result
	}{
		{"nothing", d4, nil, fragment.Malformed},
		{"no IP", d4, make([]byte, 60), fragment.Malformed},
		{"IPv4, whole", d4, d4.whole(t, pattern(80)), fragment.Malformed},
		{"IPv4, cut off", d4, good4[:99], fragment.Malformed},
		{"IPv4, only a header's start", d4, good4[:19], fragment.Malformed},
		{"IPv4, checksum", d4, change(good4, 8, 1), fragment.Malformed},
		{"IPv4, header too short", d4, change(good4, 0, 0x44), fragment.Malformed},
		{"IPv4, header past the end", d4, change(good4, 3, 19), fragment.Malformed},
		{"IPv6, whole", d6, d6.whole(t, pattern(80)), fragment.Malformed},
		{"IPv6, cut off", d6, good6[:99], fragment.Malformed},
		{"IPv6, only a header's start", d6, good6[:39], fragment.Malformed},
		{"IPv6, fragment header cut off", d6, change(good6[:47], 5, 7), fragment.Malformed},
		{"IPv6, jumbogram", d6, change(change(good6, 5, 0), 4, 0), fragment.Malformed},
		{"IPv6, options past the end", d6, change(change(good6, 6, 0), 41, 200), fragment.Malformed},
		{"IPv6, 128 bytes of options", long, long.fragment(t, piece{0, pattern(80), true}), fragment.TooLong},
		{"IPv6 under a key of IPv4", d4, good6, fragment.Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := fragment.New(fragment.Limits{})
			whole, got := r.Add(0, tc.d.key(), tc.packet)
			if got != tc.want || whole != nil {
				t.Errorf("%v, want %v", got, tc.want)
			}
			if used := r.Usage(); used != (fragment.Usage{}) {
				t.Errorf("holds %+v", used)
			}
		})
	}
}

// TestLongest: 65,535 bytes are whole, one more is not, whichever comes first.
func TestLongest(t *testing.T) {
	both(t, func(t *testing.T, d datagram) {
		longest := 65535 - 20 - len(d.options)
		if d.v6 {
			longest = 65535 - len(d.options)
		}
		for _, size := range []int{longest, longest + 1} {
			if size > 65535 {
				continue // no fragment can say so
			}
			for _, order := range [][2]int{{0, 1}, {1, 0}} {
				payload := pattern(size)
				pieces := [2]piece{cut(payload, 0, 24), cut(payload, 65000, size)}
				r := fragment.New(fragment.Limits{})
				add(t, r, 0, d, d.fragment(t, piece{24, payload[24:65000], true}))
				_, early := add(t, r, 0, d, d.fragment(t, pieces[order[0]]))
				got, result := add(t, r, 0, d, d.fragment(t, pieces[order[1]]))
				if size > longest {
					if result == fragment.Complete || early != fragment.TooLong && result != fragment.TooLong {
						t.Errorf("%d bytes: %v and %v, want too long", size, early, result)
					}
				} else if result != fragment.Complete || !bytes.Equal(got, d.whole(t, payload)) {
					t.Errorf("%d bytes: %v, %d bytes come out", size, result, len(got))
				}
			}
		}
	})
}

// TestAtomic: an IPv6 packet that is its own only fragment is handled alone
// (RFC 6946 section 4), whatever is in progress under the same identification.
func TestAtomic(t *testing.T) {
	d := datagram{v6: true, id: 5, proto: 17, options: hopByHop}
	r := fragment.New(fragment.Limits{Datagrams: 1})
	payload := pattern(160)
	add(t, r, 0, d, d.fragment(t, cut(payload, 0, 80)))
	got, result := add(t, r, 0, d, d.fragment(t, piece{0, pattern(33), false}))
	if want := d.whole(t, pattern(33)); result != fragment.Complete || !bytes.Equal(got, want) {
		t.Errorf("%v: %x, want %x", result, got, want)
	}
	got, result = add(t, r, 0, d, d.fragment(t, cut(payload, 80, 160)))
	if want := d.whole(t, payload); result != fragment.Complete || !bytes.Equal(got, want) {
		t.Errorf("the other: %v: %x, want %x", result, got, want)
	}
}

// TestCongestionMarks: RFC 3168 section 5.3.
func TestCongestionMarks(t *testing.T) {
	const notECT, ect1, ect0, ce = 0, 1, 2, 3
	payload := pattern(160)
	for _, tc := range []struct {
		first, second, want uint8
		result              fragment.Result
	}{
		{notECT, notECT, notECT, fragment.Complete},
		{ect0, ect0, ect0, fragment.Complete},
		{ect0, ce, ce, fragment.Complete},
		{ce, ect1, ce, fragment.Complete},
		{notECT, ce, 0, fragment.Malformed},
		{ce, notECT, 0, fragment.Malformed},
	} {
		both(t, func(t *testing.T, d datagram) {
			r := fragment.New(fragment.Limits{})
			d.ecn = tc.first
			add(t, r, 0, d, d.fragment(t, cut(payload, 0, 80)))
			d.ecn = tc.second
			got, result := add(t, r, 0, d, d.fragment(t, cut(payload, 80, 160)))
			d.ecn = tc.want
			if result != tc.result || result == fragment.Complete && !bytes.Equal(got, d.whole(t, payload)) {
				t.Errorf("%d and %d: %v %x", tc.first, tc.second, result, got)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	d, payload := datagram{id: 1, proto: 17}, pattern(160)
	r := fragment.New(fragment.Limits{Timeout: time.Second})
	if got := r.NextWake(); got != vt.Never {
		t.Errorf("an empty reassembler wakes at %v", got)
	}
	at := vt.Instant(time.Minute)
	add(t, r, at, d, d.fragment(t, cut(payload, 0, 80)))
	d.id = 2
	add(t, r, at.Add(time.Millisecond), d, d.fragment(t, cut(payload, 0, 80)))
	// A later fragment does not put the end off.
	d.id = 1
	add(t, r, at.Add(time.Second/2), d, d.fragment(t, cut(payload, 0, 80)))
	due := at.Add(time.Second)
	if got := r.NextWake(); got != due {
		t.Errorf("wakes at %v, want %v", got, due)
	}
	if got := r.Expire(due - 1); got != 0 {
		t.Errorf("%d timed out early", got)
	}
	// What comes at the deadline finds nothing, though nobody called Expire.
	if _, got := add(t, r, due, d, d.fragment(t, cut(payload, 80, 160))); got != fragment.Incomplete {
		t.Errorf("at the deadline: %v", got)
	}
	if got := r.Expire(due); got != 1 {
		t.Errorf("%d timed out, want 1", got)
	}
	if got := r.Expire(vt.Never - 1); got != 2 {
		t.Errorf("%d timed out, want 2", got)
	}
	if r.NextWake() != vt.Never || r.Usage() != (fragment.Usage{}) {
		t.Errorf("wakes at %v, holds %+v", r.NextWake(), r.Usage())
	}
}

// TestTenantsNeverMix: two tenants, the same addresses and identification.
func TestTenantsNeverMix(t *testing.T) {
	both(t, func(t *testing.T, d datagram) {
		r := fragment.New(fragment.Limits{})
		a, b := d, d
		b.tenant = 2
		payload := pattern(160)
		add(t, r, 0, a, a.fragment(t, cut(payload, 0, 80)))
		if _, got := add(t, r, 0, b, b.fragment(t, cut(payload, 80, 160))); got != fragment.Incomplete {
			t.Fatalf("the other tenant's half: %v", got)
		}
		if _, got := add(t, r, 0, a, a.fragment(t, cut(payload, 80, 160))); got != fragment.Complete {
			t.Errorf("its own half: %v", got)
		}
	})
}

// TestHome: every fragment of a datagram has one hash, and tenants have others.
func TestHome(t *testing.T) {
	both(t, func(t *testing.T, d datagram) {
		payload := pattern(160)
		first, _ := fragment.KeyOf(1, 7, 3, d.fragment(t, cut(payload, 0, 80)))
		second, _ := fragment.KeyOf(1, 7, 3, d.fragment(t, cut(payload, 80, 160)))
		d.id++
		next, _ := fragment.KeyOf(1, 7, 3, d.fragment(t, cut(payload, 0, 80)))
		other, _ := fragment.KeyOf(2, 7, 3, d.fragment(t, cut(payload, 0, 80)))
		if h := first.Hash(1); h != second.Hash(1) || h != next.Hash(1) || h == other.Hash(1) || h == first.Hash(2) {
			t.Errorf("%x %x %x, other tenant %x, other seed %x", h, second.Hash(1), next.Hash(1), other.Hash(1), first.Hash(2))
		}
	})
}

func TestResults(t *testing.T) {
	seen := map[string]bool{}
	for r := fragment.Incomplete; r <= fragment.Malformed; r++ {
		if s := r.String(); s == "" || s == "result?" || seen[s] {
			t.Errorf("result %d is called %q", r, s)
		} else {
			seen[s] = true
		}
		alive := r == fragment.Incomplete || r == fragment.Complete
		if (r.Reason() == drop.None) != alive {
			t.Errorf("%v: %v", r, r.Reason())
		}
	}
	if got := (fragment.Malformed + 1).String(); got != "result?" {
		t.Errorf("unknown result is %q", got)
	}
}
