package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/internal/need"
)

// Verdicts of tcx programs (enum tcx_action_base) and of bpf_redirect.
const (
	next     = 0xffffffff // -1
	dropped  = 2
	redirect = 7
)

// markOffset is where struct __sk_buff has the mark.
const markOffset = 8

// run puts a frame through a program once.
func run(t *testing.T, p *ebpf.Program, frame []byte, mark uint32) (verdict uint32, out []byte, markOut uint32) {
	t.Helper()
	var ctx, ctxOut [192]byte
	binary.NativeEndian.PutUint32(ctx[markOffset:], mark)
	o := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: &ctx, ContextOut: &ctxOut}
	verdict, err := p.Run(o)
	if err != nil {
		t.Fatalf("run %v on %x: %v", p, frame, err)
	}
	return verdict, o.DataOut, binary.NativeEndian.Uint32(ctxOut[markOffset:])
}

// ethernet puts an Ethernet header in front of packet.
func ethernet(dst, src []byte, ethertype uint16, packet []byte) []byte {
	frame := append(bytes.Clone(dst), src...)
	return append(binary.BigEndian.AppendUint16(frame, ethertype), packet...)
}

var anyMAC = []byte{2, 9, 9, 9, 9, 9}

// ipv4Packet is a packet of l4 with correct header checksum.
func ipv4Packet(r *rand.Rand, proto uint8, src, dst netip.Addr, l4 []byte) []byte {
	b := make([]byte, 20, 20+len(l4))
	b[0], b[1], b[8], b[9] = 0x45, uint8(r.Uint32()), uint8(1+r.IntN(255)), proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(l4)))
	binary.BigEndian.PutUint16(b[4:], uint16(r.Uint32()))
	binary.BigEndian.PutUint16(b[6:], []uint16{0x2000, 0x00b9, 0, 0x4000, 0x4000, 0x4000, 0x4000, 0x4000}[r.IntN(8)])
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum.Checksum(b, 0))
	return append(b, l4...)
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// mssValues sit at the edges of the clamp at 1436.
var mssValues = []uint16{0, 1, 536, 1435, 1436, 1437, 1460, 8960, 0xffff}

// tcpOptions is a list of options as senders and fuzzers write them: MSS at any
// place and alignment, once, never or repeatedly, and junk.
func tcpOptions(r *rand.Rand) []byte {
	var o []byte
	for range r.IntN(8) {
		switch r.IntN(24) {
		default:
			o = append(o, 1)
		case 1, 2, 7, 8, 9, 10, 11, 12:
			o = append(o, 2, 4)
			o = binary.BigEndian.AppendUint16(o, mssValues[r.IntN(len(mssValues))])
		case 3:
			o = append(o, 3, 3, 7)
		case 4:
			o = append(append(o, 8, 10), random(r, 8)...)
		case 5:
			o = append(o, 2, byte(r.IntN(6)), 0xff, 0xff)
		case 6:
			o = append(o, byte(r.IntN(9)), byte(r.IntN(12)))
		}
	}
	if len(o) > 40 {
		o = o[:40]
	}
	for len(o)%4 != 0 {
		o = append(o, byte(r.IntN(3)))
	}
	return o
}

// tcpSegment has a checksum that is right for the addresses.
func tcpSegment(r *rand.Rand, src, dst netip.Addr) []byte {
	o := tcpOptions(r)
	b := append(random(r, 20), o...)
	b[12] = byte(5+len(o)/4) << 4
	if r.IntN(20) == 0 {
		b[12] = byte(r.IntN(16)) << 4 // a header length that lies
	}
	b[13] = []byte{0x02, 0x12, 0x10, 0x18, 0xc2}[r.IntN(5)]
	b = append(b, random(r, r.IntN(50))...)
	b[16], b[17] = 0, 0
	sum := checksum.Combine(checksum.Checksum(src.AsSlice(), 0), checksum.Checksum(dst.AsSlice(), 0))
	sum = checksum.Combine(sum, checksum.Combine(pkt.ProtoTCP, uint16(len(b))))
	binary.BigEndian.PutUint16(b[16:], ^checksum.Checksum(b, sum))
	return b
}

// packet is some packet of a branch host, of either family.
func packet(r *rand.Rand) []byte {
	if r.IntN(2) == 0 {
		return packet6(r)
	}
	src, dst := netip.AddrFrom4([4]byte{10, 0, 1, byte(r.Uint32())}), netip.AddrFrom4([4]byte(random(r, 4)))
	switch r.IntN(5) {
	case 0:
		return ipv4Packet(r, pkt.ProtoUDP, src, dst, random(r, 8+r.IntN(1400)))
	case 1:
		return ipv4Packet(r, pkt.ProtoICMP, src, dst, random(r, 8+r.IntN(60)))
	}
	return ipv4Packet(r, pkt.ProtoTCP, src, dst, tcpSegment(r, src, dst))
}

// clamped is the packet as dataplane/pkt clamps it.
func clamped(b []byte, mtu int) []byte {
	b = bytes.Clone(b)
	var m pkt.Meta
	m.Parse(b)
	mss := tunnel.MSS(mtu)
	if m.Version == 6 {
		mss = tunnel.MSS6(mtu)
	}
	m.ClampMSS(b, mss, pkt.Offload{})
	return b
}

// cases is how many random packets each differential test tries.
const cases = 2000

// Into the tunnel: what the program sends is what the Go codec and clamp write.
func TestIntoTunnelAsTheCodec(t *testing.T) {
	need.BPF(t)
	for name, key := range map[string]*uint32{"no key": nil, "key": ptr(0xc0ffee11), "key 0": ptr(0)} {
		t.Run(name, func(t *testing.T) {
			o, b := loadTestBranch(t, key)
			e := outer(o)
			r := rand.New(rand.NewPCG(1, 1))
			changed := map[uint16]int{}
			for range cases {
				inner := packet(r)
				pkt.SetECN(inner, pkt.ECN(r.IntN(4)))
				verdict, got, _ := run(t, b.set.objects.IntoTunnel, ethernet(o.TunnelPeerMAC, o.TunnelMAC, etherType(inner), inner), 0)
				mss := clamped(inner, o.MTU)
				want := ethernet(o.GatewayMAC, o.WANMAC, 0x0800, e.Append(nil, mss))
				if verdict != redirect || !bytes.Equal(got, want) {
					t.Fatalf("packet %x: verdict %d\n got %x\nwant %x", inner, verdict, got, want)
				}
				if !bytes.Equal(mss, inner) {
					changed[etherType(inner)]++
				}
			}
			if changed[etherIPv4] < cases/40 || changed[etherIPv6] < cases/40 {
				t.Errorf("of %d packets had an MSS to clamp, by family: %v: the generator tests nothing", cases, changed)
			}
		})
	}
}

// From the tunnel: the inner packet comes out, clamped by the same rule.
func TestFromTunnelAsTheCodec(t *testing.T) {
	need.BPF(t)
	for name, key := range map[string]*uint32{"no key": nil, "key": ptr(0xc0ffee11)} {
		t.Run(name, func(t *testing.T) {
			o, b := loadTestBranch(t, key)
			e := outer(o)
			e.Src, e.Dst = e.Dst, e.Src
			r := rand.New(rand.NewPCG(2, 2))
			refused := uint64(0)
			for range cases {
				inner := packet(r)
				e.TTL = uint8(1 + r.IntN(255))
				pkt.SetECN(inner, pkt.ECN(r.IntN(4)))
				whole, outer := e.Append(nil, inner), pkt.ECN(r.IntN(4))
				pkt.SetECN(whole, outer)
				verdict, got, _ := run(t, b.set.objects.FromTunnel, ethernet(o.WANMAC, o.GatewayMAC, 0x0800, whole), 0)
				if !tunnel.Unwrapped(outer, inner) {
					if refused++; verdict != dropped {
						t.Fatalf("packet %x with %d outside: verdict %d, want drop", inner, outer, verdict)
					}
					continue
				}
				want := ethernet(o.TunnelMAC, o.TunnelPeerMAC, etherType(inner), clamped(inner, o.MTU))
				if verdict != redirect || !bytes.Equal(got, want) {
					t.Fatalf("packet %x: verdict %d\n got %x\nwant %x", inner, verdict, got, want)
				}
			}
			if c, err := b.Counters(); err != nil || c[DropNotECT] != refused || refused == 0 {
				t.Errorf("counters = %v, %v, want %d drop_not_ect", c.Map(), err, refused)
			}
		})
	}
}

// What is not exactly the tunnel's passes to the kernel untouched.
func TestOthersPassTheBranch(t *testing.T) {
	need.BPF(t)
	r := rand.New(rand.NewPCG(3, 3))
	for _, tunnelKey := range []*uint32{nil, ptr(7)} {
		o, b := loadTestBranch(t, tunnelKey)
		ours := outer(o)
		ours.Src, ours.Dst = ours.Dst, ours.Src
		inner := ipv4Packet(r, pkt.ProtoUDP, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.1.5"), random(r, 30))
		edit := func(f func(b []byte)) []byte {
			p := ours.Append(nil, inner)
			f(p)
			return p
		}
		with := func(f func(e *tunnel.Encap)) []byte {
			e := ours
			f(&e)
			return e.Append(nil, inner)
		}
		for name, p := range map[string][]byte{
			"another source":      with(func(e *tunnel.Encap) { e.Src = netip.MustParseAddr("198.18.0.2") }),
			"another destination": with(func(e *tunnel.Encap) { e.Dst = netip.MustParseAddr("192.0.2.3") }),
			"another key":         with(func(e *tunnel.Encap) { e.HasKey, e.Key = true, 8 }),
			"key where none is":   with(func(e *tunnel.Encap) { e.HasKey, e.Key = !e.HasKey, 0 }),
			"not GRE":             edit(func(b []byte) { b[9] = pkt.ProtoUDP }),
			"outer options":       edit(func(b []byte) { b[0] = 0x46 }),
			"first fragment":      edit(func(b []byte) { b[6] = 0x20 }),
			"last fragment":       edit(func(b []byte) { b[7] = 1 }),
			"GRE checksum":        edit(func(b []byte) { b[20] |= 0x80 }),
			"GRE sequence":        edit(func(b []byte) { b[20] |= 0x10 }),
			"GRE version 1":       edit(func(b []byte) { b[21] |= 1 }),
			"ARP inside":          edit(func(b []byte) { b[22], b[23] = 0x08, 0x06 }),
			"cut off":             ours.Append(nil, nil)[:22],
			"plain":               inner,
		} {
			frame := ethernet(o.WANMAC, o.GatewayMAC, 0x0800, p)
			if verdict, got, _ := run(t, b.set.objects.FromTunnel, frame, 0); verdict != next || !bytes.Equal(got, frame) {
				t.Errorf("key %v, %s: verdict %d and\n got %x\nwant %x", tunnelKey, name, int32(verdict), got, frame)
			}
		}
		arp := ethernet(o.WANMAC, o.GatewayMAC, 0x0806, random(r, 28))
		if verdict, _, _ := run(t, b.set.objects.FromTunnel, arp, 0); verdict != next {
			t.Errorf("ARP on the WAN: verdict %d, want next", int32(verdict))
		}
		if verdict, _, _ := run(t, b.set.objects.IntoTunnel, arp, 0); verdict != dropped {
			t.Errorf("ARP into the tunnel: verdict %d, want drop", int32(verdict))
		}
		c, err := b.Counters()
		if err != nil || c[DropNotIP] != 1 || c[Decapsulated] != 0 {
			t.Errorf("counters = %v, %v, want one drop_not_ip and nothing decapsulated", c.Map(), err)
		}
	}
}

// What has no room in the table is refused, and what has is not.
func TestMarksAreBounded(t *testing.T) {
	need.BPF(t)
	s := new(Server)
	t.Cleanup(func() { s.Close() })
	if err := s.load(&ServerOptions{Encaps: 3}); err != nil {
		t.Fatalf("%+v", err)
	}
	e := tunnel.Encap{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2")}
	for mark, fits := range []bool{false, true, true, true, false} {
		if err := s.SetEncap(uint32(mark), e); (err == nil) != fits {
			t.Errorf("mark %d of %d: %v", mark, s.Marks(), err)
		}
	}
}

// A mark pushes the outer header it stands for and is used up; no mark means
// no header, and a mark without a meaning is a counted drop.
func TestPushByMarkAsTheCodec(t *testing.T) {
	need.BPF(t)
	s := loadTestServer(t)
	r := rand.New(rand.NewPCG(4, 4))
	for _, mark := range []uint32{1, 2, 77, MaxMark} {
		e := tunnel.Encap{
			Src: netip.AddrFrom4([4]byte(random(r, 4))), Dst: netip.AddrFrom4([4]byte(random(r, 4))),
			HasKey: mark%2 == 0, TTL: uint8(r.IntN(256)),
		}
		if e.HasKey {
			e.Key = r.Uint32()
		}
		if err := s.SetEncap(mark, e); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			inner := packet(r)
			frame := ethernet(anyMAC, anyMAC, etherType(inner), inner)
			verdict, got, left := run(t, s.objects.PushByMark, frame, mark)
			want := ethernet(anyMAC, anyMAC, 0x0800, e.Append(nil, inner))
			if verdict != next || left != 0 || !bytes.Equal(got, want) {
				t.Fatalf("mark %d, %+v: verdict %d, mark %d left\n got %x\nwant %x", mark, e, int32(verdict), left, got, want)
			}
		}
	}
	inner := packet(r)
	frame := ethernet(anyMAC, anyMAC, etherType(inner), inner)
	if verdict, got, _ := run(t, s.objects.PushByMark, frame, 0); verdict != next || !bytes.Equal(got, frame) {
		t.Errorf("no mark: verdict %d and %x, want the frame as it was", int32(verdict), got)
	}
	for _, mark := range []uint32{3, MaxMark + 1, 1 << 31} {
		if verdict, _, _ := run(t, s.objects.PushByMark, frame, mark); verdict != dropped {
			t.Errorf("mark %d: verdict %d, want drop", mark, int32(verdict))
		}
	}
	c, err := s.Counters()
	if err != nil || c[DropNoEncap] != 3 || c[Encapsulated] != 800 {
		t.Errorf("counters = %v, %v, want 800 encapsulated and 3 drop_no_encap", c.Map(), err)
	}
}

// The kernel gets what is not IP, what is for its own addresses, and in IPv6
// what is for a group.
func TestConsume(t *testing.T) {
	need.BPF(t)
	s := loadTestServer(t, netip.MustParseAddr("172.16.1.2"), netip.MustParseAddr("2001:2:0:1::3"))
	r := rand.New(rand.NewPCG(5, 5))
	toward := func(a string) []byte {
		return ipv4Packet(r, pkt.ProtoUDP, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr(a), random(r, 20))
	}
	toward6 := func(a string) []byte {
		return ipv6Packet(r, pkt.ProtoUDP, netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr(a), random(r, 20))
	}
	for _, c := range []struct {
		name      string
		ethertype uint16
		packet    []byte
		want      uint32
	}{
		{"egress address", 0x0800, toward("198.51.100.1"), dropped},
		{"link address", 0x0800, toward("172.16.1.2"), next},
		{"ARP", 0x0806, random(r, 28), next},
		{"IPv6 egress address", 0x86dd, toward6("2001:db8:100::1"), dropped},
		{"IPv6 link address", 0x86dd, toward6("2001:2:0:1::3"), next},
		{"IPv6 group", 0x86dd, toward6("ff02::1:ff00:3"), next},
	} {
		if got, _, _ := run(t, s.objects.Consume, ethernet(anyMAC, anyMAC, c.ethertype, c.packet), 0); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.name, int32(got), int32(c.want))
		}
	}
}

func ptr(v uint32) *uint32 { return &v }

// outer is the header of packets into the tunnel.
func outer(o BranchOptions) tunnel.Encap {
	e := tunnel.Encap{Src: o.Local, Dst: o.Remote, TTL: tunnel.DefaultTTL}
	if o.Key != nil {
		e.Key, e.HasKey = *o.Key, true
	}
	return e
}

func loadTestBranch(t *testing.T, key *uint32) (BranchOptions, *Branch) {
	t.Helper()
	o := options(key)
	b, err := new(Branches).load(o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return o, b
}

// loadTestServer loads without attaching.
func loadTestServer(t *testing.T, own ...netip.Addr) *Server {
	t.Helper()
	s := new(Server)
	if err := s.load(&ServerOptions{}); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	})
	for _, a := range own {
		if err := putOwn(s.objects.Own, s.objects.Own6, a); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Tunnels share programs by the set, and the last of a set takes it along; a number
// is not given again.
func TestBranchesShareBySets(t *testing.T) {
	need.BPF(t)
	var all Branches
	var attached []*Branch
	for range branchTunnels + 2 {
		b, err := all.load(options(nil))
		if err != nil {
			t.Fatalf("%+v", err)
		}
		attached = append(attached, b)
	}
	first, second := attached[0].set, attached[branchTunnels].set
	numbers := map[*branchSet]map[uint32]bool{first: {}, second: {}}
	for _, b := range attached {
		numbers[b.set][b.number] = true
	}
	if len(numbers) != 2 || len(numbers[first]) != branchTunnels || len(numbers[second]) != 2 {
		t.Errorf("%d tunnels have %d numbers in the first of %d sets and %d in the second, want %d in the first of 2, and 2", len(attached), len(numbers[first]), len(numbers), len(numbers[second]), branchTunnels)
	}
	if err := attached[branchTunnels].Close(); err != nil {
		t.Error(err)
	}
	late, err := all.load(options(nil))
	if err != nil {
		t.Fatal(err)
	}
	if late.set != second || late.number != 2 {
		t.Errorf("the next tunnel is number %d of the second set: %v, want 2", late.number, late.set == second)
	}
	for _, b := range append(attached, late) {
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
	for i, s := range []*branchSet{first, second} {
		if fd := s.objects.IntoTunnel.FD(); fd >= 0 {
			t.Errorf("set %d is loaded as %d without a tunnel", i, fd)
		}
	}
}

// A tunnel counts for itself, at its number.
func TestCountersOfATunnel(t *testing.T) {
	need.BPF(t)
	var all Branches
	var attached []*Branch
	for range 2 {
		b, err := all.load(options(nil))
		if err != nil {
			t.Fatalf("%+v", err)
		}
		defer b.Close()
		attached = append(attached, b)
	}
	counts := make([]uint64, ebpf.MustPossibleCPU())
	counts[0] = 7
	if err := attached[1].set.objects.Counters.Put(uint32(counterCount)+uint32(Clamped), counts); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{0, 7} {
		if c, err := attached[i].Counters(); err != nil || c[Clamped] != want {
			t.Errorf("tunnel %d: %v, %v, want %d clamped", i, c.Map(), err, want)
		}
	}
}
