package run_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/reports/record"
)

// SU-3, from the capture: no packet leaves a server with a port (or echo id)
// outside its slice. Replies to each slice reach its owner (SU-1), or the flows
// would not be ok.
func TestLiveSU3(t *testing.T) { each(t, su3) }

func su3(t *testing.T, w world) {
	file := filepath.Join(t.TempDir(), "capture.pcapng")
	p := w.plan(t, "traffic: [{id: many, from: shop.*.till, to: web, tcp: 80, flows: 30, rate: 200}, {id: ask, from: shop.*.till, to: web, udp: 7, flows: 30, rate: 200}, {id: ping, from: shop.*.till, to: web, icmp: 7, flows: 30, rate: 200}]")
	wantAll(t, live(t, p, run.Options{Capture: file}), record.OK)
	checked := map[string]int{}
	eachPacket(t, file, func(point string, packet gopacket.Packet) {
		node, iface, _ := strings.Cut(point, "/")
		server := strings.TrimSuffix(node, ".edge") + "." + iface[strings.LastIndex(iface, "-")+1:]
		s, ok := p.Server(server)
		src, dst := outermost(packet)
		if !ok || !strings.HasSuffix(node, ".edge") || !w.pool.Contains(src) {
			return
		}
		if port := sourcePort(packet); !owns(s, src.String(), int(port), dst.String()) {
			t.Errorf("%s sent from %s port %d, which is not its own", server, src, port)
		}
		checked[server]++
	})
	t.Logf("packets checked: %v", checked)
	if len(checked) != len(p.Servers) {
		t.Errorf("packets of %d servers checked, want all %d", len(checked), len(p.Servers))
	}
}

func sourcePort(packet gopacket.Packet) uint16 {
	switch l := packet.TransportLayer().(type) {
	case *layers.TCP:
		return uint16(l.SrcPort)
	case *layers.UDP:
		return uint16(l.SrcPort)
	}
	if l, ok := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return l.Id
	}
	if l, ok := packet.Layer(layers.LayerTypeICMPv6Echo).(*layers.ICMPv6Echo); ok {
		return l.Identifier
	}
	return 0
}

// eachPacket reads a capture; point is the interface's name, "lhr.edge/lhr-1".
func eachPacket(t *testing.T, file string, do func(point string, packet gopacket.Packet)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		do(i.Name, gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default))
	}
}
