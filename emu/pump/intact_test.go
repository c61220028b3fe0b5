package pump_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// TCP gets across a bad wire what was sent. What leaves the pump is of the
// wire's size and has its checksums, although the sender would rather leave
// both to its network card; only the packets that the model damaged are wrong.
func TestLiveIntact(t *testing.T) {
	bad := spec.Impairment{Delay: spec.Delay{Fixed: ms}, Loss: 0.002, Reorder: 0.02, Duplicate: 0.02, Corrupt: 0.01}
	for name, im := range map[string]spec.Impairment{"clean": fixed(ms), "bad": bad} {
		t.Run(name, func(t *testing.T) {
			l := up(t, twoHosts(im))
			tap := l.tap(t, "right")
			l.transfer(t, 4<<20)
			packets, wrong := tap.verify(t)
			c, _ := l.counts(t, impair.AB)
			// A copy has the damage too. The flipped bit may be in the length or in
			// the kind of packet, where there is nothing left to verify.
			if wrong > 2*int(c.Model.Corrupted) || im == bad && wrong == 0 {
				t.Errorf("%d packets with wrong checksums, %d were damaged", wrong, c.Model.Corrupted)
			}
			if packets < 4<<20/1500 || c.Unasked() != 0 {
				t.Errorf("%d packets seen, %s", packets, brief(c))
			}
			if im == bad && (c.Model.Lost == 0 || c.Model.Overtook == 0 || c.Model.Duplicated == 0 || c.Model.Corrupted == 0) {
				t.Errorf("%+v: want some of each", c.Model)
			}
		})
	}
}

// transfer sends so many bytes over TCP from left to right, and compares.
func (l lab) transfer(t *testing.T, size int) {
	t.Helper()
	var in net.Listener
	err := l.NS("right").Do(func() (err error) { in, err = net.Listen("tcp4", right+":9000"); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	data := make([]byte, size)
	chacha := rand.NewChaCha8([32]byte{7})
	_, _ = chacha.Read(data)
	got := make(chan []byte, 1)
	go func() {
		defer close(got)
		c, err := in.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		got <- b
	}()
	err = l.NS("left").Do(func() error {
		c, err := net.DialTimeout("tcp4", right+":9000", time.Minute)
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, err = c.Write(data)
		return errors.Join(err, c.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case b := <-got:
		if sha256.Sum256(b) != sha256.Sum256(data) {
			at := 0
			for at < min(len(b), len(data)) && b[at] == data[at] {
				at++
			}
			t.Errorf("%d of %d bytes arrived, the first wrong one at %d", len(b), len(data), at)
		}
	case <-time.After(time.Minute):
		t.Fatal("not received after a minute")
	}
}

// tap keeps what arrives at a node.
type tap struct {
	frames [][]byte
	stop   chan struct{}
	done   chan struct{}
	err    error
}

func (l lab) tap(t *testing.T, node string) *tap {
	t.Helper()
	var s *afpacket.Socket
	err := l.NS(node).Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			s, err = afpacket.Listen(i.Index)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{stop: make(chan struct{}), done: make(chan struct{})}
	rx := afpacket.NewReceiver(s)
	go func() {
		defer close(p.done)
		defer s.Close()
		for p.err == nil {
			var n int
			if n, p.err = rx.Receive(); n == 0 {
				select {
				case <-p.stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
			for i := range n {
				frame, h := rx.Frame(i)
				if off, err := h.Offload(frame[afpacket.EthernetHeader:]); err != nil || off.Segment != 0 || off.Partial {
					p.err = errors.Join(errors.New("a packet that is not finished"), err)
				}
				p.frames = append(p.frames, bytes.Clone(frame))
			}
		}
	}()
	return p
}

// verify ends the tap, and counts packets and those with wrong checksums.
func (p *tap) verify(t *testing.T) (packets, wrong int) {
	t.Helper()
	close(p.stop)
	<-p.done
	if p.err != nil {
		t.Error(p.err)
	}
	for _, frame := range p.frames {
		if len(frame) > afpacket.EthernetHeader+1500 {
			t.Errorf("a frame of %d bytes on a wire of 1500", len(frame))
		}
		packets++
		d := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if tcp, ok := d.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && d.NetworkLayer() != nil {
			_ = tcp.SetNetworkLayerForChecksum(d.NetworkLayer())
		}
		if err, bad := d.VerifyChecksums(); err != nil || len(bad) > 0 {
			wrong++
		}
	}
	return packets, wrong
}
