package linktest

import (
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// A link carries at once, and has no IPv6 to speak of itself.
func TestPairIsQuiet(t *testing.T) {
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		a, b, err := Pair(1900, End{"a", net.HardwareAddr{2, 0, 0, 0, 0, 0xa}}, End{"b", net.HardwareAddr{2, 0, 0, 0, 0, 0xb}})
		if err != nil {
			return err
		}
		for index, want := range map[int]string{a: "a", b: "b"} {
			link, err := netlink.LinkByIndex(index)
			if err != nil {
				return err
			}
			if got := link.Attrs(); got.Name != want || got.MTU != 1900 || got.OperState != netlink.OperUp {
				t.Errorf("link %d is %s, MTU %d, %v, want %s, 1900, up", index, got.Name, got.MTU, got.OperState, want)
			}
			addresses, err := netlink.AddrList(link, unix.AF_INET6)
			if err != nil || len(addresses) != 0 {
				t.Errorf("%s has addresses %v (%v), want none", want, addresses, err)
			}
			// Router solicitations and reports of groups go out in the first
			// second; on a link with IPv6 the first within milliseconds.
			time.Sleep(50 * time.Millisecond)
			if link, err = netlink.LinkByIndex(index); err != nil {
				return err
			}
			if n := link.Attrs().Statistics.TxPackets; n != 0 {
				t.Errorf("%s sent %d frames by itself, want none", want, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
