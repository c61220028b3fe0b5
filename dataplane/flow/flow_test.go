package flow

import (
	"math/bits"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"pgregory.net/rapid"
)

// TestSizes: a key has no padding and fits eBPF's 48 bytes; a flow is two cache
// lines.
func TestSizes(t *testing.T) {
	if got := unsafe.Sizeof(Key{}); got != 48 {
		t.Errorf("Key is %d bytes, want 48", got)
	}
	if got := unsafe.Sizeof(Flow{}); got != 128 {
		t.Errorf("Flow is %d bytes, want 128", got)
	}
	if got := unsafe.Sizeof(link{}); got != 12 {
		t.Errorf("link is %d bytes, want 12", got)
	}
	if got := unsafe.Offsetof(Key{}.Zero) + 2; got != 48 {
		t.Errorf("the key's fields end at %d, want 48", got)
	}
}

var timeouts = NewTimeouts(30*time.Second, 8*time.Hour, 240*time.Second, 300*time.Second, 10*time.Second, 60*time.Second, time.Minute)

func udpKey(n int) Key {
	m := pkt.Meta{
		Src: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Dst: netip.AddrFrom4([4]byte{203, 0, 113, 9}),
		SrcPort: uint16(n), DstPort: 443, Proto: pkt.ProtoUDP, Kind: pkt.UDP,
	}
	return ForwardKey(1, 1, 1, &m)
}

func egressOf(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n >> 16)}), uint16(n))
}

// TestTable: against a plain map, through random insertions, removals and
// timers: a flow is found by both of its keys while it is there, and by nothing
// else.
func TestTable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &tableModel{
			table: New(rapid.Uint64().Draw(rt, "seed"), modelBound, timeouts),
			flows: make(map[int]Index), due: make(map[int]vt.Instant),
		}
		rt.Repeat(map[string]func(*rapid.T){"insert": m.insert, "touch": m.touch, "remove": m.remove, "time": m.time, "": m.check})
	})
}

// tableModel is a table of UDP flows by number, and beside it a map that knows
// which are there and when they are due.
type tableModel struct {
	table *Table
	flows map[int]Index
	due   map[int]vt.Instant
	now   vt.Instant
}

const modelBound, modelUniverse = 100, 160

func (m *tableModel) draw(rt *rapid.T) int {
	return rapid.IntRange(0, modelUniverse-1).Draw(rt, "flow")
}

func (m *tableModel) insert(rt *rapid.T) {
	n := m.draw(rt)
	i, f := m.table.Insert(m.now, udpKey(n), egressOf(n))
	_, there := m.flows[n]
	if (f != nil) != (!there && len(m.flows) < modelBound) {
		rt.Fatalf("inserted %v, there %v, %d flows", f != nil, there, len(m.flows))
	}
	if f != nil {
		m.flows[n], m.due[n] = i, m.now.Add(300*time.Second)
	}
}

func (m *tableModel) touch(rt *rapid.T) {
	n := m.draw(rt)
	if i, there := m.flows[n]; there {
		m.table.Outbound(m.now, i, m.table.At(i), &pkt.Meta{Kind: pkt.UDP, PayloadLen: 1})
		m.due[n] = m.now.Add(300 * time.Second)
	}
}

func (m *tableModel) remove(rt *rapid.T) {
	n := m.draw(rt)
	if i, there := m.flows[n]; there {
		m.forget(n, i)
	}
}

func (m *tableModel) forget(n int, i Index) {
	m.table.Remove(i)
	delete(m.flows, n)
	delete(m.due, n)
}

func (m *tableModel) time(rt *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.Int64Range(0, int64(400*time.Second)).Draw(rt, "ahead")))
	m.table.Expire(m.now, func(i Index, f *Flow) {
		n := int(f.egressPort)
		if m.flows[n] != i || m.due[n] > m.now {
			rt.Fatalf("flow %d ended at %v, due %v", n, m.now, m.due[n])
		}
		m.forget(n, i)
	})
	for n, at := range m.due {
		if at <= m.now-1<<tickShift {
			rt.Fatalf("flow %d was due at %v and lives at %v", n, at, m.now)
		}
	}
}

// check holds after each step: a flow is found by both of its keys while it is
// there and by nothing else, and the table wakes when the first is due.
func (m *tableModel) check(rt *rapid.T) {
	if m.table.Len() != len(m.flows) {
		rt.Fatalf("%d flows, want %d", m.table.Len(), len(m.flows))
	}
	for n := range modelUniverse {
		k := udpKey(n)
		i, f := m.table.Forward(&k, Hash(m.table.seed, &k))
		r := ReverseKey(pkt.ProtoUDP, egressOf(n), k.Destination())
		j, g := m.table.Reverse(&r, Hash(m.table.seed, &r))
		want, there := m.flows[n]
		if (f != nil) != there || (g != nil) != there || there && (i != want || j != want) || m.table.Taken(&r) != there {
			rt.Fatalf("flow %d: forward %v, reverse %v, want %v", n, f != nil, g != nil, there)
		}
	}
	wake := m.table.NextWake()
	for _, at := range m.due {
		if wake > at+1<<tickShift {
			rt.Fatalf("wakes at %v, a flow is due at %v", wake, at)
		}
	}
	if len(m.due) == 0 && wake != vt.Never {
		rt.Fatalf("an empty table wakes at %v", wake)
	}
}

// TestSharedReverseKey: two flows never get one reverse key.
func TestSharedReverseKey(t *testing.T) {
	table := New(1, 10, timeouts)
	if _, f := table.Insert(0, udpKey(1), egressOf(1)); f == nil {
		t.Fatal("the first was refused")
	}
	if _, f := table.Insert(0, udpKey(2), egressOf(1)); f != nil {
		t.Error("the second got the first one's egress port toward one remote end")
	}
}

// TestWheel: timers of all distances fire in the tick they are due, however the
// time is cut up.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var w wheel
		w.grow(64)
		due := make(map[Index]int64)
		distance := rapid.OneOf(rapid.Int64Range(0, 300), rapid.SampledFrom([]int64{63, 64, 65, 4095, 4096, 4097, 1<<18 - 1, 1 << 18, 1 << 24, 1<<24 + 64, 1 << 36, 1 << 38}))
		now := int64(0)
		for i := range Index(rapid.IntRange(1, 64).Draw(rt, "timers")) {
			due[i] = distance.Draw(rt, "due")
			w.arm(i, vt.Instant(due[i]<<tickShift))
		}
		for len(due) > 0 {
			next := w.next()
			for i, at := range due {
				if next > vt.Instant(max(at, now+1)<<tickShift) {
					rt.Fatalf("wakes at %v, timer %d is due at tick %d", next, i, at)
				}
			}
			now = max(int64(next)>>tickShift, now+rapid.Int64Range(0, 5000).Draw(rt, "step"))
			w.advance(vt.Instant(now<<tickShift), func(i Index) {
				at := due[i]
				if at > now {
					w.arm(i, vt.Instant(at<<tickShift))
					return
				}
				delete(due, i)
			})
			for i, at := range due {
				if at <= now {
					rt.Fatalf("timer %d was due at %d, now %d", i, at, now)
				}
			}
		}
		if w.next() != vt.Never {
			rt.Fatalf("an empty wheel wakes at %v", w.next())
		}
	})
}

// TestHash: every bit of a key changes about half of the hash, and the seed all
// of it; the values are fixed, because eBPF must compute the same.
func TestHash(t *testing.T) {
	k := udpKey(5)
	base := Hash(7, &k)
	flipped, n := 0, 0
	for bit := range 46 * 8 {
		c := k
		raw := (*[48]byte)(unsafe.Pointer(&c))
		raw[bit/8] ^= 1 << (bit % 8)
		d := bits.OnesCount64(Hash(7, &c) ^ base)
		if d < 10 || d > 54 {
			t.Errorf("bit %d of the key changes %d bits of the hash", bit, d)
		}
		flipped += d
		n++
	}
	if mean := float64(flipped) / float64(n); mean < 30 || mean > 34 {
		t.Errorf("a bit of the key changes %.1f bits on average, want 32", mean)
	}
	if Hash(8, &k) == base {
		t.Error("the seed does not matter")
	}
	if got, want := base, uint64(0xf69957e958490867); got != want {
		t.Errorf("the hash of a fixed key is %#x, want %#x: stored hashes and eBPF depend on it", got, want)
	}
}

// TestHashSpreads: ports that differ in a few bits fill a slice evenly, the
// weakness that exhausted slices early.
func TestHashSpreads(t *testing.T) {
	const buckets, each = 256, 100
	var count [buckets]int
	for n := range buckets * each {
		k := udpKey(0)
		k.SrcPort = uint16(n)
		count[Hash(1, &k)>>56]++
	}
	chi := 0.0
	for _, c := range count {
		chi += float64((c-each)*(c-each)) / each
	}
	// 255 degrees of freedom: mean 255, standard deviation 22.6.
	if chi < 255-5*22.6 || chi > 255+5*22.6 {
		t.Errorf("chi square %.0f over %d buckets, want about 255", chi, buckets)
	}
}

func TestKeyText(t *testing.T) {
	m := pkt.Meta{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("2001:db8::1"), SrcPort: 1, DstPort: 2, Proto: 6}
	k := ForwardKey(1, 2, 3, &m)
	if k.Source() != netip.MustParseAddrPort("10.0.0.1:1") || k.Destination() != netip.MustParseAddrPort("[2001:db8::1]:2") {
		t.Errorf("key of %v and %v", k.Source(), k.Destination())
	}
	if k.Tenant != 1 || k.Scope != ident.Scope(2) || k.VNet != 3 {
		t.Errorf("key %+v", k)
	}
}

// TestBytesBounded: whatever acknowledgements come, a session never counts more
// than was sent.
func TestBytesBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := New(1, 10, timeouts)
		key := udpKey(1)
		key.Proto = pkt.ProtoTCP
		i, f := table.Insert(0, key, egressOf(1))
		isn := rapid.SampledFrom([]uint32{0, 1, 1<<31 - 2, 1 << 31, 1<<32 - 3}).Draw(rt, "isn")
		table.Outbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.SYN, Seq: isn})
		table.Inbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.SYN | pkt.ACK, Seq: 99, Ack: isn + 1})
		sent, acked := uint32(0), uint32(0)
		for range rapid.IntRange(1, 30).Draw(rt, "segments") {
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0: // new payload
				n := rapid.Uint32Range(1, 1<<16).Draw(rt, "payload")
				table.Outbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.ACK, Seq: isn + 1 + sent, Ack: 100, PayloadLen: int(n)})
				sent += n
			case 1: // a retransmission of some of it
				from := rapid.Uint32Range(0, sent).Draw(rt, "from")
				table.Outbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.ACK, Seq: isn + 1 + from, Ack: 100, PayloadLen: int(sent - from)})
			case 2: // an acknowledgement
				acked = max(acked, rapid.Uint32Range(0, sent).Draw(rt, "ack"))
				table.Inbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.ACK, Seq: 100, Ack: isn + 1 + acked})
			case 3: // an acknowledgement of what was never sent, or long ago
				junk := rapid.Uint32Range(sent+1, 1<<31+acked).Draw(rt, "junk")
				table.Inbound(0, i, f, &pkt.Meta{Kind: pkt.TCP, Flags: pkt.ACK, Seq: 100, Ack: isn + 1 + junk})
			}
			if f.Sent != uint64(acked) || f.Received != 0 {
				rt.Fatalf("counted %d and %d, acknowledged %d of %d", f.Sent, f.Received, acked, sent)
			}
		}
	})
}

// TestWarmFlow: what is read ahead is the flow of the hash, wherever in the index
// it stands, and nothing for a flow that is not there.
func TestWarmFlow(t *testing.T) {
	const flows = 1000
	table := New(3, flows, timeouts)
	if got := table.WarmFlow(Forward, 1); got != 0 {
		t.Errorf("an empty table has read %d", got)
	}
	for n := range flows {
		table.Insert(0, udpKey(n), egressOf(n))
	}
	want := pkt.ProtoUDP + uint8(UDP)
	for n := range flows {
		k := udpKey(n)
		r := k.Answer(egressOf(n))
		forward, reverse := table.WarmFlow(Forward, Hash(3, &k)), table.WarmFlow(Reverse, Hash(3, &r))
		if forward != want || reverse != want {
			t.Fatalf("flow %d: read %d and %d, want %d", n, forward, reverse, want)
		}
		if k = udpKey(flows + n); table.WarmFlow(Forward, Hash(3, &k)) != 0 {
			t.Fatalf("flow %d is not there, and was read", flows+n)
		}
	}
}
