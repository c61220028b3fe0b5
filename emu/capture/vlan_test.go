package capture_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

// A tag that the kernel takes out of a frame is in the capture, also where the
// frame is cut short.
func TestTagsAreKept(t *testing.T) {
	const vlan, snap = 100, 60
	l := lab(t)
	c := start(t, l, snap)
	var s *afpacket.Socket
	err := l.NS("host").Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		s, err = afpacket.Dial(i.Index)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tx := afpacket.NewTaggedSender(s, net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 9}, vlan)
	for _, size := range []int{10, 500} {
		packet := hubtest.IP{Src: netip.MustParseAddrPort("10.0.0.1:1"), Dst: netip.MustParseAddrPort("10.0.0.2:2"), Payload: make([]byte, size)}.UDP()
		tx.Whole(packet, pkt.Offload{}, 0)
		tx.Flush()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		points, _ := c.Stats()
		if points[0].Received+points[1].Received == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("points %+v, want two packets", points)
		}
	}
	path := filepath.Join(t.TempDir(), "c.pcapng")
	if err := c.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ length, kept int }{{18 + 28 + 10, 18 + 28 + 10}, {18 + 28 + 500, snap}} {
		b, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		tag, ok := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q)
		if !ok || tag.VLANIdentifier != vlan || tag.Type != layers.EthernetTypeIPv4 {
			t.Errorf("packet %d: tag %+v, want VLAN %d with IPv4 inside: %x", i, tag, vlan, b)
		}
		if info.Length != want.length || len(b) != want.kept {
			t.Errorf("packet %d: %d of %d bytes, want %d of %d", i, len(b), info.Length, want.kept, want.length)
		}
	}
}
