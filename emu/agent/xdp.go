package agent

import (
	"errors"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/emu/afpacket"
	"github.com/homeward-lab/homeward/emu/afxdp"
)

// xdpSocket is an uplink whose frames move by AF_XDP.
type xdpSocket struct {
	*afxdp.Socket
	divert *bpf.Socket
}

// openXDP has the hub see all IP that is not the kernel's.
func (u *uplink) openXDP(ifindex int) error {
	s, err := afxdp.Open(ifindex)
	if err != nil {
		return err
	}
	divert, err := bpf.AttachSocket(bpf.SocketOptions{Interface: ifindex, Own: u.own, Socket: s.Fd()})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	u.xdp = &xdpSocket{s, divert}
	u.hello = Hello{IO: IOXDP, Features: []string{"AF_XDP, frames copied", "GRE, segments and checksums in userspace"}}
	return nil
}

// Receive implements receiver.
func (x *xdpSocket) Receive() (int, error) { return x.Socket.Receive(), nil }

// Frame implements receiver: nothing is left undone in it.
func (x *xdpSocket) Frame(i int) ([]byte, afpacket.Header) {
	return x.Socket.Frame(i), afpacket.Header{}
}

// addTo adds what was sent and lost by name.
func (x *xdpSocket) addTo(all map[string]uint64) {
	all["tx_packets"], all["tx_unsendable"] = x.Sent, x.Unsent
	if n, err := x.Dropped(); err == nil {
		all["rx_overflow"] = n
	}
}

func (x *xdpSocket) close() error { return errors.Join(x.divert.Close(), x.Socket.Close()) }
