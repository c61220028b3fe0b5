package fragment

import (
	"encoding/binary"

	"github.com/homeward-lab/homeward/dataplane/pkt"
)

// Protocol numbers of IPv6 extension headers (RFC 8200 section 4).
const (
	protoHopByHop    = 0
	protoRouting     = 43
	protoFragment    = 44
	protoDestination = 60
)

const (
	unit           = 8 // bytes that a fragment offset counts
	fragmentHeader = 8 // IPv6's
	maxLength      = 65535
	// maxHead bounds what stands before the fragmented part: an IPv4 header
	// with all its options is 60 bytes, an IPv6 header with a hop-by-hop option
	// and a routing header of two addresses 88.
	maxHead = 128
	// minTCP4 is how much of TCP an IPv4 first fragment shows: up to the flags
	// (RFC 1858 section 3.2.1).
	minTCP4 = 16
	// minOther is the least a first fragment shows of any other protocol.
	minOther = 8
)

// Values of the two congestion bits (RFC 3168 section 5).
const (
	notECT = 0
	marked = 3
)

// fragment is one fragment as read.
type fragment struct {
	// head is what stands in front of the whole: the header up to the
	// fragmented part, without IPv6's fragment header. link is the place in
	// head of the next-header field that names the fragment header.
	head, payload []byte
	link          int
	offset        int // bytes
	id            uint32
	// proto is what is fragmented.
	proto, version, ecn uint8
	more                bool
}

func (f *fragment) end() int { return f.offset + len(f.payload) }

// parse reads the packet b. Incomplete means that it is a fragment to keep.
func (f *fragment) parse(b []byte) Result {
	if len(b) < pkt.IPv4Header {
		return Malformed
	}
	result := Malformed
	switch b[0] >> 4 {
	case 4:
		result = f.parse4(b)
	case 6:
		result = f.parse6(b)
	}
	switch {
	case result != Incomplete:
		return result
	case f.atomic():
		return Incomplete
	case len(f.payload) == 0, f.more && len(f.payload)%unit != 0:
		return Malformed
	case tooLong(f.version, f.minHead(), f.end()):
		return TooLong
	case f.offset == 0:
		return f.shows()
	case f.version == 4 && f.proto == pkt.ProtoTCP && f.offset < minTCP4:
		return Tiny
	}
	return Incomplete
}

// atomic reports an IPv6 packet that is its own only fragment (RFC 6946).
func (f *fragment) atomic() bool { return f.version == 6 && f.offset == 0 && !f.more }

func (f *fragment) parse4(b []byte) Result {
	head, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < pkt.IPv4Header || head > total || total > len(b) || !pkt.HeaderSound(b[:head]) {
		return Malformed
	}
	field := binary.BigEndian.Uint16(b[6:])
	if field&0x3fff == 0 {
		return Malformed
	}
	*f = fragment{
		head: b[:head], payload: b[head:total], offset: int(field&0x1fff) * unit, more: field&0x2000 != 0,
		id: uint32(binary.BigEndian.Uint16(b[4:])), proto: b[9], version: 4, ecn: b[1] & 3,
	}
	return Incomplete
}

// parse6 walks the headers that every fragment repeats (RFC 8200 section 4.5,
// "Per-Fragment headers") up to the fragment header:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                         Identification                        |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
func (f *fragment) parse6(b []byte) Result {
	if len(b) < pkt.IPv6Header {
		return Malformed
	}
	total := pkt.IPv6Header + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return Malformed
	}
	b = b[:total]
	link, at := 6, pkt.IPv6Header
	for b[link] != protoFragment {
		size, ok := extension(b[link], b[at:])
		if !ok || size == 0 {
			return Malformed
		}
		link, at = at, at+size
		if at > maxHead {
			return TooLong
		}
	}
	if len(b) < at+fragmentHeader {
		return Malformed
	}
	field := binary.BigEndian.Uint16(b[at+2:])
	*f = fragment{
		head: b[:at], link: link, payload: b[at+fragmentHeader:], offset: int(field &^ 7), more: field&1 != 0,
		id: binary.BigEndian.Uint32(b[at+4:]), proto: b[at], version: 6, ecn: b[1] >> 4 & 3,
	}
	return Incomplete
}

// extension is the size of the extension header proto at the start of b; 0 if
// proto is none. ok is false if it is cut off.
func extension(proto uint8, b []byte) (size int, ok bool) {
	switch proto {
	case protoHopByHop, protoRouting, protoDestination:
		if len(b) < unit {
			return 0, false
		}
		size = (int(b[1]) + 1) * unit
		return size, size <= len(b)
	}
	return 0, true
}

// shows reports whether the first fragment holds the headers up to the
// transport's, so that nobody has to decide without them.
func (f *fragment) shows() Result {
	proto, b, need := f.proto, f.payload, minTCP4
	if f.version == 6 {
		need = pkt.TCPHeader
		for {
			size, ok := extension(proto, b)
			if !ok {
				return Tiny
			}
			if size == 0 {
				break
			}
			proto, b = b[0], b[size:]
		}
		if proto == protoFragment {
			return Malformed // the whole would be a fragment again
		}
	}
	if proto != pkt.ProtoTCP {
		need = minOther
	}
	if len(b) < need {
		return Tiny
	}
	return Incomplete
}

// minHead is the shortest header the whole can have, as far as f tells.
func (f *fragment) minHead() int {
	switch {
	case f.offset == 0:
		return len(f.head)
	case f.version == 4:
		return pkt.IPv4Header
	}
	return pkt.IPv6Header
}

// tooLong reports whether a whole with this header and payload has a length
// that its header cannot say.
func tooLong(version uint8, head, payload int) bool {
	if version == 6 {
		head -= pkt.IPv6Header // IPv6 counts what follows the fixed header
	}
	return head+payload > maxLength
}
