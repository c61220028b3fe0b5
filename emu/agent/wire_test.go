package agent

import (
	"net"
	"testing"
	"unsafe"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/netns"
)

// segment makes a link take single packets only, as an impaired wire does.
func segment(t *testing.T, ns *netns.NS, iface string) {
	t.Helper()
	const setTSO, setGSO = 0x1f, 0x24 // linux/ethtool.h
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, command := range []uint32{setTSO, setGSO} {
			value := struct{ command, data uint32 }{command, 0}
			request := struct {
				name [unix.IFNAMSIZ]byte
				data unsafe.Pointer
				_    [16]byte
			}{data: unsafe.Pointer(&value)}
			copy(request.name[:], iface)
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
				return errno
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tap sees what arrives at a link.
type tap struct{ rx *afpacket.Receiver }

func (l *lab) tap(t *testing.T, node, iface string) *tap {
	t.Helper()
	var s *afpacket.Socket
	err := l.NS(node).Do(func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		s, err = afpacket.Listen(i.Index)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &tap{rx: afpacket.NewReceiver(s)}
}

// decode reads all that has arrived with gopacket, and fails on anything that
// is not whole. What the kernel was to finish it counts as finished.
func (p *tap) decode(t *testing.T) (gre, others int) {
	t.Helper()
	for {
		n, err := p.rx.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return gre, others
		}
		for i := range n {
			frame, h := p.rx.Frame(i)
			off, err := h.Offload(frame[afpacket.EthernetHeader:])
			if err != nil {
				t.Fatalf("%x: %v", frame[:80], err)
			}
			d := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
			if e := d.ErrorLayer(); e != nil || d.Metadata().Truncated {
				t.Fatalf("%x: %v, truncated %v", frame[:min(len(frame), 100)], e, d.Metadata().Truncated)
			}
			if d.Layer(layers.LayerTypeGRE) != nil {
				gre++
			} else {
				others++
			}
			if !off.Partial {
				verify(t, d)
			}
		}
	}
}

// verify checks every checksum of a finished packet.
func verify(t *testing.T, d gopacket.Packet) {
	t.Helper()
	var inner gopacket.NetworkLayer
	for _, l := range d.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			inner = l
			if l.Length > 1500 {
				t.Errorf("packet of %d bytes, want 1500 at most", l.Length)
			}
		case *layers.TCP:
			if err := l.SetNetworkLayerForChecksum(inner); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err, bad := d.VerifyChecksums(); err != nil || len(bad) > 0 {
		t.Fatalf("%v: checksums %v %v", d, err, bad)
	}
}
