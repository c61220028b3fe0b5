package afxdp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/linktest"
	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 0xa}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	own  = netip.MustParseAddr("192.0.2.1")
)

// link is a veth whose end b has the socket; a is its other end, by packet
// sockets.
type link struct {
	socket *Socket
	tx     *afpacket.Sender
	rx     *afpacket.Receiver
}

func newLink(t *testing.T) *link {
	t.Helper()
	need.BPF(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	l := new(link)
	if err := ns.Do(func() error { return l.wire(t) }); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *link) wire(t *testing.T) error {
	a, b, err := linktest.Pair(1600, linktest.End{Name: "a", MAC: macA}, linktest.End{Name: "b", MAC: macB})
	if err != nil {
		return err
	}
	if l.socket, err = Open(b); err != nil {
		return err
	}
	t.Cleanup(func() { l.socket.Close() })
	program, err := bpf.AttachSocket(bpf.SocketOptions{Interface: b, Own: []netip.Addr{own}, Socket: l.socket.Fd()})
	if err != nil {
		return err
	}
	t.Cleanup(func() { program.Close() })
	other, err := afpacket.Listen(a)
	if err != nil {
		return err
	}
	t.Cleanup(func() { other.Close() })
	l.rx, l.tx = afpacket.NewReceiver(other), afpacket.NewSender(other, macA, macB)
	return nil
}

func packet(to netip.Addr, n, size int) []byte {
	payload := make([]byte, size)
	binary.BigEndian.PutUint32(payload, uint32(n))
	return hubtest.IP{Src: netip.MustParseAddrPort("203.0.113.9:7"), Dst: netip.AddrPortFrom(to, 9), Payload: payload}.UDP()
}

// until waits for what a link brings.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing more after 5 s")
		}
	}
}

// Every packet but the machine's own comes in as it was, in order, for several
// times as many as the rings hold.
func TestReceives(t *testing.T) {
	l := newLink(t)
	to := netip.MustParseAddr("198.51.100.1")
	const rounds, each = 3 * ringSize / 32, 32
	for round := range rounds {
		sent := make([][]byte, each)
		for i := range sent {
			sent[i] = packet(to, round*each+i, 4+37*i)
			l.tx.Finish(sent[i], pkt.Offload{}, nil)
		}
		l.tx.Finish(packet(own, 0, 8), pkt.Offload{}, nil)
		l.tx.Flush()
		next := 0
		until(t, func() bool {
			for i := range l.socket.Receive() {
				if got := l.socket.Frame(i)[afpacket.EthernetHeader:]; next == each || !bytes.Equal(got, sent[next]) {
					t.Fatalf("round %d, packet %d: got %x", round, next, got)
				}
				next++
			}
			return next == each
		})
	}
	if n, err := l.socket.Dropped(); n != 0 || err != nil {
		t.Errorf("Dropped = %d, %v, want 0", n, err)
	}
}

// What is put goes out whole and in order, and its memory is used again.
func TestSends(t *testing.T) {
	l := newLink(t)
	to := netip.MustParseAddr("198.51.100.1")
	const rounds, each = 3 * ringSize / 64, 64
	head := append(append(bytes.Clone(macA), macB...), 8, 0)
	for round := range rounds {
		sent := make([][]byte, each)
		for i := range sent {
			sent[i] = packet(to, round*each+i, 4+20*i)
			l.socket.Put(head, sent[i])
		}
		l.socket.Flush()
		next := 0
		until(t, func() bool {
			n, err := l.rx.Receive()
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				frame, _ := l.rx.Frame(i)
				if !bytes.Equal(frame[:len(head)], head) || !bytes.Equal(frame[len(head):], sent[next]) {
					t.Fatalf("round %d, packet %d: got %x", round, next, frame)
				}
				next++
			}
			return next == each
		})
	}
	l.socket.Put(head, make([]byte, chunk))
	if l.socket.Sent != rounds*each || l.socket.Unsent != 1 {
		t.Errorf("sent %d and not %d, want %d and the one that is too long", l.socket.Sent, l.socket.Unsent, rounds*each)
	}
}

// A burst that nobody takes is bounded, and counted.
func TestOverflow(t *testing.T) {
	l := newLink(t)
	const burst = 2 * ringSize
	p := packet(netip.MustParseAddr("198.51.100.1"), 1, 18)
	for range burst {
		l.tx.Finish(p, pkt.Offload{}, nil)
	}
	l.tx.Flush()
	until(t, func() bool {
		n, err := l.socket.Dropped()
		if err != nil {
			t.Fatal(err)
		}
		return n >= burst-ringSize
	})
	got := 0
	for n := l.socket.Receive(); n > 0; n = l.socket.Receive() {
		got += n
	}
	if n, err := l.socket.Dropped(); err != nil || int(n)+got != burst {
		t.Errorf("%d came and %d were dropped (%v), want %d in all", got, n, err, burst)
	}
}
