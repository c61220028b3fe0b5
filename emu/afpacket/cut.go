package afpacket

import "github.com/homeward-lab/homeward/dataplane/pkt"

// Cutter makes finished packets of one that a kernel left undone: cut into
// segments, checksums filled in. It is for sockets that take nothing else, as
// those of UDP and of Unix do. The zero value is ready; it allocates only until
// it has seen the longest packet.
type Cutter struct {
	g      segmenter // zero: nothing to cut
	whole  []byte    // nil: nothing to pass on as it is
	buffer []byte
}

// Reset starts on packet, which is changed, and reports whether it can be
// finished.
func (c *Cutter) Reset(packet []byte, off pkt.Offload) bool {
	c.whole = nil
	if off.Segment != 0 {
		ok := c.g.reset(packet, off)
		if !ok {
			c.g = segmenter{}
		}
		return ok
	}
	if off.Partial {
		fillChecksum(packet)
	}
	c.g, c.whole = segmenter{}, packet
	return true
}

// Next is the next packet, valid until Next or Reset is called again; nil means
// that there is none left.
func (c *Cutter) Next() []byte {
	if c.whole != nil {
		p := c.whole
		c.whole = nil
		return p
	}
	if !c.g.more() {
		return nil
	}
	head, payload := c.g.next(c.buffer[:0])
	c.buffer = append(head, payload...)
	return c.buffer
}
