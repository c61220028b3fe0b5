package hubtest

import (
	"net/netip"
	"testing"
)

// Family is one IP version with addresses of it.
type Family struct {
	Name string
	// Header is the size of the IP header, bytes.
	Header int
	Web    netip.AddrPort
	Till   netip.AddrPort
	// LAN is what every site calls its own.
	LAN netip.Prefix
	// Private is an address that needs a route, Router one on the Internet.
	Private, Router netip.Addr
	six             bool
}

// Families are IPv4 and IPv6.
func Families() []Family {
	return []Family{
		{
			Name: "IPv4", Header: 20, Web: Web, Till: Till, LAN: LAN,
			Private: netip.MustParseAddr("10.9.9.9"), Router: netip.MustParseAddr("192.88.99.1"),
		},
		{
			Name: "IPv6", Header: 40, six: true,
			Web: netip.MustParseAddrPort("[2001:db8:9::9]:443"), Till: netip.MustParseAddrPort("[fd00:0:0:1::5]:40000"),
			LAN: netip.MustParsePrefix("fd00:0:0:1::/64"), Private: netip.MustParseAddr("fd00:9::9"), Router: netip.MustParseAddr("2001:db8:88::1"),
		},
	}
}

// EachFamily runs a test for IPv4 and for IPv6.
func EachFamily(t *testing.T, test func(t *testing.T, f Family)) {
	for _, f := range Families() {
		t.Run(f.Name, func(t *testing.T) { test(t, f) })
	}
}

// Client is the n-th of many different clients and destinations.
func (f Family) Client(n int) IP {
	host, origin := f.LAN.Addr().AsSlice(), f.Web.Addr().AsSlice()
	host[len(host)-1], origin[len(origin)-1] = byte(1+n%250), byte(n/7)
	src, _ := netip.AddrFromSlice(host)
	dst, _ := netip.AddrFromSlice(origin)
	return IP{Src: netip.AddrPortFrom(src, uint16(1024+n%60000)), Dst: netip.AddrPortFrom(dst, 443)}
}
