package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/rtnl"
)

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h: the other end, as an
// ifinfomsg and attributes of its own.
const vethInfoPeer = 1

// loopback is the ifindex of lo in every namespace.
const loopback = 1

// conn is a routing socket inside one namespace. It is safe for concurrent use.
//
// The messages are written out here, and not asked of the netlink library's
// higher functions: those look links up by name before each change, cannot
// number the far end of a veth, and know no nexthop objects.
type conn struct{ *rtnl.Conn }

// dial opens a conn in the namespace of the calling thread.
func dial() (*conn, error) {
	c, err := rtnl.Dial()
	if err != nil {
		return nil, err
	}
	return &conn{c}, nil
}

// creation asks for something that must not exist yet.
func creation(kind int, parts ...nl.NetlinkRequestData) rtnl.Message {
	return rtnl.Message{Kind: kind, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Parts: parts}
}

// explained is a message whose refusal is told with what it was for.
func explained(m rtnl.Message, format string, args ...any) rtnl.Message {
	m.Explain = func(err error) error { return fmt.Errorf(format+": %w", append(args, err)...) }
	return m
}

// header is a fixed message header as bytes.
type header []byte

// Len is the header's length.
func (h header) Len() int { return len(h) }

// Serialize is the header itself.
func (h header) Serialize() []byte { return h }

func u32(kind int, v uint32) *nl.RtAttr { return nl.NewRtAttr(kind, nl.Uint32Attr(v)) }

func text(kind int, s string) *nl.RtAttr { return nl.NewRtAttr(kind, nl.ZeroTerminated(s)) }

// family is AF_INET or AF_INET6.
func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// end is one end of a veth that is to be made.
type end struct {
	name  string
	index int
	mac   net.HardwareAddr // nil leaves the choice to the kernel
	mtu   int
	up    bool // from the first moment
}

// attributes of the end as the kernel takes them. One queue is enough for a
// wire, and makes namespaces smaller.
func (e end) attributes() []nl.NetlinkRequestData {
	as := []nl.NetlinkRequestData{
		text(unix.IFLA_IFNAME, e.name),
		u32(unix.IFLA_MTU, uint32(e.mtu)),
		u32(unix.IFLA_NUM_TX_QUEUES, 1),
		u32(unix.IFLA_NUM_RX_QUEUES, 1),
	}
	if e.mac != nil {
		as = append(as, nl.NewRtAttr(unix.IFLA_ADDRESS, e.mac))
	}
	return as
}

func ifinfo(index int) *nl.IfInfomsg {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	return m
}

// veth makes a pair in one message: a in the namespace that is asked, b in that of
// the descriptor (or beside a, if it is negative). Names, numbers and MACs are
// fixed from the first moment, and no end is ever anywhere else. The kernel refuses to
// raise b before a exists.
func veth(a, b end, namespace int) rtnl.Message {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(vethInfoPeer, nil)
	peer.AddChild(ifinfo(b.index))
	for _, at := range b.attributes() {
		peer.AddChild(at)
	}
	if namespace >= 0 {
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(namespace)))
	}
	own := ifinfo(a.index)
	if a.up {
		own.Flags, own.Change = unix.IFF_UP, unix.IFF_UP
	}
	parts := append([]nl.NetlinkRequestData{own}, a.attributes()...)
	m := creation(unix.RTM_NEWLINK, append(parts, info)...)
	m.Explain = vethError
	return m
}

// named is the index of an interface; 0 if there is none of that name.
func (c *conn) named(name string) (int, error) {
	msgs, err := c.Ask(unix.RTM_GETLINK, 0, ifinfo(0), text(unix.IFLA_IFNAME, name))
	switch {
	case errors.Is(err, unix.ENODEV):
		return 0, nil
	case err != nil || len(msgs) != 1:
		return 0, fmt.Errorf("interface %s: %d answers, %w", name, len(msgs), err)
	}
	return int(nl.DeserializeIfInfomsg(msgs[0]).Index), nil
}

// change is a message that changes an interface.
func change(m *nl.IfInfomsg, parts ...nl.NetlinkRequestData) rtnl.Message {
	return rtnl.Message{Kind: unix.RTM_SETLINK, Parts: append([]nl.NetlinkRequestData{m}, parts...)}
}

// up raises an interface.
func up(index int) rtnl.Message {
	m := ifinfo(index)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	return change(m)
}

// Of linux/rtnetlink.h and linux/ip.h: where an interface's IPv4 parameters are
// in a message, and their numbers.
const (
	iflaInetConf    = 1
	forwarding      = 1
	acceptRedirects = 4
	sendRedirects   = 6
	rpFilter        = 8
	acceptLocal     = 23
)

// ipv4 sets IPv4 parameters of an interface, what sysctl(8) has under
// net.ipv4.conf, without a file for each.
func ipv4(index int, values ...value) rtnl.Message {
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(iflaInetConf, nil)
	for _, v := range values {
		conf.AddRtAttr(v.parameter, nl.Uint32Attr(v.is))
	}
	return change(ifinfo(index), spec)
}

// value is what an IPv4 parameter of an interface is to be.
type value struct {
	parameter int
	is        uint32
}

// quiet has an interface ask nobody for neighbours and be a member of no group:
// IPv6 would report each group that it joins (RFC 3810), the one of each address
// among them. All neighbours are permanent, so that nothing is missed. It must
// have neither addresses yet nor forwarding.
func quiet(index int) rtnl.Message {
	m := ifinfo(index)
	m.Flags, m.Change = unix.IFF_NOARP, unix.IFF_NOARP|unix.IFF_MULTICAST
	return change(m)
}

// carrierPatience bounds the wait for the carrier of a pair whose ends are both up.
const carrierPatience = 20 * time.Second

// ready waits until the interface's carrier is more than a promise: the end
// that was raised first swallows packets until the kernel's link watch has run.
func (c *conn) ready(index int) error {
	const want = unix.IFF_LOWER_UP | unix.IFF_RUNNING
	for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
		msgs, err := c.Ask(unix.RTM_GETLINK, 0, ifinfo(index))
		if err != nil {
			return err
		}
		if len(msgs) == 1 && nl.DeserializeIfInfomsg(msgs[0]).Flags&want == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no carrier after %v", carrierPatience)
		}
	}
}

// addressed waits until packets to an address of an interface are taken: the kernel
// makes the local route of an IPv6 address in the background, also without duplicate
// address detection. If it has no memory at that moment it drops the address and tells
// nobody but its log ("Failed to add prefix route"): the interface is given it again.
func (c *conn) addressed(index int, p netip.Prefix) error {
	const patience = 250 * time.Millisecond // most are there in less than one
	a := p.Addr()
	again := time.Now().Add(patience)
	for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
		m := nl.NewRtMsg()
		*m = nl.RtMsg{RtMsg: unix.RtMsg{Family: family(a), Dst_len: uint8(a.BitLen())}}
		msgs, err := c.Ask(unix.RTM_GETROUTE, 0, m, nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
		if err == nil && len(msgs) == 1 && nl.DeserializeRtMsg(msgs[0]).Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("no local route to %v after %v", a, carrierPatience), err)
		}
		if now := time.Now(); now.After(again) {
			again = now.Add(patience)
			if err := c.Send(address(index, p)); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("address %v again: %w", p, err)
			}
		}
	}
}

// address gives an interface an address, usable at once (no duplicate address
// detection) and without a broadcast address.
func address(index int, p netip.Prefix) rtnl.Message {
	h := header{family(p.Addr()), byte(p.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}
	h = binary.NativeEndian.AppendUint32(h, uint32(index))
	a := p.Addr().AsSlice()
	return creation(unix.RTM_NEWADDR, h, nl.NewRtAttr(unix.IFA_LOCAL, a), nl.NewRtAttr(unix.IFA_ADDRESS, a))
}

// neighbor says for good where an address is.
func neighbor(index int, a netip.Addr, mac net.HardwareAddr) rtnl.Message {
	h := header{family(a), 0, 0, 0}
	h = binary.NativeEndian.AppendUint32(h, uint32(index))
	h = binary.NativeEndian.AppendUint16(h, unix.NUD_PERMANENT)
	h = append(h, 0, unix.RTN_UNICAST)
	return creation(unix.RTM_NEWNEIGH, h, nl.NewRtAttr(unix.NDA_DST, a.AsSlice()), nl.NewRtAttr(unix.NDA_LLADDR, mac))
}
