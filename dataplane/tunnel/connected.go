package tunnel

import (
	"encoding/binary"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

// ConnectedOverhead is what a connected tunnel adds to a packet, bytes: its
// first datagram says whose all others are (SEMANTICS 4.1).
const ConnectedOverhead = 0

// CheckConnected reports whether a datagram of a connected tunnel after its
// first is exactly one bare IP packet (OX-1): drop.BadTunnel is one that is not
// IP, another context among them; drop.Malformed one that is empty or not as
// long as its IP header says. What it holds beyond that is not looked at.
func CheckConnected(datagram []byte) drop.Reason {
	if len(datagram) == 0 {
		return drop.Malformed
	}
	switch datagram[0] >> 4 {
	case 4:
		head := int(datagram[0]&0xf) * 4
		if head < outerIPv4 || len(datagram) < head || int(binary.BigEndian.Uint16(datagram[2:])) != len(datagram) {
			return drop.Malformed
		}
	case 6:
		if len(datagram) < outerIPv6 || int(binary.BigEndian.Uint16(datagram[4:]))+outerIPv6 != len(datagram) {
			return drop.Malformed
		}
	default:
		return drop.BadTunnel
	}
	return drop.None
}
