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
)

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h: the other end, as an
// ifinfomsg and attributes of its own.
const vethInfoPeer = 1

// loopback is the ifindex of lo in every namespace.
const loopback = 1

// The library works out the byte order at its first use, unsafely for others at
// the same time. This is that use, before there are others.
var _ = nl.NativeEndian()

// conn is a routing socket inside one namespace. It is safe for concurrent use.
//
// The messages are written out here, and not asked of the netlink library's
// higher functions: those look links up by name before each change, cannot
// number the far end of a veth, and know no nexthop objects.
type conn struct {
	sockets map[int]*nl.SocketHandle
}

// dial opens a conn in the namespace of the calling thread.
func dial() (*conn, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		return nil, fmt.Errorf("open routing socket: %w", err)
	}
	// The kernel then says in words what it refuses; without it, by number only.
	_ = s.SetExtAck(true)
	return &conn{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}}, nil
}

func (c *conn) close() {
	for _, s := range c.sockets {
		s.Close()
	}
}

// ask sends one message and returns the kernel's answers.
func (c *conn) ask(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Sockets = c.sockets
	for _, p := range parts {
		req.AddData(p)
	}
	return req.Execute(unix.NETLINK_ROUTE, 0)
}

// create is ask for something that must not exist yet.
func (c *conn) create(kind int, parts ...nl.NetlinkRequestData) error {
	_, err := c.ask(kind, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...)
	return err
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

// veth makes a pair in one message: a in the conn's namespace, b in that of
// the descriptor (or beside a, if it is negative). Names, numbers and MACs are
// fixed from the first moment, and no end is ever anywhere else.
func (c *conn) veth(a, b end, namespace int) error {
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
	parts := append([]nl.NetlinkRequestData{ifinfo(a.index)}, a.attributes()...)
	return c.create(unix.RTM_NEWLINK, append(parts, info)...)
}

// named is the index of an interface; 0 if there is none of that name.
func (c *conn) named(name string) (int, error) {
	msgs, err := c.ask(unix.RTM_GETLINK, 0, ifinfo(0), text(unix.IFLA_IFNAME, name))
	switch {
	case errors.Is(err, unix.ENODEV):
		return 0, nil
	case err != nil || len(msgs) != 1:
		return 0, fmt.Errorf("interface %s: %d answers, %w", name, len(msgs), err)
	}
	return int(nl.DeserializeIfInfomsg(msgs[0]).Index), nil
}

// up raises an interface. The kernel refuses to raise both ends as it makes
// them, so this is a message of its own.
func (c *conn) up(index int) error {
	m := ifinfo(index)
	m.Flags, m.Change = unix.IFF_UP, unix.IFF_UP
	_, err := c.ask(unix.RTM_SETLINK, 0, m)
	return err
}

// Of linux/rtnetlink.h and linux/ip.h: where an interface's IPv4 parameters are
// in a message, and their numbers.
const (
	iflaInetConf = 1
	forwarding   = 1
	acceptLocal  = 23
)

// ipv4 sets an IPv4 parameter of an interface, what sysctl(8) has under
// net.ipv4.conf, without a file.
func (c *conn) ipv4(index, parameter int, value uint32) error {
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(iflaInetConf, nil).AddRtAttr(parameter, nl.Uint32Attr(value))
	_, err := c.ask(unix.RTM_SETLINK, 0, ifinfo(index), spec)
	return err
}

// quiet has an interface ask nobody for neighbours and be a member of no group:
// IPv6 would report each group that it joins (RFC 3810), the one of each address
// among them. All neighbours are permanent, so that nothing is missed. It must
// have neither addresses yet nor forwarding.
func (c *conn) quiet(index int) error {
	m := ifinfo(index)
	m.Flags, m.Change = unix.IFF_NOARP, unix.IFF_NOARP|unix.IFF_MULTICAST
	_, err := c.ask(unix.RTM_SETLINK, 0, m)
	return err
}

// carrierPatience bounds the wait for the carrier of a pair whose ends are both up.
const carrierPatience = 2 * time.Second

// ready waits until the interface's carrier is more than a promise: the end
// that was raised first swallows packets until the kernel's link watch has run.
func (c *conn) ready(index int) error {
	const want = unix.IFF_LOWER_UP | unix.IFF_RUNNING
	for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
		msgs, err := c.ask(unix.RTM_GETLINK, 0, ifinfo(index))
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

// addressed waits until packets to an address of this namespace are taken: the
// kernel makes the local route of an IPv6 address in the background, also without
// duplicate address detection.
func (c *conn) addressed(a netip.Addr) error {
	for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
		m := nl.NewRtMsg()
		*m = nl.RtMsg{RtMsg: unix.RtMsg{Family: family(a), Dst_len: uint8(a.BitLen())}}
		msgs, err := c.ask(unix.RTM_GETROUTE, 0, m, nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
		if err == nil && len(msgs) == 1 && nl.DeserializeRtMsg(msgs[0]).Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("no local route to %v after %v", a, carrierPatience), err)
		}
	}
}

// address gives an interface an address, usable at once (no duplicate address
// detection) and without a broadcast address.
func (c *conn) address(index int, p netip.Prefix) error {
	h := header{family(p.Addr()), byte(p.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}
	h = binary.NativeEndian.AppendUint32(h, uint32(index))
	a := p.Addr().AsSlice()
	return c.create(unix.RTM_NEWADDR, h, nl.NewRtAttr(unix.IFA_LOCAL, a), nl.NewRtAttr(unix.IFA_ADDRESS, a))
}

// neighbor says for good where an address is.
func (c *conn) neighbor(index int, a netip.Addr, mac net.HardwareAddr) error {
	h := header{family(a), 0, 0, 0}
	h = binary.NativeEndian.AppendUint32(h, uint32(index))
	h = binary.NativeEndian.AppendUint16(h, unix.NUD_PERMANENT)
	h = append(h, 0, unix.RTN_UNICAST)
	return c.create(unix.RTM_NEWNEIGH, h, nl.NewRtAttr(unix.NDA_DST, a.AsSlice()), nl.NewRtAttr(unix.NDA_LLADDR, mac))
}
