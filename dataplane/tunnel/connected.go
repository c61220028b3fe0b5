package tunnel

import (
	"encoding/binary"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/ident"
)

// ConnectedPort is the UDP port at the servers of connected tunnels from outside.
const ConnectedPort = 2408

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

// What a server answers on a connected tunnel from outside, where datagrams get
// lost: to a context, and to a packet of a tunnel that it does not know. Like a
// context it can never be taken for an IP packet.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|    Magic 0xF0 0x48 ("H")      |  Version = 1  |    Answer     |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|        Virtual network        |           Zero = 0            |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
type Answer uint8

const (
	// Accepted: packets may follow. The virtual network is the one in force.
	Accepted Answer = 0x80 + iota
	// Refused: the context is not valid here, and never will be.
	Refused
	// Unknown: no context came before this packet; send it (again).
	Unknown
)

// AnswerLen is the length of an answer, bytes.
const AnswerLen = 2 + 1 + 1 + 2 + 2

// AppendAnswer appends an answer to dst.
func AppendAnswer(dst []byte, a Answer, vnet ident.VNet) []byte {
	dst = binary.BigEndian.AppendUint16(dst, contextMagic)
	dst = append(dst, contextVersion, uint8(a))
	dst = binary.BigEndian.AppendUint16(dst, uint16(vnet))
	return append(dst, 0, 0)
}

// ParseAnswer reads an answer; ok is false for anything else.
func ParseAnswer(b []byte) (a Answer, vnet ident.VNet, ok bool) {
	if len(b) != AnswerLen || binary.BigEndian.Uint16(b) != contextMagic || b[2] != contextVersion || b[6]|b[7] != 0 {
		return 0, 0, false
	}
	a = Answer(b[3])
	return a, ident.VNet(binary.BigEndian.Uint16(b[4:])), a >= Accepted && a <= Unknown
}
