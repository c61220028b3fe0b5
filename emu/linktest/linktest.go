// Package linktest makes links for tests that read raw frames: nothing goes
// over them but what the test sends. It is not the lab's wiring (emu/wire), so
// that a test of one cannot pass by a fault of the other.
//
// Its law: a link that it returns passes packets, and the kernel says nothing
// on it of its own.
package linktest

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// End is one end of a link.
type End struct {
	Name string
	MAC  net.HardwareAddr
}

// Pair makes a veth in the namespace of the calling thread, which is the
// test's own, and returns the indices of its ends. The kernel's IPv6 is off
// there from now on: it would look for neighbours and routers whenever it likes.
func Pair(mtu int, a, b End) (indexA, indexB int, err error) {
	for _, scope := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+scope+"/disable_ipv6", []byte("1"), 0)
		if err != nil && !os.IsNotExist(err) { // a kernel without IPv6
			return 0, 0, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = a.Name, a.MAC, mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: b.Name, PeerHardwareAddr: b.MAC, PeerMTU: uint32(mtu)}
	if err := netlink.LinkAdd(pair); err != nil {
		return 0, 0, err
	}
	var index [2]int
	for i, end := range []End{a, b} {
		link, err := netlink.LinkByName(end.Name)
		if err != nil {
			return 0, 0, err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return 0, 0, err
		}
		index[i] = link.Attrs().Index
	}
	for _, end := range []End{a, b} {
		if err := Carries(end.Name); err != nil {
			return 0, 0, err
		}
	}
	return index[0], index[1], nil
}

// Carries waits until a link passes packets: until the kernel's link watch has
// noticed that the other end is up too, it throws them away.
func Carries(name string) error {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		qdiscs, err := netlink.QdiscList(link)
		if err != nil {
			return err
		}
		if a := link.Attrs(); a.OperState == netlink.OperUp && len(qdiscs) > 0 && qdiscs[0].Type() != "noop" {
			return nil
		}
	}
	return fmt.Errorf("%s is still without carrier", name)
}
