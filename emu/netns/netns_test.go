package netns_test

import (
	"net"
	"os"
	"sync"
	"testing"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

func hostLinks(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// A fresh namespace holds the loopback interface alone, and Do leaves the
// caller's threads where they were.
func TestDoIsInsideAndComesBack(t *testing.T) {
	need.Root(t)
	before := hostLinks(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			err := ns.Do(func() error {
				ifs, err := net.Interfaces()
				if err != nil {
					return err
				}
				if len(ifs) != 1 || ifs[0].Name != "lo" {
					t.Errorf("interfaces inside = %v, want lo alone", ifs)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if got := hostLinks(t); got != before {
				t.Errorf("after Do the thread is in %s, want %s", got, before)
			}
		})
	}
	wg.Wait()
	if err := ns.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := ns.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
