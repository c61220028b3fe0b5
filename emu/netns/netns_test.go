package netns_test

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

func current(t *testing.T) string {
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
	before := current(t)
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
			if got := current(t); got != before {
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

// A namespace that was opened by its path is the same one, and outlives the
// first hold on it.
func TestOpenIsTheSame(t *testing.T) {
	need.Root(t)
	first, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	second, err := netns.Open(fmt.Sprintf("/proc/self/fd/%d", first.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	inside := func(ns *netns.NS) (link string) {
		if err := ns.Do(func() error { link = current(t); return nil }); err != nil {
			t.Fatal(err)
		}
		return link
	}
	want := inside(first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := inside(second); got != want || got == current(t) {
		t.Errorf("opened namespace is %s, want %s", got, want)
	}
	if err := first.Do(func() error { return nil }); err == nil {
		t.Error("Do after Close: no error")
	}
	if _, err := netns.Open(t.TempDir()); err == nil {
		t.Error("Open of a directory: no error")
	}
}

// Index is that of the thread's namespace, and of nothing that is elsewhere.
func TestIndexIsOfTheNamespace(t *testing.T) {
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a0", Index: 77}, PeerName: "a1"}); err != nil {
			return err
		}
		for name, want := range map[string]int{"lo": 1, "a0": 77} {
			if got, err := netns.Index(name); err != nil || got != want {
				return fmt.Errorf("index of %s: %d, %w; want %d", name, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a0", "", "a-name-that-is-too-long"} {
		if got, err := netns.Index(name); err == nil {
			t.Errorf("index of %q outside: %d, want an error", name, got)
		}
	}
}
