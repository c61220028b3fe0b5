package run_test

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// lab6 is lab with IPv6 instead of IPv4, everything at the same places.
const lab6 = `version: 1
name: live6
seed: 7
datacenters:
  - {id: lhr, servers: 2, egress: ["2001:db8:100::/64"]}
  - {id: cdg, servers: 2, egress: ["2001:db8:101::/64"]}
sites:
  - id: shop
    count: 3
    near: {lhr: 2, cdg: 1}
    lan: "fd00:1::/64"
    hosts: {till: "fd00:1::5"}
    onramps: [{id: wan, type: gre, arr: %t}]
internet:
  - {id: web, address: "2001:db8::9", near: lhr, serve: [http, echo]}
%s
`

// world is what differs between a lab of IPv4 and one of IPv6.
type world struct {
	name, lab            string
	till, router, origin string
	pool                 netip.Prefix
	header               int // of IP, bytes
	icmp                 string
	errors               recverr
}

// recverr is how the kernel tells a socket of ICMP errors.
type recverr struct {
	family, level        int
	discover, never      int // IP_MTU_DISCOVER, and its value that sets DF
	receive, mtu, origin int
	kind, code           uint8
	offender             [2]int // where in the message its address is
}

func worlds() []world {
	return []world{
		{"IPv4", lab, till, router, origin, pool, 20, "icmp", recverr{
			unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_RECVERR, unix.IP_MTU, unix.SO_EE_ORIGIN_ICMP, 3, 4, [2]int{4, 8}}},
		{"IPv6", lab6, "fd00:1::5", "fd00:1::1", "2001:db8::9", netip.MustParsePrefix("2001:db8:100::/47"), 40, "icmpv6", recverr{
			unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_RECVERR, unix.IPV6_MTU, unix.SO_EE_ORIGIN_ICMP6, 2, 0, [2]int{8, 24}}},
	}
}

// each runs a test in a world of each family.
func each(t *testing.T, f func(t *testing.T, w world)) {
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// plan is the lab with something more in it, ARR on.
func (w world) plan(t *testing.T, more string) *plan.Plan {
	t.Helper()
	return compile(t, fmt.Sprintf(w.lab, true, more))
}

// at is the origin's address and a port, as URLs and programs want it.
func (w world) at(port int) string { return net.JoinHostPort(w.origin, strconv.Itoa(port)) }

// six says that it is the world of IPv6.
func (w world) six() bool { return w.header == 40 }

// mss is the segment size that tunnels leave.
func (w world) mss() int { return tunnelMTU - w.header - 20 }

// fitting and tooBig are payloads of UDP or echo that a tunnel passes just, and
// that only the links beside it pass.
func (w world) fitting() int { return tunnelMTU - w.header - 8 }
func (w world) tooBig() int  { return 1500 - w.header - 8 }

// sockaddr is an address for system calls.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// addrPort is what sockaddr makes of an address, back.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}
