package netns_test

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

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
