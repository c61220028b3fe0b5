package agent

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

const socketName = "@homeward"

var deviceAddr = netip.MustParseAddr("100.96.0.1")

// insider is a lab whose server also knows a device, and lets programs connect.
func insider(t *testing.T) *lab {
	t.Helper()
	l := raise(t, "hub", nil, IOPlain, branch.IOPlain)
	if _, err := l.agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &l.plan.Servers[0]
	s.Config.OnRamps = append(s.Config.OnRamps, hub.OnRamp{
		ID: 2, Name: "laptop.1", Tenant: 1, VNet: 1, Scope: 2, Kind: tunnel.Device,
		Local: anycast, Client: deviceAddr, Registration: hub.Registration{7}, ARR: true, MTU: tunnel.UDPMTU,
	})
	s.Config.Trace = true
	o := l.options(t, IOPlain)
	o.Socket = socketName
	a, err := Start(l.spawn("hub"), *s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(t.Context()) })
	l.agent = a
	return l
}

// program connects to the hub from inside the server.
func (l *lab) program(t *testing.T, node string) (c *net.UnixConn, err error) {
	t.Helper()
	err = l.NS(node).Do(func() (err error) {
		c, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socketName, Net: "unixpacket"})
		return err
	})
	if err == nil {
		t.Cleanup(func() { c.Close() })
		err = c.SetDeadline(time.Now().Add(5 * time.Second))
	}
	return c, err
}

// contextOf is the first datagram of the device with that registration.
func contextOf(t *testing.T, registration byte) []byte {
	t.Helper()
	c := tunnel.Context{Kind: tunnel.Device, Tenant: 1, Registration: [16]byte{registration}}
	b, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// awaitKind reads events until one of the kind comes.
func (l *lab) awaitKind(t *testing.T, kind hub.EventKind) Event {
	t.Helper()
	for {
		select {
		case e := <-l.events:
			if e.Kind == kind {
				return e
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no event of kind %d within 5s", kind)
		}
	}
}

// OX-1: the first datagram is the context, every later one a bare IP packet;
// garbage first closes only that tunnel.
func TestOX1SeqpacketLive(t *testing.T) {
	need.Root(t)
	l := insider(t)
	good, err := l.program(t, "server")
	if err != nil {
		t.Fatal(err)
	}
	first := contextOf(t, 7)
	write(t, good, first)
	if e := l.awaitKind(t, hub.Attached); e.OnRamp != 2 || e.Node != "server" {
		t.Errorf("attached %+v, want on-ramp 2 at server", e)
	}
	ping := hubtest.IP{Src: netip.AddrPortFrom(deviceAddr, 77), Dst: netip.AddrPortFrom(originAddr, 0), Payload: []byte("are you there?")}
	pong := func() {
		t.Helper()
		write(t, good, ping.Ping())
		b := make([]byte, 1<<16)
		n, err := good.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var m pkt.Meta
		m.Parse(b[:n])
		if m.Kind != pkt.EchoReply || m.Src != originAddr || m.Dst != deviceAddr || m.DstPort != 77 || m.Len != n || string(b[m.Payload:n]) != "are you there?" {
			t.Errorf("got %v from %v to %v id %d, %d bytes; want the reply to the ping", m.Kind, m.Src, m.Dst, m.DstPort, n)
		}
	}
	pong()

	packet := ping.Ping()
	stranger := contextOf(t, 8)
	for name, junk := range map[string][]byte{"empty": {}, "truncated": first[:10], "garbage": []byte("GET / HTTP/1.0"), "a packet": packet, "an unknown registration": stranger} {
		bad, err := l.program(t, "server")
		if err != nil {
			t.Fatal(err)
		}
		write(t, bad, junk)
		if _, err := bad.Read(make([]byte, 100)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s first: %v, want the connection closed", name, err)
		}
	}
	pong() // the good one stands
	good.Close()
	if e := l.awaitKind(t, hub.Detached); e.OnRamp != 2 {
		t.Errorf("detached %+v, want on-ramp 2", e)
	}
	f, err := l.agent.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.IO["port_opened"] != 6 || f.Drops["bad_context"] != 5 {
		t.Errorf("opened %d ports and dropped %v; want 6, and 5 contexts", f.IO["port_opened"], f.Drops)
	}
}

// The socket is seen inside the server alone.
func TestSocketIsTheServersOwn(t *testing.T) {
	need.Root(t)
	l := insider(t)
	if _, err := l.program(t, "edge"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connect from the edge: %v, want ECONNREFUSED", err)
	}
}

// What a server learns of another's devices it acts on.
func TestLearn(t *testing.T) {
	need.Root(t)
	l := insider(t)
	c, err := l.program(t, "server")
	if err != nil {
		t.Fatal(err)
	}
	first := contextOf(t, 7)
	write(t, c, first)
	e := l.awaitKind(t, hub.Attached)
	if err := l.agent.Learn([]hub.Attachment{{OnRamp: 2, Server: 9, VNet: 1, Since: e.At + 1}}); err != nil {
		t.Fatal(err)
	}
	// It is attached elsewhere now: this tunnel is of the past.
	if _, err := c.Read(make([]byte, 100)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the tunnel: %v, want it closed", err)
	}
}
