package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/rtnl"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// rtaNexthop is RTA_NH_ID of linux/rtnetlink.h.
const rtaNexthop = 30

// hop is a next hop with its interface resolved.
type hop struct {
	index int
	via   netip.Addr // invalid: the destination itself is on the link
}

// router works out the messages for one namespace's routes.
//
// A route over several hops goes through a group of nexthop objects: when one
// server's namespace goes, its hop leaves the group. A plain multipath route
// would vanish whole.
type router struct {
	messages []rtnl.Message // so far, in the order in which the kernel is to have them
	index    map[string]int // of the node's interfaces
	hops     map[hop]uint32 // nexthop objects so far
	groups   []group
	last     uint32 // the latest nexthop id given
}

type group struct {
	id      uint32
	members []uint32
}

// route makes one route; without hops, a black hole.
func (r *router) route(k plan.KernelRoute) error {
	if !k.To.IsValid() || k.To != k.To.Masked() {
		return fmt.Errorf("route %v: want a prefix without host bits", k.To)
	}
	hops := make([]hop, len(k.Hops))
	for i, h := range k.Hops {
		index, ok := r.index[h.Interface]
		if !ok {
			return fmt.Errorf("route %v: no interface %q", k.To, h.Interface)
		}
		hops[i] = hop{index, h.Via}
	}
	r.write(k, hops)
	return nil
}

// routeMessage is a route without its hops; m is the first of the parts.
func routeMessage(k plan.KernelRoute) (m *nl.RtMsg, parts []nl.NetlinkRequestData) {
	m = nl.NewRtMsg()
	m.Family, m.Dst_len = family(k.To.Addr()), uint8(k.To.Bits())
	m.Protocol = unix.RTPROT_STATIC
	parts = []nl.NetlinkRequestData{m, nl.NewRtAttr(unix.RTA_DST, k.To.Addr().AsSlice())}
	if k.Source.IsValid() {
		parts = append(parts, nl.NewRtAttr(unix.RTA_PREFSRC, k.Source.AsSlice()))
	}
	return m, parts
}

// single are the attributes of a route over one hop.
func single(m *nl.RtMsg, h hop) []nl.NetlinkRequestData {
	parts := []nl.NetlinkRequestData{u32(unix.RTA_OIF, uint32(h.index))}
	if !h.via.IsValid() {
		m.Scope = unix.RT_SCOPE_LINK
		return parts
	}
	m.Flags = unix.RTNH_F_ONLINK
	return append(parts, nl.NewRtAttr(unix.RTA_GATEWAY, h.via.AsSlice()))
}

func (r *router) write(k plan.KernelRoute, hops []hop) {
	m, parts := routeMessage(k)
	switch len(hops) {
	case 0:
		m.Type = unix.RTN_BLACKHOLE
	case 1:
		parts = append(parts, single(m, hops[0])...)
	default:
		parts = append(parts, u32(rtaNexthop, r.group(hops, family(k.To.Addr()))))
	}
	r.add(creation(unix.RTM_NEWROUTE, parts...), "route %v via %v", k.To, k.Hops)
}

func (r *router) add(m rtnl.Message, format string, args ...any) {
	r.messages = append(r.messages, explained(m, format, args...))
}

// group finds or makes the group of these hops.
func (r *router) group(hops []hop, fam byte) uint32 {
	members := make([]uint32, len(hops))
	for i, h := range hops {
		members[i] = r.hop(h, fam)
	}
	slices.Sort(members)
	for _, g := range r.groups {
		if slices.Equal(g.members, members) {
			return g.id
		}
	}
	// struct nexthop_grp: id, weight - 1, reserved.
	var grp []byte
	for _, id := range members {
		grp = binary.NativeEndian.AppendUint32(grp, id)
		grp = append(grp, 0, 0, 0, 0)
	}
	r.last++
	r.add(creation(unix.RTM_NEWNEXTHOP, nexthop(unix.AF_UNSPEC, 0),
		u32(unix.NHA_ID, r.last), nl.NewRtAttr(unix.NHA_GROUP, grp)), "nexthop group of %v", hops)
	r.groups = append(r.groups, group{r.last, members})
	return r.last
}

// hop finds or makes the nexthop object of h.
func (r *router) hop(h hop, fam byte) uint32 {
	if id, ok := r.hops[h]; ok {
		return id
	}
	r.last++
	parts := []nl.NetlinkRequestData{nil, u32(unix.NHA_ID, r.last), u32(unix.NHA_OIF, uint32(h.index))}
	if h.via.IsValid() {
		parts[0] = nexthop(family(h.via), unix.RTNH_F_ONLINK)
		parts = append(parts, nl.NewRtAttr(unix.NHA_GATEWAY, h.via.AsSlice()))
	} else {
		parts[0] = nexthop(fam, 0)
	}
	r.add(creation(unix.RTM_NEWNEXTHOP, parts...), "nexthop %v", h.via)
	r.hops[h] = r.last
	return r.last
}

// nexthop is struct nhmsg: family, scope, protocol, reserved, flags.
func nexthop(fam byte, flags uint32) header {
	return binary.NativeEndian.AppendUint32(header{fam, 0, unix.RTPROT_STATIC, 0}, flags)
}
