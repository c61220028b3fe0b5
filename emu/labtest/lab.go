package labtest

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// MAC is one of 256 addresses for a plan by hand.
func MAC(b byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, b} }

// Route is one hop of a node's to a prefix; without via that is on the link.
func Route(to, iface, via string) plan.KernelRoute {
	h := plan.Hop{Interface: iface}
	if via != "" {
		h.Via = netip.MustParseAddr(via)
	}
	return plan.KernelRoute{To: netip.MustParsePrefix(to), Hops: []plan.Hop{h}}
}

// Side is one side of a link: an interface, its address with the link's prefix,
// and the last byte of its MAC.
type Side struct {
	Node, Interface, Address string
	MAC                      byte
}

// Link is a link whose neighbours are known for good.
func Link(id string, mtu int, a, b Side) plan.Link {
	end := func(own, other Side) plan.Endpoint {
		return plan.Endpoint{
			Node: own.Node, Interface: own.Interface, MAC: MAC(own.MAC),
			Addresses: []netip.Prefix{netip.MustParsePrefix(own.Address)},
			Neighbors: []netip.Addr{netip.MustParsePrefix(other.Address).Addr()},
		}
	}
	return plan.Link{ID: id, MTU: mtu, A: end(a, b), B: end(b, a)}
}

// Up brings a plan up until the end of the test.
func Up(t testing.TB, p *plan.Plan) *keeper.Lab {
	t.Helper()
	k, err := keeper.Up(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	return k
}

// Clean fails the test if anything of a lab is there at its end that is not there now.
func Clean(t testing.TB) {
	t.Helper()
	before, err := keeper.TakeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := keeper.Leftovers(before)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left behind: %s", strings.Join(left, "; "))
		}
	})
}

// CloseTwice closes something at the end of the test, and once more, which must
// change nothing.
func CloseTwice(t testing.TB, what string, end func() error) {
	t.Cleanup(func() {
		for range 2 {
			if err := end(); err != nil {
				t.Errorf("close %s: %v", what, err)
			}
		}
	})
}

// manyDatagrams is what the socket of a far end holds, bytes.
const manyDatagrams = 4 << 20

// Server opens a socket for a far end that hears a lot.
func Server(t *testing.T, at End) *net.UDPConn {
	t.Helper()
	c := UDP(t, at)
	if err := c.SetReadBuffer(manyDatagrams); err != nil {
		t.Fatal(err)
	}
	return c
}

// Serve runs serve, which reads the socket, until the test ends.
func Serve(t *testing.T, c *net.UDPConn, serve func()) {
	var worker sync.WaitGroup
	worker.Go(serve)
	t.Cleanup(func() {
		c.Close()
		worker.Wait()
	})
}
