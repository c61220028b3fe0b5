package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// Routes changes a node that is up: its routes, and the MTU and the sending of
// its links. It is safe for concurrent use.
type Routes struct {
	conn  *conn
	index map[string]int
}

// OpenRoutes opens a routing socket inside a namespace whose links are all made.
func OpenRoutes(ns *netns.NS) (*Routes, error) {
	r := &Routes{index: map[string]int{}}
	err := ns.Do(func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, l := range links {
			r.index[l.Name] = l.Index
		}
		r.conn, err = dial()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("change routes: %w", err)
	}
	return r, nil
}

// Close closes the socket. It is idempotent.
func (r *Routes) Close() {
	if r.conn != nil {
		r.conn.Close()
		r.conn = nil
	}
}

// Replace makes the route to k.To this one, whatever it was before; without hops,
// a black hole. A route over several hops has them in itself, not in a nexthop
// group: no hop of it vanishes by itself.
func (r *Routes) Replace(k plan.KernelRoute) error {
	m, parts := routeMessage(k)
	switch len(k.Hops) {
	case 0:
		m.Type = unix.RTN_BLACKHOLE
	case 1:
		index, err := r.of(k.Hops[0].Interface)
		if err != nil {
			return err
		}
		parts = append(parts, single(m, hop{index, k.Hops[0].Via})...)
	default:
		var hops []byte
		for _, h := range k.Hops {
			index, err := r.of(h.Interface)
			if err != nil {
				return err
			}
			hops = appendHop(hops, hop{index, h.Via})
		}
		parts = append(parts, nl.NewRtAttr(unix.RTA_MULTIPATH, hops))
	}
	if _, err := r.conn.Ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, parts...); err != nil {
		return fmt.Errorf("route %v via %v: %w", k.To, k.Hops, err)
	}
	return nil
}

// Remove takes a route away that Replace has made. It is no error if there is none.
func (r *Routes) Remove(k plan.KernelRoute) error {
	m, parts := routeMessage(plan.KernelRoute{To: k.To})
	m.Type, m.Scope = unix.RTN_UNSPEC, unix.RT_SCOPE_NOWHERE
	if _, err := r.conn.Ask(unix.RTM_DELROUTE, 0, parts...); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("remove route %v: %w", k.To, err)
	}
	return nil
}

func (r *Routes) of(name string) (int, error) {
	if index, ok := r.index[name]; ok {
		return index, nil
	}
	return 0, fmt.Errorf("no interface %q", name)
}

// appendHop appends a struct rtnexthop with its gateway.
func appendHop(b []byte, h hop) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(h.index))
	if h.via.IsValid() {
		b[start+2] = unix.RTNH_F_ONLINK
		via := h.via.AsSlice()
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(via)))
		b = binary.NativeEndian.AppendUint16(b, unix.RTA_GATEWAY)
		b = append(b, via...)
	}
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// Follows says whether the kernel sends what goes to the route's prefix by one of
// its hops; the error names the interface that it would take.
func (r *Routes) Follows(k plan.KernelRoute) error {
	m := nl.NewRtMsg()
	m.Family, m.Dst_len = family(k.To.Addr()), uint8(k.To.Addr().BitLen())
	all, err := r.conn.Ask(unix.RTM_GETROUTE, unix.NLM_F_REQUEST, m, nl.NewRtAttr(unix.RTA_DST, k.To.Addr().AsSlice()))
	if len(k.Hops) == 0 {
		if err == nil {
			return fmt.Errorf("route %v: want a black hole, got a way", k.To)
		}
		return nil
	}
	if err != nil || len(all) == 0 {
		return fmt.Errorf("route %v: %d answers, %w", k.To, len(all), err)
	}
	attrs, err := nl.ParseRouteAttr(all[0][unix.SizeofRtMsg:])
	if err != nil {
		return fmt.Errorf("route %v: %w", k.To, err)
	}
	got := -1
	for _, a := range attrs {
		if a.Attr.Type == unix.RTA_OIF {
			got = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	for _, h := range k.Hops {
		if r.index[h.Interface] == got {
			return nil
		}
	}
	return fmt.Errorf("route %v: goes by interface %d, want one of %v", k.To, got, k.Hops)
}
