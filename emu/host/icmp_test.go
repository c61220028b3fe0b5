package host

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// asked is a session that has pinged dst with id 7.
func asked(dst string) *session {
	f := &plan.Flow{Proto: plan.ICMP, Src: netip.AddrPortFrom(netip.Addr{}, 7), Dst: netip.AddrPortFrom(netip.MustParseAddr(dst), 0), Nonce: 99}
	return &session{f: f, size: MinRequest}
}

// quote is an echo request of the session's, as an ICMP error quotes it, behind
// an IP header.
func quote(d *session, id uint16) []byte {
	e := echoOf(d.f.Dst.Addr())
	q := make([]byte, ipv6Header)
	q[0], q[6] = 0x60, uint8(e.proto)
	copy(q[24:], d.f.Dst.Addr().AsSlice())
	if e.headed {
		q = make([]byte, ipv4Header)
		q[0], q[9] = 0x45, uint8(e.proto)
		copy(q[16:], d.f.Dst.Addr().AsSlice())
	}
	icmp := make([]byte, 8)
	e.header(icmp, id, 1)
	return append(q, icmp...)
}

// Errors of ICMP and ICMPv6 about our own request end the wait; about others',
// or too short to tell, they are nothing; and a reply is one of the family's.
func TestEchoOfBothFamilies(t *testing.T) {
	for _, dst := range []string{"203.0.113.9", "2001:db8::9"} {
		d := asked(dst)
		e := echoOf(d.f.Dst.Addr())
		// as is what a raw socket gets of an ICMP message.
		as := func(kind uint8, rest []byte) []byte {
			b := append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, rest...)
			if e.headed {
				b = append(append([]byte{0x45}, make([]byte, ipv4Header-1)...), b...)
			}
			return b
		}
		for _, kind := range e.lost {
			if _, err := d.reply(as(kind, quote(d, 7))); !errors.Is(err, syscall.EHOSTUNREACH) {
				t.Errorf("%s: error %d about our request: %v, want EHOSTUNREACH", dst, kind, err)
			}
			for name, rest := range map[string][]byte{"another's": quote(d, 8), "another destination's": quote(asked("192.0.2.1"), 7), "a cut one": quote(d, 7)[:27], "none": nil} {
				if _, err := d.reply(as(kind, rest)); !errors.Is(err, errNotOurs) {
					t.Errorf("%s: error %d about %s: %v, want none of ours", dst, kind, name, err)
				}
			}
		}
		data := make([]byte, MinRequest)
		request(data, 99, 3, 0)
		answer := as(e.reply, data)
		binary.BigEndian.PutUint16(answer[len(answer)-len(data)-4:], 7)
		if v, err := d.reply(answer); err != nil || v.seq != 3 || !v.intact {
			t.Errorf("%s: a reply: %+v, %v", dst, v, err)
		}
		answer[len(answer)-len(data)-8] = e.request
		if _, err := d.reply(answer); !errors.Is(err, errNotOurs) {
			t.Errorf("%s: a request: %v, want none of ours", dst, err)
		}
		for n := range 8 {
			if _, err := d.reply(answer[:n]); !errors.Is(err, errNotOurs) {
				t.Errorf("%s: %d bytes: %v, want none of ours", dst, n, err)
			}
		}
	}
}
