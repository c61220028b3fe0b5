package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Move is a route that a router's kernel has learned, changed or lost.
type Move struct {
	At       time.Time
	Node     string
	Prefix   netip.Prefix
	Neighbor string // by whom packets go now; empty: nobody
}

// fib follows what speakers write into a namespace's table.
type fib struct {
	mu     sync.Mutex
	learnt map[string]string // prefix → neighbour
	done   chan struct{}
	once   sync.Once
}

// watch begins before the speaker does, so that nothing is missed.
func watch(s *plan.Speaker, ns *netns.NS, tell func(Move)) (*fib, error) {
	f := &fib{learnt: map[string]string{}, done: make(chan struct{})}
	updates := make(chan netlink.RouteUpdate, 256)
	handle := vns.NsHandle(ns.Fd())
	err := netlink.RouteSubscribeWithOptions(updates, f.done, netlink.RouteSubscribeOptions{Namespace: &handle, ErrorCallback: func(error) {}})
	if err != nil {
		return nil, err
	}
	go func() {
		for u := range updates {
			if m, changed := f.take(s, &u); changed {
				tell(m)
			}
		}
	}()
	return f, nil
}

// take notes an update of the kernel's.
func (f *fib) take(s *plan.Speaker, u *netlink.RouteUpdate) (Move, bool) {
	if p := u.Route.Protocol; p != unix.RTPROT_BGP && p != unix.RTPROT_BIRD || u.Route.Dst == nil {
		return Move{}, false
	}
	to, err := netip.ParsePrefix(u.Route.Dst.String())
	if err != nil {
		return Move{}, false
	}
	gone := u.Type == unix.RTM_DELROUTE
	neighbor := ""
	if via, ok := netip.AddrFromSlice(u.Route.Gw); ok {
		if i := s.By(via.Unmap()); i >= 0 {
			neighbor = s.Sessions[i].Node
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	was, had := f.learnt[to.String()]
	switch {
	case gone && (!had || was != neighbor):
		return Move{}, false // it was replaced before
	case gone:
		delete(f.learnt, to.String())
		neighbor = ""
	case had && was == neighbor:
		return Move{}, false
	default:
		f.learnt[to.String()] = neighbor
	}
	return Move{At: time.Now(), Node: s.Node, Prefix: to, Neighbor: neighbor}, true
}

func (f *fib) routes() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.learnt)
}

// differs names the first route that is not as wanted.
func (f *fib) differs(want map[string]string) error {
	got := f.routes()
	for _, p := range slices.Sorted(maps.Keys(want)) {
		switch has := got[p]; {
		case has == "":
			return fmt.Errorf("no route to %s, want one by %s", p, want[p])
		case has != want[p]:
			return fmt.Errorf("%s goes by %s, want %s", p, has, want[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		if want[p] == "" {
			return fmt.Errorf("%s goes by %s, want no such route", p, got[p])
		}
	}
	return nil
}

func (f *fib) close() { f.once.Do(func() { close(f.done) }) }
