// Package hosttest wires small networks of namespaces for the tests of hosts
// and probes: a router in the middle, a veth to each host. It is not the lab's
// wiring (emu/wire), so that a test of one cannot pass by a fault of the other.
//
// Its law: everything is gone when the test is over.
package hosttest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
)

// Namespace makes a namespace with its loopback up, that neither forwards by
// accident nor filters reverse paths.
func Namespace(tb testing.TB, forward bool) *netns.NS {
	tb.Helper()
	ns, err := netns.New()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ns.Close() })
	Do(tb, ns, func() error {
		for name, on := range map[string]bool{
			"ipv4/ip_forward": forward, "ipv4/conf/all/rp_filter": false, "ipv4/conf/default/rp_filter": false,
			"ipv6/conf/all/disable_ipv6": false, "ipv6/conf/default/disable_ipv6": false, "ipv6/conf/all/forwarding": forward,
		} {
			v := "0"
			if on {
				v = "1"
			}
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(v), 0); err != nil {
				return err
			}
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return ns
}

// Do runs f in the namespace and fails the test if it fails.
func Do(tb testing.TB, ns *netns.NS, f func() error) {
	tb.Helper()
	if err := ns.Do(f); err != nil {
		tb.Fatal(err)
	}
}

// Host is a host's place at a router.
type Host struct {
	NS      *netns.NS
	Address netip.Addr
}

// Attach links a new host, its interface eth0, to the router, whose interface
// is named port. The host routes everything to the router; the router gets a
// route to the host only if route is set, so that two hosts may have one
// address. Neighbours are fixed: no ARP.
func Attach(tb testing.TB, router *netns.NS, port string, address netip.Addr, route bool) Host {
	tb.Helper()
	h := Host{NS: Namespace(tb, false), Address: address}
	gateway, everything := netip.MustParseAddr("169.254.0.1"), net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	if address.Is6() {
		gateway, everything = netip.MustParseAddr("fd00:ffff::1"), net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	hostMAC, portMAC := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	Do(tb, router, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: port, MTU: 1500, HardwareAddr: portMAC},
			PeerName:         "eth0",
			PeerHardwareAddr: hostMAC,
			PeerNamespace:    netlink.NsFd(h.NS.Fd()),
		})
	})
	Do(tb, h.NS, func() error {
		eth, err := up("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(eth, &netlink.Addr{IPNet: single(address), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("address: %w", err)
		}
		if err := neighbor(eth, gateway, portMAC); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{
			LinkIndex: eth.Attrs().Index, Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
			Dst: &everything,
		})
	})
	Do(tb, router, func() error {
		link, err := up(port)
		if err != nil {
			return err
		}
		if err := neighbor(link, address, hostMAC); err != nil {
			return err
		}
		if route {
			r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: single(address), Scope: netlink.SCOPE_LINK}
			if err := netlink.RouteAdd(r); err != nil {
				return fmt.Errorf("route to %s: %w", address, err)
			}
		}
		return nil
	})
	Do(tb, h.NS, func() error { return linktest.Carries("eth0") })
	Do(tb, router, func() error { return linktest.Carries(port) })
	return h
}

func up(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	return link, netlink.LinkSetUp(link)
}

func single(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func neighbor(link netlink.Link, a netip.Addr, mac net.HardwareAddr) error {
	err := netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, IP: a.AsSlice(), HardwareAddr: mac, State: netlink.NUD_PERMANENT,
	})
	if err != nil {
		return fmt.Errorf("neighbour %s: %w", a, err)
	}
	return nil
}

// Blackhole makes the router swallow what goes to a, in silence.
func Blackhole(tb testing.TB, router *netns.NS, a netip.Addr) {
	tb.Helper()
	Do(tb, router, func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: single(a), Type: unix.RTN_BLACKHOLE})
	})
}
