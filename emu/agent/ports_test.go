package agent

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

// socket is a set of ports at a path of the test's own.
func socket(t *testing.T) (*ports, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub")
	p, err := openPorts(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := p.close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return p, path
}

// program connects to a socket, as a program of the server does.
func program(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t *testing.T, c *net.UnixConn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// datagrams reads all that is there.
func (p *ports) datagrams(t *testing.T) (got []hub.Packet, gone []hub.Port) {
	t.Helper()
	for {
		var batch [afpacket.Batch]hub.Packet
		n, closed, err := p.receive(&batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range batch[:n] {
			got = append(got, hub.Packet{Data: bytes.Clone(in.Data), Port: in.Port})
		}
		gone = append(gone, closed...)
		for _, id := range closed {
			p.hangUp(id)
		}
		if n+len(closed) == 0 {
			return got, gone
		}
	}
}

// Datagrams keep their boundaries and their order, an empty one among them, and
// a program that leaves is gone after its last.
func TestPortsDatagrams(t *testing.T) {
	p, path := socket(t)
	a, b := program(t, path), program(t, path)
	p.datagrams(t) // accepts both
	for _, s := range []string{"context", "", "packet"} {
		write(t, a, []byte(s))
	}
	write(t, b, []byte("other"))
	got, gone := p.datagrams(t)
	want := map[hub.Port][]string{1: {"context", "", "packet"}, 2: {"other"}}
	for _, in := range got {
		if len(want[in.Port]) == 0 || want[in.Port][0] != string(in.Data) {
			t.Fatalf("port %d: %q, want %q", in.Port, in.Data, want[in.Port])
		}
		want[in.Port] = want[in.Port][1:]
	}
	if len(got) != 4 || len(gone) != 0 {
		t.Errorf("%d datagrams, gone %v; want 4 and none", len(got), gone)
	}
	write(t, a, []byte("last"))
	a.Close()
	if got, gone := p.datagrams(t); len(got) != 1 || string(got[0].Data) != "last" || len(gone) != 1 || gone[0] != 1 {
		t.Errorf("after the program left: %v, gone %v; want its last datagram, and port 1", got, gone)
	}
	if program(t, path); p.last != 2 {
		t.Errorf("last port %d", p.last)
	}
	if p.datagrams(t); p.last != 3 {
		t.Errorf("the next program has port %d, want 3: numbers are not used again", p.last)
	}
}

// More datagrams than a batch holds come in several.
func TestPortsBatches(t *testing.T) {
	p, path := socket(t)
	a, b := program(t, path), program(t, path)
	p.datagrams(t)
	const each = 100
	go func() {
		for i := range each {
			a.Write([]byte{byte(i)}) // the test sees what does not arrive
			b.Write([]byte{byte(i)})
		}
	}()
	next := map[hub.Port]byte{}
	for deadline := time.Now().Add(5 * time.Second); int(next[1])+int(next[2]) < 2*each; {
		if time.Now().After(deadline) {
			t.Fatalf("got %v datagrams, want %d of each", next, each)
		}
		got, _ := p.datagrams(t)
		for _, in := range got {
			if in.Data[0] != next[in.Port] {
				t.Fatalf("port %d: datagram %d, want %d", in.Port, in.Data[0], next[in.Port])
			}
			next[in.Port]++
		}
	}
}

func TestPortsSend(t *testing.T) {
	p, path := socket(t)
	c := program(t, path)
	p.datagrams(t)
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	syn := tcpSegment(make([]byte, 2500))
	p.send(&hub.Send{Data: syn, Offload: pkt.Offload{Segment: 1000}, Port: 1})
	var sizes []int
	buf := make([]byte, 1<<16)
	for range 3 {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		var m pkt.Meta
		if m.Parse(buf[:n]); m.Kind != pkt.TCP || m.Len != n {
			t.Errorf("datagram of %d bytes is %v of %d, want one TCP segment", n, m.Kind, m.Len)
		}
		sizes = append(sizes, m.PayloadLen)
	}
	if sizes[0] != 1000 || sizes[1] != 1000 || sizes[2] != 500 {
		t.Errorf("segments of %v bytes, want 1000, 1000 and 500", sizes)
	}
	p.send(&hub.Send{Data: []byte{0x45}, Port: 9}) // nobody's
	p.hangUp(1)
	if _, err := c.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("after it was hung up: %v, want the end", err)
	}
	all := map[string]uint64{}
	if p.addTo(all); all["port_sent"] != 3 || all["port_unsent"] != 1 || all["port_opened"] != 1 {
		t.Errorf("counters %v, want 3 sent, 1 unsent, 1 opened", all)
	}
}

// tcpSegment is an IPv4 TCP segment without a checksum.
func tcpSegment(payload []byte) []byte {
	b := make([]byte, 40+len(payload))
	b[0], b[2], b[3], b[8], b[9], b[32] = 0x45, byte(len(b)>>8), byte(len(b)), 64, pkt.ProtoTCP, 5<<4
	return b
}

// A program that does not read loses packets, and holds nobody up.
func TestPortsDoNotWait(t *testing.T) {
	p, path := socket(t)
	program(t, path)
	p.datagrams(t)
	for range 10000 {
		p.send(&hub.Send{Data: make([]byte, 1000), Port: 1})
	}
	if p.count.sent == 0 || p.count.unsent == 0 || p.count.sent+p.count.unsent != 10000 {
		t.Errorf("sent %d, unsent %d; want some of each, 10000 in all", p.count.sent, p.count.unsent)
	}
}

func TestPortsAreBounded(t *testing.T) {
	p, path := socket(t)
	for range maxPorts {
		program(t, path)
		p.datagrams(t)
	}
	late := program(t, path)
	p.datagrams(t)
	if err := late.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the program beyond the bound: %v, want to be sent away", err)
	}
	if p.count.opened != maxPorts || p.count.refused != 1 {
		t.Errorf("opened %d, refused %d; want %d and 1", p.count.opened, p.count.refused, maxPorts)
	}
	p.hangUp(1)
	program(t, path)
	if p.datagrams(t); p.count.opened != maxPorts+1 {
		t.Errorf("opened %d after one left, want %d", p.count.opened, maxPorts+1)
	}
}

// Only this user may connect, and a path that is taken is refused.
func TestSocketIsPrivate(t *testing.T) {
	_, path := socket(t)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode.Perm() != 0o600 || mode.Type() != os.ModeSocket {
		t.Errorf("mode %v, want a socket of 0600", mode)
	}
	if _, err := openPorts(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second server at the path: %v, want EADDRINUSE", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the first server's socket: %v", err)
	}
}
