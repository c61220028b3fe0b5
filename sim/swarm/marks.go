package swarm

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/topologies/plan"
)

// segment is a TCP segment's name: its flow, and all that its header says but for
// ports and checksum, which translation changes. With timestamps in it, what is sent
// again is another segment.
type segment uint64

// marks reports whether a network's links mark, and what they mark can be told from
// its copies: there are none.
func marks(p *plan.Plan) bool {
	copies, marks := false, false
	for i := range p.Links {
		for _, d := range []impair.Direction{impair.AB, impair.BA} {
			x := p.Links[i].Impair(d)
			copies, marks = copies || x.Duplicate != 0, marks || x.CEThreshold != 0
		}
	}
	return marks && !copies
}

// crossed judges what a packet that came out of a wire says of congestion, inside and
// on its tunnels: a segment that said it goes on saying it, one whose ends understand
// no mark never says it (RFC 3168), and a tunnel's header says what is inside, or that
// it was marked on the way (RFC 6040 section 4.1).
func (c *checker) crossed(node string, mark uint32, head []byte) {
	if c.said == nil || mark == 0 || c.broken != nil {
		return
	}
	says, honest, tcp := congestion(head)
	if tcp == nil {
		return
	}
	f := &c.plan.Flows[mark-1]
	if !honest {
		c.failf(RuleMarks, "a segment of %s#%d came to %s in a tunnel whose header says something else than it", f.Traffic, f.N, node)
	}
	at := nameOf(mark, tcp)
	was, known := c.said[at]
	c.said[at] = says
	if marked := says == pkt.CE && (!known || was == pkt.ECT0 || was == pkt.ECT1); marked {
		c.marked++
	} else if known && says != was {
		words := [...]string{pkt.NotECT: "not-ECT", pkt.ECT1: "ECT(1)", pkt.ECT0: "ECT(0)", pkt.CE: "CE"}
		c.failf(RuleMarks, "a segment of %s#%d said %s, and says %s at %s", f.Traffic, f.N, words[was], words[says], node)
	}
}

// congestion is what a packet says of it, inside and outside of its tunnels; whether
// their headers say what they may; and the header of the TCP segment that is in it, nil
// for anything else. head begins with all its headers.
func congestion(head []byte) (says pkt.ECN, honest bool, tcp []byte) {
	honest = true
	for depth, outer := 0, pkt.NotECT; pkt.HasHeader(head); depth++ {
		inner := pkt.ECNOf(head)
		if says = inner; depth > 0 && outer != inner {
			says = pkt.CE
			honest = honest && outer == pkt.CE && inner != pkt.NotECT
		}
		outer = says
		proto, payload := head[9], head[min(int(head[0]&0xf)*4, len(head)):]
		if head[0]>>4 == 6 {
			proto, payload = head[6], head[pkt.IPv6Header:]
		} else if head[6]&0x3f|head[7] != 0 {
			break // a fragment
		}
		switch {
		case proto == pkt.ProtoTCP && len(payload) >= pkt.TCPHeader:
			return says, honest, payload[:min(max(int(payload[12]>>4)*4, pkt.TCPHeader), len(payload))]
		case proto == pkt.ProtoGRE:
			gre, reason := tunnel.ParseGRE(payload, false)
			if reason != drop.None {
				return says, honest, nil
			}
			head = payload[gre.Len:]
		case proto == pkt.ProtoUDP && len(payload) > pkt.UDPHeader:
			head = datagramOf(payload)
		default:
			return says, honest, nil
		}
	}
	return says, honest, nil
}

// datagramOf is the packet in a datagram of a tunnel: bare, or in GUE. Of any other
// datagram it is what no packet begins with, or too short.
func datagramOf(udp []byte) []byte {
	ports := [...]uint16{binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])}
	b := udp[pkt.UDPHeader:]
	switch {
	case slices.Contains(ports[:], tunnel.ConnectedPort):
		return b
	case ports[1] == tunnel.GUEPort:
		if gue, reason := tunnel.ParseGUE(b); reason == drop.None {
			return b[gue.Len:]
		}
	}
	return nil
}

// nameOf names a segment of a flow, given its whole header.
func nameOf(mark uint32, tcp []byte) segment {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint32(nil, mark))
	h.Write(tcp[4:16])
	h.Write(tcp[18:])
	return segment(h.Sum64())
}
