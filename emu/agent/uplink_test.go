package agent

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// The hub sees IP of both families that is for this machine and not for its
// kernel, without the padding of a short frame.
func TestOurs(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("172.16.1.2"), netip.MustParseAddr("2001:2:0:1::3")}
	u := &uplink{mac: [6]byte{2, 0, 0, 0, 0, 1}, own: own}
	// packet is 8 bytes behind a header toward an address.
	packet := func(to string) []byte {
		a := netip.MustParseAddr(to)
		b := make([]byte, 40)
		b[0] = 0x60
		binary.BigEndian.PutUint16(b[4:], 8)
		copy(b[24:], a.AsSlice())
		if a.Is4() {
			b = make([]byte, 20)
			b[0] = 0x45
			binary.BigEndian.PutUint16(b[2:], 28)
			copy(b[16:], a.AsSlice())
		}
		return append(b, "12345678"...)
	}
	frame := func(ethertype uint16, b []byte) []byte {
		f := append(bytes.Clone(u.mac[:]), 2, 0, 0, 0, 0, 2)
		return append(binary.BigEndian.AppendUint16(f, ethertype), b...)
	}
	four, six := packet("198.51.100.1"), packet("2001:db8:100::1")
	stranger := frame(0x86dd, six)
	stranger[5] = 9
	for _, c := range []struct {
		name  string
		frame []byte
		want  []byte
	}{
		{"IPv4", frame(0x0800, four), four},
		{"IPv6", frame(0x86dd, six), six},
		{"IPv4 with padding", frame(0x0800, append(bytes.Clone(four), make([]byte, 18)...)), four},
		{"IPv6 with padding", frame(0x86dd, append(bytes.Clone(six), make([]byte, 18)...)), six},
		{"the kernel's IPv4", frame(0x0800, packet("172.16.1.2")), nil},
		{"the kernel's IPv6", frame(0x86dd, packet("2001:2:0:1::3")), nil},
		{"another machine's", stranger, nil},
		{"ARP", frame(0x0806, make([]byte, 28)), nil},
		{"cut off", frame(0x86dd, six[:39]), nil},
		{"nothing", nil, nil},
	} {
		got, ok := u.ours(c.frame)
		if ok != (c.want != nil) || ok && !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v, want %x", c.name, got, ok, c.want)
		}
	}
}
