package capture_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/homeward-lab/homeward/emu/capture"
	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// line is host – transit – web.
func line() *plan.Plan {
	end := func(node, ifname, addr, peer string, mac byte) plan.Endpoint {
		return plan.Endpoint{
			Node: node, Interface: ifname, MAC: net.HardwareAddr{2, 0, 0, 0, 0, mac},
			Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}, Neighbors: []netip.Addr{netip.MustParseAddr(peer)},
		}
	}
	byDefault := func(via string) []plan.KernelRoute {
		return []plan.KernelRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Hops: []plan.Hop{{Interface: "eth0", Via: netip.MustParseAddr(via)}}}}
	}
	return &plan.Plan{
		Nodes: []plan.Node{
			{ID: "host", Kind: plan.KindHost, Routes: byDefault("192.0.2.0")},
			{ID: "transit", Kind: plan.KindTransit, Forward: true},
			{ID: "web", Kind: plan.KindOrigin, Routes: byDefault("192.0.2.2")},
		},
		Links: []plan.Link{
			{ID: "a", MTU: 1500, A: end("host", "eth0", "192.0.2.1/31", "192.0.2.0", 1), B: end("transit", "h", "192.0.2.0/31", "192.0.2.1", 2)},
			{ID: "b", MTU: 1500, A: end("transit", "w", "192.0.2.2/31", "192.0.2.3", 3), B: end("web", "eth0", "192.0.2.3/31", "192.0.2.2", 4)},
		},
	}
}

func lab(t *testing.T) *keeper.Lab {
	t.Helper()
	need.Root(t)
	l, err := keeper.Up(t.Context(), line(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func start(t *testing.T, l *keeper.Lab, snap int) *capture.Capture {
	t.Helper()
	c, err := capture.Start(l, capture.Points(line()), snap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// in runs f inside a node and keeps what it opens.
func in[T io.Closer](t *testing.T, l *keeper.Lab, node string, f func() (T, error)) T {
	t.Helper()
	var out T
	if err := l.NS(node).Do(func() (err error) { out, err = f(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

// exchange sends n datagrams of a size from host to web, and waits for each.
func exchange(t *testing.T, l *keeper.Lab, n, size int) {
	t.Helper()
	web := in(t, l, "web", func() (net.PacketConn, error) { return net.ListenPacket("udp4", "192.0.2.3:7000") })
	host := in(t, l, "host", func() (net.Conn, error) { return net.Dial("udp4", "192.0.2.3:7000") })
	b := make([]byte, size)
	for range n {
		if _, err := host.Write(b); err != nil {
			t.Fatal(err)
		}
		web.SetDeadline(time.Now().Add(5 * time.Second))
		if _, _, err := web.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
	}
}

// tunnelled is a UDP packet in GRE with a key, as payload of an IP packet.
func tunnelled(t *testing.T, key uint32) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 1, 5}, DstIP: net.IP{203, 0, 113, 9}}
	udp := &layers.UDP{SrcPort: 40000, DstPort: 4433}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.GRE{KeyPresent: true, Key: key, Protocol: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload("inner"))
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type seen struct {
	point     string
	direction pcapgo.NgEpbFlag
	info      gopacket.CaptureInfo
}

// read is the file's packets as an independent reader has them.
func read(t *testing.T, path string) (out []seen) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, info, opts, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		s := seen{point: i.Name, info: info}
		if opts.Flags != nil {
			s.direction = opts.Flags.Direction
		}
		out = append(out, s)
	}
}

func TestEveryPacketOncePerHopInOrder(t *testing.T) {
	l := lab(t)
	c := start(t, l, 0)
	began := time.Now()
	exchange(t, l, 100, 1000)
	path := filepath.Join(t.TempDir(), "c.pcapng")
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got := read(t, path)
	if len(got) != 200 {
		t.Fatalf("%d packets, want 100 at each of two points", len(got))
	}
	for i, s := range got {
		want := seen{point: "transit/h", direction: pcapgo.NgEpbFlagDirectionInbound}
		if i%2 == 1 {
			want = seen{point: "transit/w", direction: pcapgo.NgEpbFlagDirectionOutbound}
		}
		if s.point != want.point || s.direction != want.direction {
			t.Fatalf("packet %d: at %s, direction %v, want %+v", i, s.point, s.direction, want)
		}
		if s.info.Length != 14+20+8+1000 || s.info.CaptureLength != capture.DefaultSnap {
			t.Fatalf("packet %d: %d of %d bytes, want %d of 1042", i, s.info.CaptureLength, s.info.Length, capture.DefaultSnap)
		}
		if s.info.Timestamp.Before(began) || s.info.Timestamp.After(time.Now()) {
			t.Fatalf("packet %d: at %v, want between %v and now", i, s.info.Timestamp, began)
		}
	}
	if !slices.IsSortedFunc(got, func(a, b seen) int { return a.info.Timestamp.Compare(b.info.Timestamp) }) {
		t.Error("packets are not in the order of time")
	}
	points, displaced := c.Stats()
	for _, p := range points {
		if p.Received != 100 || p.Dropped != 0 {
			t.Errorf("%+v, want 100 received, none dropped", p)
		}
	}
	if displaced != 0 {
		t.Errorf("%d displaced, want none", displaced)
	}
}

// Segmentation happens behind us: what TCP sends in one piece is one packet
// here, cut short but with its true length.
func TestSuperpacketsAreCutShort(t *testing.T) {
	l := lab(t)
	c := start(t, l, 96)
	ln := in(t, l, "web", func() (net.Listener, error) { return net.Listen("tcp4", "192.0.2.3:80") })
	host := in(t, l, "host", func() (net.Conn, error) { return net.Dial("tcp4", "192.0.2.3:80") })
	go func() {
		host.Write(make([]byte, 1<<20))
		host.Close()
	}()
	web, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	if n, err := io.Copy(io.Discard, web); n != 1<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	path := filepath.Join(t.TempDir(), "c.pcapng")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteFile(path); err != nil { // after Close: still there
		t.Fatal(err)
	}
	super := 0
	for _, s := range read(t, path) {
		if s.info.CaptureLength > 96 || s.info.CaptureLength > s.info.Length {
			t.Fatalf("%d of %d bytes kept, want at most 96", s.info.CaptureLength, s.info.Length)
		}
		if s.info.Length > 1514 {
			super++
		}
	}
	if super == 0 {
		t.Error("no packet larger than the wire: want superpackets")
	}
}

func TestBoundedMemoryKeepsTheLatest(t *testing.T) {
	l := lab(t)
	c, err := capture.StartSized(l, capture.Points(line())[:1], 1500, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, l, 1000, 1400) // 1.4 MB
	path := filepath.Join(t.TempDir(), "c.pcapng")
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	points, displaced := c.Stats()
	got := read(t, path)
	if displaced == 0 || uint64(len(got))+displaced != points[0].Received {
		t.Errorf("%d remembered and %d displaced of %d", len(got), displaced, points[0].Received)
	}
	if kept := len(got) * 1400; kept > 1<<19 {
		t.Errorf("%d bytes remembered, want at most two chunks", kept)
	}
}

func TestTsharkReadsGRE(t *testing.T) {
	tshark := need.Tool(t, "tshark")
	l := lab(t)
	c := start(t, l, 0)
	raw := in(t, l, "host", func() (*net.IPConn, error) {
		return net.DialIP("ip4:47", nil, &net.IPAddr{IP: net.IP{192, 0, 2, 3}})
	})
	for key := range uint32(10) {
		if _, err := raw.Write(tunnelled(t, 0x00c0ffee+key)); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, l, 5, 1000)
	path := filepath.Join(t.TempDir(), "c.pcapng")
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	count := func(filter string) int {
		out, err := exec.Command(tshark, "-r", path, "-Y", filter, "-T", "fields", "-e", "frame.number").Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		return strings.Count(string(out), "\n")
	}
	tests := []struct {
		filter string
		want   int
	}{
		// In and out of the router; web's refusals quote the packets.
		{"gre.key == 0x00c0ffee && !icmp", 2},
		{"gre && ip.addr == 203.0.113.9 && udp.dstport == 4433 && !icmp", 20},
		{`frame.interface_name == "transit/w" && gre && !icmp`, 10},
		{"frame.packet_flags_direction == 2 && gre && !icmp", 10},
		{"udp.dstport == 7000", 10},
		{"_ws.malformed", 0},
	}
	for _, tt := range tests {
		if got := count(tt.filter); got != tt.want {
			t.Errorf("%s: %d packets, want %d", tt.filter, got, tt.want)
		}
	}
}

func TestStartFailsByName(t *testing.T) {
	l := lab(t)
	tests := []struct {
		points []capture.Point
		want   string
	}{
		{nil, "no point"},
		{[]capture.Point{{Node: "transit", Interface: "h"}, {Node: "ghost", Interface: "h"}}, `ghost/h: no node "ghost"`},
		{[]capture.Point{{Node: "transit", Interface: "eth9", Name: "nine"}}, "nine"},
	}
	for _, tt := range tests {
		c, err := capture.Start(l, tt.points, 0)
		if err == nil {
			c.Close()
			t.Errorf("%v: no error", tt.points)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %q, want %q in it", tt.points, err, tt.want)
		}
	}
}

func TestPointsAreTheRoutersEnds(t *testing.T) {
	var got []string
	for _, p := range capture.Points(line()) {
		got = append(got, fmt.Sprint(p.Node, "/", p.Interface))
	}
	if want := []string{"transit/h", "transit/w"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
