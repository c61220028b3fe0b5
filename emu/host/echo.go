package host

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/homeward-lab/homeward/topologies/plan"
)

// maxDatagram is the largest UDP payload over IPv4.
const maxDatagram = 65507

// serveEcho answers the lab's datagrams with a signed statement, and sends
// everything else back as it came.
func (o *origin) serveEcho(fd int) error {
	c, err := packetConn(fd)
	if err != nil {
		return err
	}
	o.closers = append(o.closers, c)
	o.running.Go(func() { o.echo(c) })
	return nil
}

func (o *origin) echo(c *net.UDPConn) {
	s := newSigner(o.opt.Key)
	in, out, oob := make([]byte, maxDatagram+1), make([]byte, maxDatagram), make([]byte, 64)
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(in, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		peer := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if !o.svc.Answers(peer.Addr()) {
			continue
		}
		req := in[:n]
		m, ours := ParseMark(req)
		if !ours || m.Answer || n < MinRequest {
			_, _ = c.WriteToUDPAddrPort(req, from)
			continue
		}
		answer, intact := s.answer(out, req, peer)
		_, _ = c.WriteToUDPAddrPort(answer, from) // the client will miss it, and say so
		if o.opt.Observe != nil {
			now, took := time.Now(), time.Duration(0)
			if came, ok := stamp(oob[:oobn]); ok {
				took = max(time.Duration(now.UnixNano()-came.UnixNano()), 0)
			}
			o.opt.Observe(Seen{
				Node: o.svc.Node, Proto: plan.UDP, Nonce: binary.BigEndian.Uint64(req[8:]), Seq: m.Seq,
				Peer: peer, At: now, Took: took, Request: int64(n), Intact: intact,
			})
		}
	}
}
