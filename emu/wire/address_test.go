package wire

import (
	"net/netip"
	"testing"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

// An address that the kernel has dropped, or never had, is given again.
func TestAddressedAgain(t *testing.T) {
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Send(up(loopback)); err != nil {
			return err
		}
		return c.addressed(loopback, netip.MustParsePrefix("2001:2::1/127"))
	})
	if err != nil {
		t.Error(err)
	}
}
