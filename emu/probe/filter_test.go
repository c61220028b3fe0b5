package probe

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs a filter on a frame in the Go implementation of BPF, which knows
// no packet types: those are left out.
func verdict(t *testing.T, f []insn, frame []byte) bool {
	t.Helper()
	code, err := assemble(f)
	if err != nil {
		t.Fatal(err)
	}
	var raw []bpf.RawInstruction
	for _, c := range code {
		raw = append(raw, bpf.RawInstruction{Op: c.Code, Jt: c.Jt, Jf: c.Jf, K: c.K})
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatalf("not all of %v is known", raw)
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// frame is UDP from an address, as a first or later fragment, or none.
func udpFrame(src netip.Addr, fragment int) []byte {
	b := make([]byte, 14)
	if src.Is4() {
		binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
		ip := make([]byte, 20)
		ip[0], ip[9] = 0x45, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(ip[6:], uint16(max(fragment, 0)))
		copy(ip[12:], src.AsSlice())
		return append(append(b, ip...), make([]byte, 40)...)
	}
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IPV6)
	ip := make([]byte, 40)
	ip[0], ip[6] = 0x60, unix.IPPROTO_UDP
	copy(ip[8:], src.AsSlice())
	if fragment >= 0 {
		ip[6] = unix.IPPROTO_FRAGMENT
		head := make([]byte, 8)
		head[0] = unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(head[2:], uint16(fragment<<3|1))
		ip = append(ip, head...)
	}
	return append(append(b, ip...), make([]byte, 40)...)
}

// Prefixes of every length, of both families, many at once: what is inside is
// looked at, what is beside it is not, and so are later fragments.
func TestEgressFilterKnowsPrefixes(t *testing.T) {
	var prefixes []netip.Prefix
	for i := range 100 {
		prefixes = append(prefixes,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i + 1)}), 40+i%89))
	}
	for i := range prefixes {
		prefixes[i] = prefixes[i].Masked()
	}
	f, err := egressFilter(true, prefixes)
	if err != nil {
		t.Fatal(err)
	}
	f = f[3:] // the packet's direction
	for _, p := range prefixes {
		beyond := p.Masked().Addr().AsSlice()
		last := p.Bits() - 1
		beyond[last/8] ^= 1 << (7 - last%8)
		out, _ := netip.AddrFromSlice(beyond)
		inside := false
		for _, q := range prefixes {
			inside = inside || q.Contains(out)
		}
		for _, c := range []struct {
			src      netip.Addr
			fragment int
			want     bool
		}{{p.Addr(), -1, true}, {p.Addr(), 0, true}, {p.Addr(), 9, false}, {out, -1, inside}} {
			if got := verdict(t, f, udpFrame(c.src, c.fragment)); got != c.want {
				t.Errorf("%v, fragment %d, beside %v: kept %v, want %v", c.src, c.fragment, p, got, c.want)
			}
		}
	}
}
