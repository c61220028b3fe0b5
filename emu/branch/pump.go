package branch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

// pump is one tunnel in userspace: one goroutine on a thread of its own that
// moves packets between the tunnel's peer and the WAN.
type pump struct {
	link   bpf.BranchOptions
	encap  tunnel.Encap
	mtu    atomic.Int32
	inside side // the tunnel's peer
	wan    side
	// sink is a raw socket that makes GRE a known protocol: without one the
	// kernel, which sees the packets too, answers "protocol unreachable".
	sink  int
	bell  int
	count [counts]atomic.Uint64
	// mu keeps counters from asking sockets that release is closing.
	mu     sync.Mutex
	done   chan struct{}
	err    error // set before done is closed
	finish func() error
}

// side is a link of the pump.
type side struct {
	socket *afpacket.Socket
	rx     *afpacket.Receiver
	tx     *afpacket.Sender
}

// What a pump counts.
const (
	encapsulated = iota
	decapsulated
	clamped
	dropNotIP
	dropOffload
	dropRefused
	dropOverflow
	dropNotECT
	counts
)

var countNames = [counts]string{
	"encapsulated", "decapsulated", "clamped", "drop_not_ip", "drop_offload", "drop_refused", "drop_overflow", "drop_not_ect",
}

// startPump opens the sockets in the calling thread's namespace.
func startPump(l bpf.BranchOptions, e tunnel.Encap) (*pump, error) {
	if !l.Local.Is4() || !l.Remote.Is4() {
		return nil, fmt.Errorf("%w: %v > %v", bpf.ErrFamily, l.Local, l.Remote)
	}
	p := &pump{link: l, encap: e, sink: -1, bell: -1, done: make(chan struct{})}
	p.mtu.Store(int32(l.MTU))
	p.finish = sync.OnceValue(p.stop)
	if err := p.open(); err != nil {
		return nil, errors.Join(err, p.release())
	}
	go p.run()
	return p, nil
}

func (p *pump) open() (err error) {
	if p.sink, err = greSink(); err != nil {
		return err
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if p.wan.socket, err = afpacket.Listen(p.link.WAN); err != nil {
		return err
	}
	if p.inside.socket, err = afpacket.Listen(p.link.TunnelPeer); err != nil {
		return err
	}
	p.wan.rx, p.inside.rx = afpacket.NewReceiver(p.wan.socket), afpacket.NewReceiver(p.inside.socket)
	p.wan.tx = afpacket.NewSender(p.wan.socket, p.link.WANMAC, p.link.GatewayMAC)
	p.inside.tx = afpacket.NewSender(p.inside.socket, p.link.TunnelPeerMAC, p.link.TunnelMAC)
	return nil
}

// greSink opens a raw GRE socket that accepts nothing into its queue.
func greSink() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
	if err != nil {
		return -1, fmt.Errorf("raw GRE socket: %w", err)
	}
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none}); err != nil {
		return -1, errors.Join(fmt.Errorf("raw GRE socket: filter: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// run moves packets until the bell rings or a socket fails.
func (p *pump) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	fds := []unix.PollFd{
		{Fd: int32(p.bell), Events: unix.POLLIN},
		{Fd: int32(p.wan.socket.Fd()), Events: unix.POLLIN},
		{Fd: int32(p.inside.socket.Fd()), Events: unix.POLLIN},
	}
	for p.err == nil {
		if p.err = afpacket.Wait(fds, time.Duration(-1)); p.err != nil || fds[0].Revents != 0 {
			return
		}
		p.err = errors.Join(p.turn(&p.inside, &p.wan, p.out), p.turn(&p.wan, &p.inside, p.in))
	}
}

// turn moves one batch from one side to the other.
func (p *pump) turn(from, to *side, move func(packet []byte, h afpacket.Header)) error {
	n, err := from.rx.Receive()
	for i := range n {
		frame, h := from.rx.Frame(i)
		if packet, ok := afpacket.Packet(frame); ok {
			move(packet, h)
		} else if from == &p.inside {
			p.count[dropNotIP].Add(1)
		}
	}
	to.tx.Flush()
	refused := p.inside.tx.Sent().Lost() + p.wan.tx.Sent().Lost()
	p.count[dropRefused].Store(refused)
	return err
}

// out wraps what the kernel routed into the tunnel.
func (p *pump) out(packet []byte, h afpacket.Header) {
	off, err := h.Offload(packet)
	if err != nil {
		p.count[dropOffload].Add(1)
		return
	}
	p.clamp(packet, off)
	p.wan.tx.Finish(packet, off, &p.encap)
	p.count[encapsulated].Add(1)
}

// in unwraps what is ours of what arrives on the WAN. The rest is the kernel's.
func (p *pump) in(packet []byte, h afpacket.Header) {
	at, ok := p.ours(packet)
	if !ok {
		return
	}
	off, err := h.Offload(packet)
	if err != nil {
		p.count[dropOffload].Add(1)
		return
	}
	inner := packet[at:]
	if !tunnel.Unwrapped(pkt.ECNOf(packet), inner) {
		p.count[dropNotECT].Add(1)
		return
	}
	p.clamp(inner, off)
	p.inside.tx.Whole(inner, off, 0)
	p.count[decapsulated].Add(1)
}

// ours says where the inner packet starts if this is a packet of the tunnel:
// its addresses, its key or none, no checksum, IPv4 or IPv6 inside.
func (p *pump) ours(packet []byte) (at int, ok bool) {
	local, remote := p.link.Local.As4(), p.link.Remote.As4()
	fragment := binary.BigEndian.Uint16(packet[6:])&0x3fff != 0
	if packet[0] != 0x45 || packet[9] != pkt.ProtoGRE || fragment ||
		!bytes.Equal(packet[12:16], remote[:]) || !bytes.Equal(packet[16:20], local[:]) {
		return 0, false
	}
	gre, reason := tunnel.ParseGRE(packet[pkt.IPv4Header:], false)
	if reason != drop.None || (gre.Protocol != tunnel.EtherTypeIPv4 && gre.Protocol != tunnel.EtherTypeIPv6) {
		return 0, false
	}
	at = p.encap.Overhead()
	if gre.HasKey != p.encap.HasKey || gre.Key != p.encap.Key || pkt.IPv4Header+gre.Len != at {
		return 0, false
	}
	return at, true
}

// clamp lowers the MSS of SYNs to what the tunnel leaves.
func (p *pump) clamp(packet []byte, off pkt.Offload) {
	var m pkt.Meta
	m.Parse(packet)
	mss := tunnel.MSS(int(p.mtu.Load()))
	if m.Version == 6 {
		mss = tunnel.MSS6(int(p.mtu.Load()))
	}
	if m.ClampMSS(packet, mss, off) {
		p.count[clamped].Add(1)
	}
}

// setMTU changes what first packets of TCP are clamped to.
func (p *pump) setMTU(mtu int) error {
	p.mtu.Store(int32(mtu))
	return nil
}

// counters are the pump's totals.
func (p *pump) counters() (map[string]uint64, error) {
	if err := p.overflows(); err != nil {
		return nil, err
	}
	all := make(map[string]uint64)
	for i := range p.count {
		if n := p.count[i].Load(); n != 0 {
			all[countNames[i]] = n
		}
	}
	return all, nil
}

// overflows adds what the sockets' queues lost since it was last asked.
func (p *pump) overflows() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*side{&p.inside, &p.wan} {
		if s.socket == nil {
			continue
		}
		n, err := s.socket.Overflows()
		if err != nil {
			return err
		}
		p.count[dropOverflow].Add(n)
	}
	return nil
}

// Close stops the pump and returns the error that ended it, if one did. It is
// idempotent.
func (p *pump) Close() error { return p.finish() }

func (p *pump) stop() error {
	_, err := unix.Write(p.bell, binary.NativeEndian.AppendUint64(nil, 1))
	if err != nil {
		return fmt.Errorf("stop tunnel: %w", err)
	}
	<-p.done
	return errors.Join(p.err, p.overflows(), p.release())
}

// release closes what is open.
func (p *pump) release() error {
	var errs []error
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*side{&p.inside, &p.wan} {
		if s.socket != nil {
			errs = append(errs, s.socket.Close())
			s.socket = nil
		}
	}
	for _, fd := range []int{p.sink, p.bell} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
