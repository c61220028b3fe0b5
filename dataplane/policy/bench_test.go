package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
)

// office is n rules as an office would write them, each selector in use; only
// the last one matches laptop.
func office(n int) Policies {
	kinds := []tunnel.Kind{tunnel.GRE, tunnel.Connector}
	rules := make([]Rule, n)
	for i := range rules {
		a, b := byte(i>>8), byte(i)
		rules[i] = Rule{ID: fmt.Sprint(i), Action: Block, Match: Match{
			Source:      []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, 0}), 16), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100 + a, b, 0}), 24)},
			Destination: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{203, a, b, 0}), 24), netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, a, b}), 48)},
			Port:        []PortRange{{First: 1, Last: uint16(1000 + i)}},
			Protocol:    Protocols{6, 17},
		}}
		switch m := &rules[i].Match; i % 4 {
		case 0:
			m.User = []string{fmt.Sprintf("user%d", i)}
		case 1:
			m.OnRamp = kinds
		case 2:
			m.VNet = []ident.VNet{ident.VNet(i + 100)}
		default:
			m.Country, m.SourceCountry = []string{"US"}, []string{"GB", "MX"}
		}
	}
	rules[n-1].Match = Match{Destination: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Port: []PortRange{Port(443)}}
	return Policies{Firewall: rules, Egress: asEgress(rules), Network: rules}
}

func asEgress(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i := range rules {
		out[i] = rules[i]
		out[i].Action = Default
	}
	return out
}

// TestNoAllocations: asking costs no memory, whatever the answer.
func TestNoAllocations(t *testing.T) {
	for _, n := range []int{1, 100, 1000} {
		s := mustCompile(t, office(n))
		for _, dst := range []string{"203.0.113.9:443", "192.0.2.1:80", "[2001:db8::1]:443"} {
			sub := laptop()
			sub.Dst = netip.MustParseAddrPort(dst)
			agree(t, s.Firewall(&sub), office(n).Firewall, &sub)
			if got := testing.AllocsPerRun(100, func() {
				s.Firewall(&sub)
				s.Egress(&sub)
				s.Network(&sub)
			}); got != 0 {
				t.Errorf("%d rules, to %s: %v allocations, want 0", n, dst, got)
			}
		}
	}
}

func BenchmarkFirewall(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			s, sub := mustCompile(b, office(n)), laptop()
			if d := s.Firewall(&sub); d.Rule == nil || d.Rule.ID != fmt.Sprint(n-1) {
				b.Fatalf("got %+v, want the last rule", d.Rule)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Firewall(&sub)
			}
		})
	}
}

// BenchmarkScan is the baseline: the same question to a linear scan.
func BenchmarkScan(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			rules, sub := office(n).Firewall, laptop()
			for b.Loop() {
				for i := range rules {
					if holds(&rules[i].Match, &sub) {
						break
					}
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			p := office(n)
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, p)
			}
		})
	}
}
