package keeper_test

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// A connection whose goodbye nobody can hear any more does not keep its
// namespace: it is ended, however long the kernel would wait to repeat it.
func TestGoodbyesEnd(t *testing.T) {
	need.Root(t)
	for network, at := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		t.Run(network, func(t *testing.T) { goodbyesEnd(t, network, at) })
	}
}

func goodbyesEnd(t *testing.T, network, at string) {
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var held net.Conn
	err = ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		l, err := net.Listen(network, at)
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			return err
		}
		if held, err = l.Accept(); err != nil {
			return err
		}
		if err := netlink.LinkSetDown(lo); err != nil {
			return err
		}
		return c.Close() // nobody hears it
	})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if got := connections(t, ns); got != 2 {
		t.Fatalf("%d connections before, want both ends", got)
	}
	if err := keeper.HastenGoodbyes(ns); err != nil {
		t.Fatal(err)
	}
	if got := connections(t, ns); got != 0 {
		t.Errorf("%d connections are left, want none", got)
	}
}

func connections(t *testing.T, ns *netns.NS) (n int) {
	t.Helper()
	err := ns.Do(func() error {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			all, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return err
			}
			for _, s := range all {
				if s.State != netlink.TCP_LISTEN && s.State != netlink.TCP_TIME_WAIT {
					n++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
