package interconnect

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/wire"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// OX-3 at the edge: packets of three contexts interleaved on the same sockets
// stay separate, although the sites have one address and ask from one port at
// once, with and without tags.
func TestOX3ContextsStaySeparate(t *testing.T) {
	need.Root(t)
	l := raise(t)
	far := l.udp(t, "server", netip.AddrPortFrom(originAddr, 7))
	go func() { // says to each question which site's context it bore
		buf := make([]byte, 2048)
		for {
			n, from, err := far.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			far.WriteToUDPAddrPort(append(buf[:n:n], " seen"...), from) // the asker sees what is lost
		}
	}()
	for round := range 5 {
		for i, site := range sites {
			c := l.udp(t, site, netip.AddrPortFrom(siteAddr, 40000))
			question := site + " asks"
			if got, want := labtest.Ask(t, c, netip.AddrPortFrom(originAddr, 7), question), question+" seen"; got != want {
				t.Errorf("round %d: %s got %q, want %q", round, site, got, want)
			}
			l.server.mu.Lock()
			if c := l.server.contexts[40000]; c.OnRamp != ident.OnRamp(i+1) || c.Tenant != l.plan.Interconnects[i].Tenant {
				t.Errorf("the context of %s is %+v", site, c)
			}
			l.server.mu.Unlock()
			c.Close()
		}
	}
	if l.server.bad > 0 {
		t.Errorf("%d datagrams were no packet in GUE fresh from its on-ramp", l.server.bad)
	}
	if totals := l.edge.Counters(); totals["sent"] != 15 || totals["received"] != 15 || len(totals) != 2 {
		t.Errorf("counters %v, want 15 sent and received and nothing else", totals)
	}
}

// The kernel's TCP passes both ways without a loss, superpackets cut.
func TestTCP(t *testing.T) {
	need.Root(t)
	l := raise(t)
	for i, site := range sites {
		from := labtest.End{NS: l.NS(site), Addr: netip.AddrPortFrom(siteAddr, uint16(41000+i))}
		labtest.Transfer(t, from, labtest.End{NS: l.NS("server"), Addr: netip.AddrPortFrom(originAddr, 0)}, 4<<20)
	}
	for name, n := range l.edge.Counters() {
		if strings.HasPrefix(name, "drop_") {
			t.Errorf("%s = %d, want 0", name, n)
		}
	}
	for i, trunk := range l.trunks {
		if n := trunk.Lost(); n != 0 {
			t.Errorf("trunk %d lost %d packets", i, n)
		}
	}
}

// Flows leave from several ports, each flow from one, for the network's ECMP.
func TestFlowsSpread(t *testing.T) {
	need.Root(t)
	l := raise(t)
	const flows, each = 64, 3
	for i := range flows {
		c := l.udp(t, "plain", netip.AddrPortFrom(siteAddr, uint16(42000+i)))
		for range each {
			if _, err := c.WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(originAddr, 9)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var from map[netip.AddrPort]int
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		total := 0
		from = map[netip.AddrPort]int{}
		l.server.mu.Lock()
		for a, n := range l.server.from {
			from[a], total = n, total+n
		}
		l.server.mu.Unlock()
		if total == flows*each {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d datagrams came, want %d", total, flows*each)
		}
	}
	if len(from) < plan.InterconnectPorts/2 {
		t.Errorf("datagrams came from %d ports, want most of %d", len(from), plan.InterconnectPorts)
	}
	for a, n := range from {
		if a.Addr() != edgeAddr || n%each != 0 {
			t.Errorf("%d datagrams from %v, want them from %v and by threes", n, a, edgeAddr)
		}
	}
}

// The edge's kernel neither answers what a site sends to one of its addresses,
// nor routes it.
func TestTheKernelStaysOut(t *testing.T) {
	need.Root(t)
	l := raise(t)
	l.udp(t, "edge", netip.AddrPortFrom(edgeAddr, 7))
	before := taken(t, l)
	for _, site := range sites {
		c := l.udp(t, site, netip.AddrPortFrom(siteAddr, 40000))
		for _, to := range []netip.AddrPort{netip.AddrPortFrom(edgeAddr, 7), netip.AddrPortFrom(edgeAddr, 9), netip.MustParseAddrPort("172.16.1.1:9")} {
			if _, err := c.WriteToUDPAddrPort([]byte("?"), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	for deadline := time.Now().Add(patience); l.edge.Counters()["sent"] < 9; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counters %v, want all 9 sent to the servers", l.edge.Counters())
		}
	}
	if got := taken(t, l); got != before {
		t.Errorf("the edge's kernel took or forwarded datagrams: %q, before %q", got, before)
	}
}

// taken is what the edge's kernel counts as taken and forwarded from its
// links.
func taken(t *testing.T, l *lab) string {
	t.Helper()
	var text string
	err := l.NS("edge").Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		lines := strings.Split(string(b), "\n")
		f := strings.Fields(lines[1]) // ForwDatagrams is the sixth figure of Ip, InDelivers the ninth
		text = "forwarded " + f[6] + ", delivered " + f[9]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// What is not a site's packet is dropped and counted.
func TestReturnsThatAreNone(t *testing.T) {
	need.Root(t)
	l := raise(t)
	bare := make([]byte, 20)
	bare[0], bare[3] = 0x45, 20
	good := tunnel.GUEContext{OnRamp: 1, Tenant: tenant, Return: true}
	for _, change := range []func(*tunnel.GUEContext){
		func(c *tunnel.GUEContext) { c.OnRamp = 9 },     // unknown
		func(c *tunnel.GUEContext) { c.Tenant = 9 },     // of another tenant
		func(c *tunnel.GUEContext) { c.Return = false }, // on its way to a server
	} {
		c := good
		change(&c)
		l.server.send(c, bare)
	}
	l.server.send(good, append(bare, 0)) // more than the packet
	l.server.conn.WriteToUDPAddrPort([]byte("junk"), netip.AddrPortFrom(edgeAddr, tunnel.GUEPort))
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		totals := l.edge.Counters()
		if totals["drop_unknown"] == 2 && totals["drop_junk"] == 3 && totals["received"] == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counters %v, want 2 unknown and 3 junk", totals)
		}
	}
}

func TestAttachErrors(t *testing.T) {
	need.Root(t)
	l := raise(t)
	if _, err := Attach(l.NS("edge"), nil, 0); err == nil {
		t.Error("no interconnects: no error")
	}
	for _, c := range []struct {
		name, want string
		change     func(*plan.Interconnect)
	}{
		{"no link", `plain: link "none"`, func(i *plan.Interconnect) { i.Interface = "none" }},
		{"no tenant", "plain: tenant 0 and on-ramp 1 make no context", func(i *plan.Interconnect) { i.Tenant = 0 }},
		{"two addresses", "tagged from 198.18.0.9", func(i *plan.Interconnect) { i.Local = addr("198.18.0.8") }},
		{"address in use", "bind to 198.18.0.9:49152: address already in use", func(*plan.Interconnect) {}},
	} {
		all := append([]plan.Interconnect(nil), l.plan.Interconnects...)
		c.change(&all[0])
		if _, err := Attach(l.NS("edge"), all, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	if _, err := Tag(l.NS("plain"), l.plan.Links[2]); err == nil || !strings.Contains(err.Error(), `VLAN 7 of tagged: interface "wan0`+wire.PeerSuffix) {
		t.Errorf("Tag of a link without an interface beside it: %v", err)
	}
}
