package plan

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxInterface is the longest interface name, IFNAMSIZ without its zero.
const maxInterface = 15

// wire links two routers, or a router and a server, by a /31.
func (b *builder) wire(class Class, a, z *node, geo time.Duration) *Link {
	numbers := b.infra
	if class == ClassAccess {
		numbers = b.outer
	}
	lo, hi, ok := numbers.pair()
	if !ok {
		b.fail(a.path, "too many links: %v is used up", numbers.prefix)
	}
	// The end toward the Internet's middle has the lower address.
	l := b.link(class, a, z, geo)
	l.A.Addresses, l.A.Neighbors = []netip.Prefix{netip.PrefixFrom(hi, 31)}, []netip.Addr{lo}
	l.B.Addresses, l.B.Neighbors = []netip.Prefix{netip.PrefixFrom(lo, 31)}, []netip.Addr{hi}
	b.hops[[2]string{a.ID, z.ID}] = Hop{Interface: l.A.Interface, Via: lo}
	b.hops[[2]string{z.ID, a.ID}] = Hop{Interface: l.B.Interface, Via: hi}
	b.wire6(l, a, z)
	return l
}

// link makes a link without addresses.
func (b *builder) link(class Class, a, z *node, geo time.Duration) *Link {
	l := &Link{
		ID:    a.ID + "-" + z.ID,
		Class: class,
		A:     Endpoint{Node: a.ID, Interface: b.ifname(a, z)},
		B:     Endpoint{Node: z.ID, Interface: b.ifname(z, a)},
		MTU:   mtuPlain,
		Geo:   geo,
	}
	if class == ClassServer || class == ClassBackbone {
		l.MTU = mtuInternal
	}
	b.links = append(b.links, l)
	return l
}

// ifname names the interface of n toward peer, unique on n.
func (b *builder) ifname(n, peer *node) string {
	used := b.ifaces[n.ID]
	if used == nil {
		used = map[string]bool{"lo": true}
		b.ifaces[n.ID] = used
	}
	name := ""
	switch {
	case n.Kind == KindHost || n.Kind == KindOrigin:
		name = "eth0"
	case n.Kind == KindServer:
		name = "up0"
	case n.routes() && peer.Kind == KindHost:
		name = numbered(used, "lan")
	case n.routes():
		name = numbered(used, "wan")
	default:
		name = shorten(used, strings.TrimSuffix(peer.ID, ".router"))
	}
	used[name] = true
	return name
}

// routes says whether the node is a router with tunnels, or a device, which is
// one without a LAN.
func (n *node) routes() bool {
	return n.Kind == KindBranch || n.Kind == KindConnector || n.Kind == KindDevice
}

// numbered is stem with the first free number.
func numbered(used map[string]bool, stem string) string {
	for i := 0; ; i++ {
		if name := stem + strconv.Itoa(i); !used[name] {
			return name
		}
	}
}

// shorten turns a node id into an interface name: dots become dashes, because
// sysctl reads a dot as a slash, and a long first part gives way to the rest,
// which holds the number.
func shorten(used map[string]bool, id string) string {
	name := strings.ReplaceAll(id, ".", "-")
	head, tail, dash := strings.Cut(name, "-")
	if dash {
		tail = "-" + tail
	}
	for i := 1; ; i++ {
		mark := ""
		if i > 1 {
			mark = "_" + strconv.Itoa(i)
		}
		rest := mark + tail
		if len(rest) >= maxInterface {
			rest = mark + tail[len(tail)-(maxInterface-1-len(mark)):]
		}
		name := head[:min(len(head), maxInterface-len(rest))] + rest
		if !used[name] {
			return name
		}
	}
}
