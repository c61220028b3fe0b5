package run_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// total adds up a counter of all servers.
func total(m *record.Metrics, name string) (n int64) {
	for _, s := range m.Servers {
		n += s[name]
	}
	return n
}

// Most packets of a download never come to the hub, those that are no plain
// packets of a flow do, and the session log has every byte all the same.
func TestEBPFCarriesDownloads(t *testing.T) {
	need.BPF(t)
	p := compile(t, fmt.Sprintf(lab, true, "traffic: [{id: get, from: shop.*.till, to: web, tcp: 80, flows: 4, request: 256KiB, response: 4MiB}]"))
	r := live(t, p, run.Options{Dataplane: run.EBPF})
	wantAll(t, r, record.OK)
	m := &r.Run.Metrics
	carried := total(m, "io.ebpf_forwarded") + total(m, "io.ebpf_returned") + total(m, "io.ebpf_handed_over")
	left := total(m, "io.ebpf_left_miss") + total(m, "io.ebpf_left_control") + total(m, "io.ebpf_left_traced")
	t.Logf("%d packets carried, %d left to the hub", carried, left)
	if r.Run.Engine != "emu-ebpf" || carried < 3*left || left < int64(4*len(p.Flows)) || total(m, "io.ebpf_lost") != 0 {
		t.Errorf("engine %s: %d packets carried and %d left to the hub", r.Run.Engine, carried, left)
	}
	if len(r.Sessions) != len(p.Flows) {
		t.Errorf("%d sessions ended, want one for each of %d flows", len(r.Sessions), len(p.Flows))
	}
	bytes := map[string]record.Session{}
	for _, s := range r.Sessions {
		bytes[s.SessionID] = s
	}
	for _, f := range r.Flows {
		if s := bytes[f.SessionID]; s.BytesSent != f.BytesUp || s.BytesReceived != f.BytesDown {
			t.Errorf("%s#%d: %d and %d bytes in the log, the client counted %d and %d", f.Traffic, f.N, s.BytesSent, s.BytesReceived, f.BytesUp, f.BytesDown)
		}
	}
}

// SU-5: the 2,049th flow at once to one destination and port is refused for want
// of a port; the same ports still serve another destination. The kernel holds both
// at the same place.
func TestLiveSU5(t *testing.T) {
	need.BPF(t)
	const text = `version: 1
name: live
seed: 7
account: {on_exhaustion: refuse}
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/32]}]
sites: [{id: shop, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}]
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [echo]}]
traffic:
  - {id: fill, from: shop.1.till, to: web, udp: 7, flows: 2048, rate: 1500, connect: 4s}
  - {id: more, from: shop.1.till, to: web, udp: 7, flows: 5, start: 6s, connect: 1s}
  - {id: other, from: shop.1.till, to: web, udp: 8, flows: 40, start: 6s, packets: 3, connect: 4s}
`
	r := live(t, compile(t, text), run.Options{Dataplane: run.EBPF})
	for _, f := range r.Flows {
		switch {
		case f.Traffic != "more" && f.Result != record.OK:
			t.Errorf("%s#%d: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		case f.Traffic == "more" && (f.Result == record.OK || f.Reason != "EGRESS_PORT_ALLOCATION_ERROR"):
			t.Errorf("%s#%d beyond the slice: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		}
	}
	if n := total(&r.Run.Metrics, "io.ebpf_install_refused"); n != 0 {
		t.Errorf("%d flows could not be carried", n)
	}
}

// Overload: a flood of new flows fills every server's table to its bound. New flows
// are refused and counted, those that live go on.
func TestEBPFOverload(t *testing.T) {
	need.BPF(t)
	p := compile(t, fmt.Sprintf(lab, true, `traffic:
  - {id: steady, from: shop.*.till, to: web, udp: 7, packets: 30, interval: 100ms, connect: 4s}
  - {id: flood, from: shop.*.till, to: web, udp: 8, flows: 200, start: 500ms, rate: 200, connect: 1s}`))
	const bound = 40
	for i := range p.Servers {
		p.Servers[i].Config.Bounds.Flows = bound
	}
	r := live(t, p, run.Options{Dataplane: run.EBPF})
	refused := 0
	for _, f := range r.Flows {
		switch {
		case f.Traffic == "steady" && f.Result != record.OK:
			t.Errorf("%s#%d: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		case f.Result != record.OK && f.Reason == "table_full":
			refused++
		}
	}
	if full := total(&r.Run.Metrics, "drop.table_full"); refused < 600-4*bound || full < int64(refused) {
		t.Errorf("%d flows refused with a reason, %d packets counted, want at least %d of 600", refused, full, 600-4*bound)
	}
}

// up brings up a lab of one server that goes down with the test.
func upEBPF(t *testing.T, text string) (*run.Lab, *plan.Plan) {
	t.Helper()
	need.BPF(t)
	labtest.Clean(t)
	p := compile(t, text)
	l, err := run.Up(t.Context(), p, &record.Memory{}, run.Options{AgentArgs: []string{agentWord}, Dataplane: run.EBPF})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return l, p
}

// counted is a counter of all servers of a lab.
func counted(t *testing.T, l *run.Lab, name string) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := l.Manifest(ctx)
	return total(&m.Metrics, name)
}

// SU-4: what comes to slice 0, whose ports are nobody's, is dropped and counted:
// by the server where it lands, without the hub being asked but to tell of it.
func TestLiveSU4(t *testing.T) {
	l, _ := upEBPF(t, fmt.Sprintf(lab, true, "traffic: [{id: one, from: shop.*.till, to: web, udp: 7}]"))
	const n = 50
	err := l.NS("web").Do(func() error {
		c, err := net.Dial("udp4", "198.51.100.1:100")
		if err != nil {
			return err
		}
		defer c.Close()
		for range n {
			if _, err := c.Write([]byte("to nobody")); err != nil && !strings.Contains(err.Error(), "refused") {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := waitFor(t, n, func() int64 { return counted(t, l, "drop.no_owner") }); got != n {
		t.Errorf("%d packets to slice 0 counted, want %d", got, n)
	}
}

// waitFor waits until a count has come to n, and returns what it is then.
func waitFor(t *testing.T, n int64, count func() int64) (got int64) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = count(); got >= n {
			break
		}
	}
	return got
}

// Packets with any bytes at all, as fast as they come: the programs do not fail, each
// is accounted for, and the flows of others go on.
func TestEBPFOddPackets(t *testing.T) {
	l, p := upEBPF(t, strings.Replace(fmt.Sprintf(lab, true, "traffic: [{id: ask, from: shop.*.till, to: web, udp: 7, packets: 5}]"), "servers: 2", "servers: 1", 2))
	var at *plan.Link
	for i := range p.Links {
		if p.Links[i].A.Node == "lhr.1" {
			at = &p.Links[i]
		}
	}
	outcomes := func() (n int64) {
		m := l.Manifest(t.Context())
		for name, count := range m.Metrics.Servers["lhr.1"] {
			if strings.HasPrefix(name, "io.ebpf_") {
				n += count
			}
		}
		return n
	}
	before := outcomes()
	const n = 20_000
	err := l.NS(at.B.Node).Do(func() error {
		iface, err := net.InterfaceByName(at.B.Interface)
		if err != nil {
			return err
		}
		s, err := afpacket.Dial(iface.Index)
		if err != nil {
			return err
		}
		defer s.Close()
		tx := afpacket.NewSender(s, at.B.MAC, at.A.MAC)
		chance := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			tx.Whole(odd(chance, p), pkt.Offload{}, 0)
			if i%afpacket.Batch == afpacket.Batch-1 {
				tx.Flush()
			}
		}
		tx.Flush()
		if lost := tx.Sent().Lost(); lost != 0 {
			return fmt.Errorf("%d were not sent", lost)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := waitFor(t, n, func() int64 { return outcomes() - before }); got != n {
		t.Errorf("%d of %d packets are accounted for", got, n)
	}
	flows, err := l.Traffic(t.Context(), run.Round{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if f.Result != record.OK {
			t.Errorf("%s#%d afterwards: %s (%s)", f.Traffic, f.N, f.Result, f.Reason)
		}
	}
}

// odd is a packet to one of the network's addresses whose other bytes are chance,
// in part or all.
func odd(chance *rand.Rand, p *plan.Plan) []byte {
	b := make([]byte, 40+chance.IntN(200))
	for i := range b {
		b[i] = byte(chance.Uint32())
	}
	b[0] = 0x45
	if chance.IntN(4) == 0 {
		b[0] = byte(0x40 | chance.IntN(16))
	}
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	b[9] = []byte{pkt.ProtoGRE, pkt.ProtoTCP, pkt.ProtoUDP, pkt.ProtoICMP, 200}[chance.IntN(5)]
	c := &p.Servers[0].Config
	to := []netip.Addr{c.Tunnels[0], c.Egress[0].Addr, p.Servers[0].Handover}[chance.IntN(3)].As4()
	copy(b[16:], to[:])
	b[10], b[11] = 0, 0
	if chance.IntN(8) != 0 {
		var sum uint32
		for i := 0; i < 20; i += 2 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
		sum = sum&0xffff + sum>>16
		sum = ^(sum&0xffff + sum>>16)
		b[10], b[11] = byte(sum>>8), byte(sum)
	}
	return b
}

// SU-9: a router of the Internet says that a datagram is too big, to the egress
// address that it came from. That lands in the datacenter nearest to the router,
// which is not the address's, and reaches the client all the same.
func TestLiveSU9(t *testing.T) {
	l, _ := upEBPF(t, fmt.Sprintf(lab, true, "traffic: [{id: one, from: shop.3.till, to: web, udp: 7}]"))
	const narrow = 1300
	err := l.NS("transit.lhr").Do(func() error {
		link, err := netlink.LinkByName("web")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, narrow)
	})
	if err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	err = l.NS("shop.3.till").Do(func() (err error) {
		c, err = net.Dial("udp4", "203.0.113.9:7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(do func(fd int) error) {
		t.Helper()
		var failed error
		if err := errors.Join(raw.Control(func(fd uintptr) { failed = do(int(fd)) }), failed); err != nil {
			t.Fatal(err)
		}
	}
	option(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	known := 0
	for range 20 {
		_, err := c.Write(make([]byte, narrow))
		if err != nil && !errors.Is(err, unix.EMSGSIZE) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		option(func(fd int) (err error) {
			known, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
			return err
		})
		if known == narrow {
			break
		}
	}
	if known != narrow {
		t.Errorf("the client knows a path of %d bytes, want %d", known, narrow)
	}
	if n := counted(t, l, "io.ebpf_left_icmp"); n < 2 {
		t.Errorf("%d ICMP errors came to hubs, want one to where it landed and one to its owner", n)
	}
}

// SU-14: what one datacenter knows of the other's slices is out of date: replies
// that land there take one hop more, and nothing goes in circles.
func TestLiveSU14(t *testing.T) {
	need.BPF(t)
	p := compile(t, fmt.Sprintf(lab, true, "traffic: [{id: many, from: shop.3.till, to: web, tcp: 80, flows: 20, rate: 400, response: 256KiB}]"))
	cdg := map[ident.Server]ident.Server{}
	for i := range p.Servers {
		if s := &p.Servers[i]; s.Datacenter == "cdg" {
			cdg[s.Config.Self] = 0
		}
	}
	for a := range cdg {
		for b := range cdg {
			if a != b {
				cdg[a] = b
			}
		}
	}
	for i := range p.Servers {
		c := &p.Servers[i].Config
		if p.Servers[i].Datacenter != "lhr" {
			continue
		}
		c.Egress = slices.Clone(c.Egress)
		for j := range c.Egress {
			for k, owner := range c.Egress[j].Owner {
				if other := cdg[owner]; other != 0 {
					c.Egress[j].Owner[k] = other
				}
			}
		}
	}
	r := live(t, p, run.Options{Dataplane: run.EBPF})
	wantAll(t, r, record.OK)
	m := &r.Run.Metrics
	if got := total(m, "drop.hop_limit"); got != 0 {
		t.Errorf("%d packets at the hop limit", got)
	}
	if hops := m.Servers["cdg.1"]["handed_over"] + m.Servers["cdg.2"]["handed_over"]; hops == 0 {
		t.Error("no server of cdg handed over what the others mistook for its own")
	}
}
