package connected

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/connected"
	"github.com/homeward-lab/homeward/dataplane/connector"
	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/udp"
	"github.com/homeward-lab/homeward/emu/wire"
)

// pump is a tunnel in userspace: it moves packets between the tunnel's peer and
// the socket, as its client allows.
type pump struct {
	client *connected.Client
	nat    *connector.NAT // nil: sources stay
	// name is the tunnel's interface, mtu what it was made for, fit what its way
	// leaves of that, looked up again at look.
	name           string
	mtu, fit, head int
	least          int // what the interface must have
	look           vt.Instant
	inside         *afpacket.Socket
	rx             *afpacket.Receiver
	tx             *afpacket.Sender
	// sockets are UDP, one for each of the client's beginnings, open from the
	// start so that no port is used twice; -1 when the tunnel has moved on.
	sockets []int
	losses  []uint64 // of each socket, as far as they are counted
	buffers [][]byte
	cutter  afpacket.Cutter
	waiting queue
	meta    pkt.Meta

	birth  time.Time // instant 0
	begins atomic.Int64
	began  bool
	// answered is closed at a server's first answer, which said then holds.
	answered chan struct{}
	said     atomic.Uint32
	count    [counters]atomic.Uint64
	natDrops [drop.Count]atomic.Uint64
	// mu keeps counters from asking sockets that are being closed.
	mu sync.Mutex
}

// What a pump counts.
const (
	sent = iota
	received
	contexts
	answers
	clamped
	waited
	dropWaiting
	dropRefused
	dropNotIP
	dropOffload
	dropJunk
	dropUnsent
	dropUndelivered
	dropOverflow
	dropNotECT
	counters
)

var countNames = [counters]string{
	"sent", "received", "contexts", "answers", "clamped", "waited", "drop_waiting", "drop_refused",
	"drop_not_ip", "drop_offload", "drop_junk", "drop_unsent", "drop_undelivered", "drop_overflow", "drop_not_ect",
}

func (p *pump) now() vt.Instant { return vt.Instant(time.Since(p.birth)) }

// Descriptors implements loop.Worker.
func (p *pump) Descriptors(fds []int) []int {
	return append(fds, p.inside.Fd(), p.sockets[p.client.Current()])
}

// Turn implements loop.Worker.
func (p *pump) Turn() error {
	if at := vt.Instant(p.begins.Load()); at != vt.Never && !p.began {
		p.began = true
		p.client.Begin(at)
	}
	p.timers()
	return errors.Join(p.out(), p.in())
}

// timers does what is due.
func (p *pump) timers() {
	now, was := p.now(), p.client.Current()
	if datagram := p.client.HandleTimer(now); datagram != nil {
		for ; was < p.client.Current(); was++ {
			p.leave(was)
		}
		p.count[contexts].Add(1)
		_ = p.write(datagram) // counted, and said again
	}
	if p.nat != nil {
		p.nat.HandleTimer(now)
	}
	if p.look <= now {
		p.measure()
	}
}

// leave closes a socket that the tunnel has moved on from.
func (p *pump) leave(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.overflow(i)
	unix.Close(p.sockets[i]) // cannot fail in a way that matters: it is UDP
	p.sockets[i] = -1
}

// Patience implements loop.Worker.
func (p *pump) Patience() time.Duration {
	wake := min(p.client.NextWake(), p.look)
	if p.nat != nil {
		wake = min(wake, p.nat.NextWake())
	}
	if wake == vt.Never {
		return -1
	}
	return max(wake.Sub(p.now()), 0)
}

// out takes a batch of what the kernel routed into the tunnel.
func (p *pump) out() error {
	n, err := p.rx.Receive()
	now := p.now()
	for i := range n {
		frame, h := p.rx.Frame(i)
		if !afpacket.IsIP(frame) {
			p.count[dropNotIP].Add(1)
			continue
		}
		packet := frame[afpacket.EthernetHeader:]
		off, err := h.Offload(packet)
		if err != nil {
			p.count[dropOffload].Add(1)
			continue
		}
		p.clamp(packet, off)
		if p.nat != nil && !p.translated(p.nat.FromNetwork(now, packet, off)) {
			continue
		}
		if !p.cutter.Reset(packet, off) {
			p.count[dropOffload].Add(1)
			continue
		}
		for single := p.cutter.Next(); single != nil; single = p.cutter.Next() {
			p.send(single)
		}
	}
	return err
}

// send sends a packet, or lets it wait for the server's answer.
func (p *pump) send(packet []byte) {
	switch p.client.State() {
	case connected.Accepted:
		p.count[sent].Add(1)
		if p.write(packet) == unix.EMSGSIZE {
			p.refuse(packet)
		}
	case connected.Refused:
		p.count[dropRefused].Add(1)
	default:
		if !p.waiting.put(packet) {
			p.count[dropWaiting].Add(1)
			return
		}
		p.count[waited].Add(1)
	}
}

// write puts a datagram into the current socket. The error says that it was not sent.
func (p *pump) write(datagram []byte) error {
	narrower, err := udp.Send(p.sockets[p.client.Current()], datagram, tunnel.ECNOf(datagram))
	if err != nil {
		p.count[dropUnsent].Add(1)
	}
	if narrower {
		p.measure()
	}
	return err
}

// refuse tells the sender of a packet that the way does not pass it (RFC 1191): who sends
// through the tunnel's interface, and sees that it takes less now, does not know that what
// is under way is lost.
func (p *pump) refuse(packet []byte) {
	p.meta.Parse(packet)
	if !p.meta.DF || !p.meta.Blameable() {
		return
	}
	told := p.meta.AppendTooBig(nil, packet, p.fit, 0)
	if p.nat != nil && !p.translated(p.nat.FromTunnel(p.now(), told, pkt.Offload{})) {
		return
	}
	p.tx.Whole(told, pkt.Offload{}, 0)
	p.tx.Flush()
}

// again is how often it is looked up whether a narrow way has become wider.
const again = time.Second

// measure gives the tunnel's interface what the way of its datagrams leaves, as
// the kernel has heard of it, so that who sends through it is told (RFC 1191).
func (p *pump) measure() {
	p.look = p.now().Add(again)
	fd := p.sockets[p.client.Current()]
	path, err := udp.PathMTU(fd)
	if err != nil {
		return // it is not connected any more
	}
	fit := max(min(p.mtu, path-p.head), p.least)
	if fit == p.fit || wire.LendMTU(fd, p.name, p.fit, fit) != nil {
		return
	}
	p.fit = fit
	if fit == p.mtu {
		p.look = vt.Never
	}
}

// in takes a batch of what a server sent.
func (p *pump) in() error {
	now := p.now()
	for _, b := range p.buffers {
		n, ecn, ok, err := udp.Receive(p.sockets[p.client.Current()], b)
		if err == unix.EMSGSIZE {
			// At once, as a tunnel of the kernel's would know: who learned of it by the
			// next packet that is too big would have lost that one.
			p.measure()
			continue
		}
		if err != nil {
			return fmt.Errorf("from the server: %w", err)
		}
		if !ok {
			break
		}
		p.take(now, b[:n], ecn)
	}
	p.tx.Flush()
	p.count[dropUndelivered].Store(p.tx.Sent().Lost())
	return nil
}

// take handles one datagram; ecn is what its header said of congestion.
func (p *pump) take(now vt.Instant, datagram []byte, ecn pkt.ECN) {
	was := p.client.State()
	switch v := p.client.Receive(now, datagram); {
	case v == connected.Junk:
		p.count[dropJunk].Add(1)
	case v == connected.Answer:
		p.count[answers].Add(1)
		p.settle(was)
	case !tunnel.Unwrapped(ecn, datagram):
		p.count[dropNotECT].Add(1)
	case p.nat != nil && !p.translated(p.nat.FromTunnel(now, datagram, pkt.Offload{})):
	default:
		p.clamp(datagram, pkt.Offload{})
		p.tx.Whole(datagram, pkt.Offload{}, 0)
		p.count[received].Add(1)
	}
}

// settle follows the client into another state.
func (p *pump) settle(was connected.State) {
	is := p.client.State()
	if is == was {
		return
	}
	switch is {
	case connected.Accepted:
		p.waiting.drain(p.send)
	case connected.Refused:
		p.waiting.drain(p.send) // which counts them
	default:
		return
	}
	if p.said.CompareAndSwap(uint32(connected.Asking), uint32(is)) {
		close(p.answered)
	}
}

// translated counts why a packet was not.
func (p *pump) translated(reason drop.Reason) bool {
	if reason == drop.None {
		return true
	}
	p.natDrops[reason].Add(1)
	return false
}

// clamp lowers the MSS of SYNs to what the tunnel leaves (SEMANTICS 2.10).
func (p *pump) clamp(packet []byte, off pkt.Offload) {
	p.meta.Parse(packet)
	mss := tunnel.MSS(p.fit)
	if p.meta.Version == 6 {
		mss = tunnel.MSS6(p.fit)
	}
	if p.meta.ClampMSS(packet, mss, off) {
		p.count[clamped].Add(1)
	}
}

// overflows asks the sockets what they lost.
func (p *pump) overflows() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inside == nil {
		return
	}
	if n, err := p.inside.Overflows(); err == nil {
		p.count[dropOverflow].Add(n)
	}
	for i := range p.sockets {
		p.overflow(i)
	}
}

// overflow counts what one UDP socket lost since it was last asked.
func (p *pump) overflow(i int) {
	if p.sockets[i] < 0 {
		return
	}
	if n, err := udp.Lost(p.sockets[i]); err == nil {
		p.count[dropOverflow].Add(n - p.losses[i])
		p.losses[i] = n
	}
}

// counters are the pump's totals.
func (p *pump) totals() map[string]uint64 {
	p.overflows()
	all := make(map[string]uint64)
	for i := range p.count {
		if n := p.count[i].Load(); n != 0 {
			all[countNames[i]] = n
		}
	}
	for _, r := range drop.Reasons() {
		if n := p.natDrops[r].Load(); n != 0 {
			all["drop_nat_"+r.String()] = n
		}
	}
	return all
}
