package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

// uplink is the server's one link: it turns frames into the hub's packets and
// what the hub sends into frames.
type uplink struct {
	mac     [6]byte
	own     []netip.Addr       // the kernel's addresses; their packets are not ours
	sockets []*afpacket.Socket // that receive
	sender  *afpacket.Socket   // may be one of them
	rx      receiver
	stamps  *afpacket.Receiver // rx if it can tell when frames came, else nil
	tx      *afpacket.Sender
	fds     []int       // to wait for
	xdp     *xdpSocket  // IOXDP's, nil otherwise
	pusher  *bpf.Server // nil in IOPlain and IOXDP
	fast    *fastPath   // nil unless EBPF
	marks   map[tunnel.Encap]uint32
	ends    tunnelEnds
	hello   Hello
	count   received
}

// receiver takes batches of frames, see afpacket.Receiver.
type receiver interface {
	Receive() (n int, err error)
	Frame(i int) ([]byte, afpacket.Header)
}

// received counts packets on their way to the hub.
type received struct {
	packets, superpackets, notOurs, notTCP, badChecksum, overflow uint64
}

// openUplink opens the interface named in h in the process's namespace.
func openUplink(h *header) (*uplink, error) {
	iface, err := net.InterfaceByName(h.Server.Interface)
	if err != nil {
		return nil, fmt.Errorf("uplink %q: %w", h.Server.Interface, err)
	}
	if len(h.UplinkMAC) != 6 || len(h.GatewayMAC) != 6 {
		return nil, fmt.Errorf("uplink MAC is %q and gateway MAC %q, want 6 bytes each", h.UplinkMAC, h.GatewayMAC)
	}
	u := &uplink{mac: [6]byte(h.UplinkMAC), marks: make(map[tunnel.Encap]uint32), ends: endsOf(&h.Server.Config)}
	if u.own, err = addresses(iface); err != nil {
		return nil, err
	}
	switch {
	case h.Dataplane == EBPF:
		err = u.openFast(h, iface.Index)
	case h.IO == IOXDP:
		err = u.openXDP(iface.Index)
	default:
		err = u.openHub(h, iface.Index)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("uplink %q: %w", iface.Name, err), u.close())
	}
	if u.xdp != nil {
		u.rx, u.tx, u.fds = u.xdp, afpacket.NewFramesSender(u.xdp, h.UplinkMAC, h.GatewayMAC), []int{u.xdp.Fd()}
		return u, nil
	}
	u.stamps = afpacket.NewReceiver(u.sockets...)
	u.rx = u.stamps
	u.tx = afpacket.NewSender(u.sender, h.UplinkMAC, h.GatewayMAC)
	for _, s := range u.sockets {
		u.fds = append(u.fds, s.Fd())
	}
	return u, nil
}

// openHub has the hub see everything that arrives.
func (u *uplink) openHub(h *header, ifindex int) error {
	s, err := afpacket.Listen(ifindex)
	if err != nil {
		return err
	}
	u.sockets, u.sender = []*afpacket.Socket{s}, s
	return u.choose(h.IO, bpf.ServerOptions{Interface: ifindex, Own: u.own, Encaps: encaps(&h.Server.Config)})
}

// choose attaches the programs unless plain I/O is asked for, or they are not
// insisted on and do not work here.
func (u *uplink) choose(io IO, o bpf.ServerOptions) error {
	u.hello = Hello{IO: IOPlain, Features: []string{"AF_PACKET with virtio headers", "GRE, segments and checksums in userspace"}}
	if io == IOPlain {
		return nil
	}
	pusher, err := bpf.AttachServer(o)
	switch {
	case err == nil:
		u.pusher = pusher
		u.hello = Hello{IO: IOVnet, Features: []string{"AF_PACKET with virtio headers", "GRE pushed by mark in tcx egress"}}
	case io == IOVnet:
		return err
	default:
		u.hello.Features = append(u.hello.Features, "no tcx: "+err.Error())
	}
	return nil
}

func addresses(iface *net.Interface) ([]netip.Addr, error) {
	all, err := iface.Addrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of %q: %w", iface.Name, err)
	}
	var own []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	return own, nil
}

// receive fills packets with what arrived and is the hub's to judge: IP to
// this machine's MAC address and none of the kernel's addresses. It returns how
// many packets that is, and how many frames were read.
func (u *uplink) receive(packets *[afpacket.Batch]hub.Packet) (n, frames int, err error) {
	frames, err = u.rx.Receive()
	for i := range frames {
		frame, h := u.rx.Frame(i)
		data, ok := u.ours(frame)
		if !ok {
			u.count.notOurs++
			continue
		}
		off, err := h.Offload(data)
		if err != nil {
			if err == afpacket.ErrSuperpacket {
				u.count.notTCP++
			} else {
				u.count.badChecksum++
			}
			continue
		}
		off = u.ends.complete(data, off)
		u.count.packets++
		if off.Segment != 0 {
			u.count.superpackets++
		}
		packets[n] = hub.Packet{Data: data, Offload: off, Internal: true}
		n++
	}
	return n, frames, err
}

// ours returns the packet in a frame that the hub should see, without padding.
func (u *uplink) ours(frame []byte) (packet []byte, ok bool) {
	packet, ok = afpacket.Packet(frame)
	if !ok || [6]byte(frame) != u.mac {
		return nil, false
	}
	var to netip.Addr
	var total, least int
	if packet[0]>>4 == 6 {
		to, least = netip.AddrFrom16([16]byte(packet[24:40])), pkt.IPv6Header
		total = pkt.IPv6Header + int(binary.BigEndian.Uint16(packet[4:]))
	} else {
		to, least = netip.AddrFrom4([4]byte(packet[16:20])), pkt.IPv4Header
		total = int(binary.BigEndian.Uint16(packet[2:]))
	}
	if slices.Contains(u.own, to) {
		return nil, false
	}
	if total >= least && total < len(packet) {
		packet = packet[:total]
	}
	return packet, true
}

// send queues a packet of the hub's.
func (u *uplink) send(s *hub.Send) {
	if s.Encap.IsZero() && u.pusher != nil {
		u.tx.Whole(s.Data, s.Offload, 0)
		return
	}
	if mark := u.mark(&s.Encap); mark != 0 {
		u.tx.Whole(s.Data, s.Offload, mark)
		return
	}
	u.tx.Finish(s.Data, s.Offload, &s.Encap)
}

// encaps is how many outer headers a server can need: one for each on-ramp, and for
// what it hands to each server one for each on-ramp, number of hops (of which there
// are 3) and whether it is kept there. As many on-ramps and servers may come later.
func encaps(c *hub.Config) uint32 {
	const handovers = 3 * 2
	ramps, servers := 2*len(c.OnRamps)+16, 2*len(c.Servers)
	return uint32(min(ramps*(1+handovers*servers), bpf.MaxMark))
}

// mark is the number that makes the kernel push e; 0 means that it cannot, and
// userspace has to: no programs here, an outer header they do not know, or all
// marks in use.
func (u *uplink) mark(e *tunnel.Encap) uint32 {
	if u.pusher == nil || e.IsZero() || e.Proto != tunnel.ViaGRE {
		return 0
	}
	if m, ok := u.marks[*e]; ok {
		return m
	}
	m := uint32(len(u.marks) + 1)
	if m > u.pusher.Marks() || u.pusher.SetEncap(m, *e) != nil {
		return 0
	}
	u.marks[*e] = m
	return m
}

// counters are the totals that are not zero, by name.
func (u *uplink) counters() map[string]uint64 {
	for _, s := range u.sockets {
		if n, err := s.Overflows(); err == nil {
			u.count.overflow += n
		}
	}
	sent := u.tx.Sent()
	all := map[string]uint64{
		"rx_packets": u.count.packets, "rx_superpackets": u.count.superpackets, "rx_not_ours": u.count.notOurs,
		"rx_superpacket_not_tcp": u.count.notTCP, "rx_checksum_place": u.count.badChecksum,
		"rx_overflow": u.count.overflow,
		"tx_packets":  sent.Packets, "tx_superpackets": sent.Superpackets, "tx_unsendable": sent.Unsendable,
	}
	for errno, n := range sent.Refused {
		name := unix.ErrnoName(errno)
		if name == "" {
			name = strconv.Itoa(int(errno))
		}
		all["tx_refused_"+name] += n
	}
	if r, ok := u.rx.(*afpacket.Receiver); ok {
		all["rx_truncated"] = r.Truncated
	}
	if u.xdp != nil {
		u.xdp.addTo(all)
	}
	if u.pusher != nil {
		if c, err := u.pusher.Counters(); err == nil {
			for name, n := range c.Map() {
				all["tcx_"+name] = n
			}
		}
	}
	if u.fast != nil {
		u.fast.addTo(all)
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

func (u *uplink) close() error {
	var errs []error
	if u.pusher != nil {
		errs = append(errs, u.pusher.Close())
	}
	if u.fast != nil {
		errs = append(errs, u.fast.Close())
	}
	if u.xdp != nil {
		errs = append(errs, u.xdp.close())
	}
	for _, s := range u.sockets {
		errs = append(errs, s.Close())
	}
	if u.sender != nil {
		errs = append(errs, u.sender.Close())
	}
	return errors.Join(errs...)
}
