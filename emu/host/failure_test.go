package host_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/host/hosttest"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// listenAt listens in the origin's namespace.
func listenAt(t *testing.T, w world, port uint16) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	hosttest.Do(t, w.origin.NS, func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(originAddr, port)))
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// mute listens and never answers.
func mute(t *testing.T, w world, port uint16) { listenAt(t, w, port) }

// each accepted connection goes to f.
func accept(t *testing.T, w world, port uint16, f func(*net.TCPConn)) {
	t.Helper()
	l := listenAt(t, w, port)
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
}

// Each way of failing has its own kind.
func TestKindsOfFailure(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "echo", 7, nil)
	mute(t, w, 1001)
	accept(t, w, 1002, func(c *net.TCPConn) { // reset in the middle of the request
		io.ReadFull(c, make([]byte, 10))
		c.SetLinger(0)
		c.Close()
	})
	accept(t, w, 1003, func(c *net.TCPConn) { // a close without an answer
		io.ReadFull(c, make([]byte, 1100))
		c.CloseWrite()
	})
	accept(t, w, 1004, func(c *net.TCPConn) { // an answer that nobody signed
		io.ReadFull(c, make([]byte, 1100))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
	})
	accept(t, w, 1005, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1100))
		io.WriteString(c, "SSH-2.0-whatever\r\n")
	})
	nobody := netip.MustParseAddr("203.0.113.77")
	cases := []struct {
		name   string
		proto  plan.Proto
		port   uint16
		change func(*plan.Flow)
		want   record.Result
		reason string
	}{
		{"nobody listens", plan.TCP, 999, nil, record.Refused, "connection refused"},
		{"no such udp port", plan.UDP, 999, nil, record.Refused, "connection refused"},
		{"no answer", plan.TCP, 1001, nil, record.Lost, "timed out waiting for the answer"},
		{"reset", plan.TCP, 1002, nil, record.Reset, "connection reset"},
		{"closed early", plan.TCP, 1003, nil, record.Failed, "the origin closed before the answer"},
		{"not signed", plan.TCP, 1004, nil, record.Failed, "not signed"},
		{"not http", plan.TCP, 1005, nil, record.Failed, "not HTTP"},
		{"silence", plan.TCP, 443, func(f *plan.Flow) { f.Dst = netip.AddrPortFrom(nobody, 443) }, record.Lost, "timed out waiting for the connection"},
		{"udp silence", plan.UDP, 7, func(f *plan.Flow) { f.Dst = netip.AddrPortFrom(nobody, 7); f.Packets = 3 }, record.Lost, "3 of 3 packets were not answered"},
		{"ping silence", plan.ICMP, 0, func(f *plan.Flow) { f.Dst = netip.AddrPortFrom(nobody, 0) }, record.Lost, "1 of 1 packets were not answered"},
		{"no such client", plan.TCP, 443, func(f *plan.Flow) { f.Client = "ghost" }, record.Failed, "no namespace for ghost"},
		{"not our address", plan.TCP, 443, func(f *plan.Flow) { f.Src = netip.MustParseAddrPort("10.9.9.9:1") }, record.Failed, "bind to 10.9.9.9:1"},
		{"too large", plan.UDP, 7, func(f *plan.Flow) { f.Request = 70000 }, record.Failed, "want at most"},
		{"no such protocol", "sctp", 0, nil, record.Failed, "do not speak sctp"},
	}
	drop(t, w, nobody)
	var flows []plan.Flow
	for i, c := range cases {
		f := flow(c.proto, i+1, 40000+uint16(i), c.port)
		f.Connect, f.Timeout = 1500*time.Millisecond, 3*time.Second
		if c.change != nil {
			c.change(&f)
		}
		flows = append(flows, f)
	}
	out := run(t, map[string]world{"a": w}, flows...)
	for i, c := range cases {
		if out[i].Result != c.want || !strings.Contains(out[i].Reason, c.reason) {
			t.Errorf("%s: %s %q, want %s %q", c.name, out[i].Result, out[i].Reason, c.want, c.reason)
		}
	}
	if got := out[2].Up; got < 1024 {
		t.Errorf("no answer: %d bytes up, want the acknowledged request", got)
	}
	if got := out[7].Up; got != 0 {
		t.Errorf("silence: %d bytes up, want none", got)
	}
}

// A byte that changes on its way is noticed, whichever way it goes, and named.
func TestDamageIsNoticed(t *testing.T) {
	need.Root(t)
	w := newWorld(t)
	w.serve(t, "http", 443, nil)
	flip := func(port uint16, request, response int64) {
		accept(t, w, port, func(c *net.TCPConn) {
			defer c.Close()
			var up net.Conn
			if err := w.origin.NS.Do(func() (err error) {
				up, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(originAddr, 443)))
				return err
			}); err != nil {
				t.Error(err)
				return
			}
			defer up.Close()
			go relay(up, c, request)
			relay(c, up, response)
		})
	}
	flip(1001, -1, -1)
	flip(1002, 200_000, -1)
	flip(1003, -1, 3_000_000)
	var flows []plan.Flow
	for i := range 3 {
		f := flow(plan.TCP, i+1, 40000+uint16(i), 1001+uint16(i))
		f.Request, f.Response = 1<<20, 4<<20
		flows = append(flows, f)
	}
	out := run(t, map[string]world{"a": w}, flows...)
	for i, want := range []string{"", "the request arrived damaged: byte 199", "the answer arrived damaged: byte 2999"} {
		if (out[i].Result == record.OK) != (want == "") || !strings.Contains(out[i].Reason, want) {
			t.Errorf("flow %d: %s %q, want %q", i+1, out[i].Result, out[i].Reason, want)
		}
	}
}

// relay copies, and changes one bit of byte at; -1 changes none.
func relay(dst io.Writer, src io.Reader, at int64) {
	buf := make([]byte, 32<<10)
	for off := int64(0); ; {
		n, err := src.Read(buf)
		if k := at - off; k >= 0 && k < int64(n) {
			buf[k] ^= 0x10
		}
		off += int64(n)
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// drop makes the router swallow what goes to a.
func drop(t *testing.T, w world, a netip.Addr) {
	t.Helper()
	hosttest.Blackhole(t, w.router, a)
}
