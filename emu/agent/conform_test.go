package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/conform"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

var (
	serverMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	edgeMAC   = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// wired is a hub behind an uplink: what is put on the link, the hub gets, and what
// it sends comes out on the link.
type wired struct {
	*conform.Hub
	uplink  *uplink
	edge    *afpacket.Sender
	back    *afpacket.Receiver
	wait    []unix.PollFd
	packets [afpacket.Batch]hub.Packet
	out     hub.Out
	// queue is what came out and was not asked for yet.
	queue [][]byte
	// carried is how many packets went over the link.
	carried int
}

// wiredMTU is below what XDP takes in one piece.
const wiredMTU = 1900

func newWired(t *testing.T, w *conform.World, io IO) *wired {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	var closers []func() error
	t.Cleanup(func() {
		for _, c := range append(closers, ns.Close) {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	})
	l := new(wired)
	if l.Hub, err = conform.NewHub(w); err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		ends := [...]linktest.End{{Name: "up", MAC: serverMAC}, {Name: "edge", MAC: edgeMAC}}
		_, index, err := linktest.Pair(wiredMTU, ends[0], ends[1])
		if err != nil {
			return err
		}
		h := &header{Server: plan.Server{Interface: "up", Config: w.Config}, IO: io, UplinkMAC: serverMAC, GatewayMAC: edgeMAC}
		if l.uplink, err = openUplink(h); err != nil {
			return err
		}
		closers = append(closers, l.uplink.close)
		edge, err := afpacket.Listen(index)
		if err != nil {
			return err
		}
		closers = append(closers, edge.Close)
		l.edge, l.back = afpacket.NewSender(edge, edgeMAC, serverMAC), afpacket.NewReceiver(edge)
		for _, fd := range append([]int{edge.Fd()}, l.uplink.fds...) {
			l.wait = append(l.wait, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// trimmed is the packet without what is behind the length that it says, as links
// pad short ones.
func trimmed(p []byte) []byte {
	switch {
	case len(p) >= pkt.IPv6Header && p[0]>>4 == 6:
		return p[:min(len(p), pkt.IPv6Header+int(binary.BigEndian.Uint16(p[4:])))]
	case len(p) >= pkt.IPv4Header && p[0]>>4 != 6:
		if n := int(binary.BigEndian.Uint16(p[2:])); n >= pkt.IPv4Header {
			return p[:min(len(p), n)]
		}
	}
	return p
}

// trimmer is the law for packets that came over a link.
type trimmer struct{ *conform.Hub }

func (l trimmer) Handle(now vt.Instant, p []byte, off pkt.Offload) (conform.Result, error) {
	return l.Hub.Handle(now, trimmed(p), off)
}

// linked reports whether a link carries a packet to the hub: it is neither too short
// or long for a frame, nor the kernel's because it is for a group.
func linked(p []byte) bool {
	least := pkt.IPv4Header
	if len(p) > 0 && p[0]>>4 == 6 {
		least = pkt.IPv6Header
	}
	return len(p) >= least && len(p) <= wiredMTU && (p[0]>>4 != 6 || p[24] != 0xff)
}

// Handle is that of conform.Server.
func (l *wired) Handle(now vt.Instant, p []byte, off pkt.Offload) (conform.Result, error) {
	if !linked(p) {
		return l.Hub.Handle(now, trimmed(p), off)
	}
	l.carried++
	l.edge.Whole(bytes.Clone(p), off, 0)
	l.edge.Flush()
	n, err := l.take()
	if err != nil {
		return conform.Result{}, err
	}
	if n != 1 || !bytes.Equal(l.packets[0].Data, trimmed(p)) {
		return conform.Result{}, fmt.Errorf("the hub got %d packets, the first\n%x", n, l.packets[0].Data)
	}
	before := conform.CountOf(l.Counters())
	l.out.Reset()
	l.HandleBatch(now, l.packets[:n], &l.out)
	for i := range l.out.Send {
		l.uplink.send(&l.out.Send[i])
	}
	l.uplink.tx.Flush()
	r := conform.Result{Count: conform.CountOf(l.Counters()).Minus(before), Events: l.out.Events}
	for range l.out.Send {
		data, err := l.next()
		if err != nil {
			return r, err
		}
		r.Sent = append(r.Sent, conform.Sent{Data: data})
	}
	return r, nil
}

var errNothing = errors.New("nothing came within 2 s")

// take waits for what the hub gets.
func (l *wired) take() (int, error) {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		n, _, err := l.uplink.receive(&l.packets)
		if err != nil || n > 0 {
			return n, err
		}
		if err := afpacket.Wait(l.wait, time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errNothing
}

// next waits for what comes out on the link.
func (l *wired) next() ([]byte, error) {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		frame, ok, err := l.frame()
		if err != nil || ok {
			return frame, err
		}
		if err := afpacket.Wait(l.wait, time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, errNothing
}

// frame is one packet that came out, complete; not the kernel's own, to a group.
func (l *wired) frame() ([]byte, bool, error) {
	n, err := l.back.Receive()
	var found [][]byte
	for i := range n {
		frame, h := l.back.Frame(i)
		if len(frame) < afpacket.EthernetHeader || !bytes.Equal(frame[:6], edgeMAC) {
			continue
		}
		data := bytes.Clone(frame[afpacket.EthernetHeader:])
		if off, err := h.Offload(data); err != nil || off != (pkt.Offload{}) {
			return nil, false, fmt.Errorf("came out with %+v left to do (%v)", off, err)
		}
		found = append(found, data)
	}
	l.queue = append(l.queue, found...)
	if err != nil || len(l.queue) == 0 {
		return nil, false, err
	}
	data := l.queue[0]
	l.queue = l.queue[1:]
	return data, true, nil
}

// A hub behind a link does what the hub does, however its frames move: the link
// loses, adds and changes nothing.
func TestConformsOverTheLink(t *testing.T) {
	need.BPF(t)
	const packets = 20000
	for i, io := range []IO{IOXDP, IOPlain} {
		t.Run(string(io), func(t *testing.T) {
			seed := uint64(30 + i)
			w, err := conform.NewWorld(seed, true)
			if err != nil {
				t.Fatal(err)
			}
			law, err := conform.NewHub(w)
			if err != nil {
				t.Fatal(err)
			}
			l := newWired(t, w, io)
			now := vt.Instant(0)
			clock := func() vt.Instant { now = now.Add(50 * time.Microsecond); return now }
			seen, err := conform.Run(rand.New(rand.NewPCG(seed, 1)), packets, w, trimmer{law}, l, clock)
			t.Logf("%d packets, %d of them over the link; the law counted%v", seen.Packets, l.carried, seen.Count)
			if err != nil {
				t.Fatal(err)
			}
			if l.carried < packets*9/10 || seen.Count.Forwarded < uint64(packets/20) || seen.Count.Returned < uint64(packets/20) {
				t.Errorf("only %d of %d packets went over the link, %d forwarded and %d returned", l.carried, packets, seen.Count.Forwarded, seen.Count.Returned)
			}
			for _, name := range conform.Cases() {
				if seen.Cases[name] == 0 {
					t.Errorf("no packet was %q: nothing is known of it", name)
				}
			}
		})
	}
}
