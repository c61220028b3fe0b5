package pkt

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

const (
	moreFragments = 0x2000
	idOffset4     = 4
	optionCopied  = 0x80 // RFC 791: this option goes into every fragment
	// maxRepeated bounds what every fragment of IPv6 repeats, so that the least
	// MTU leaves room for more.
	maxRepeated = 256
)

// AppendFragment appends the next fragment of the packet b for a link of mtu
// bytes, starting at payload offset from, and returns where the one after
// starts, or 0 after the last (RFC 791 section 3.2). Its checksum is complete,
// and mtu holds at least its headers and eight bytes. An IPv4 packet has DF
// clear; one of IPv6 came in fragments itself, and its new ones get m.FragID.
func (m *Meta) AppendFragment(dst, b []byte, mtu, from int) ([]byte, int) {
	if m.Version == 6 {
		return m.appendFragment6(dst, b, mtu, from)
	}
	start := len(dst)
	if from == 0 {
		dst = append(dst, b[:m.L4]...)
	} else {
		dst = appendFragmentHeader(dst, b[:m.L4])
	}
	head := len(dst) - start
	payload := b[m.L4:m.Len]
	size := len(payload) - from
	next := 0
	// A packet that is a fragment itself keeps its place in the whole.
	field := (m.FragOffset + uint16(from)) >> 3
	if m.MoreFragments {
		field |= moreFragments
	}
	if head+size > mtu {
		size = (mtu - head) &^ 7
		next = from + size
		field |= moreFragments
	}
	dst = append(dst, payload[from:from+size]...)
	ip := dst[start : start+head]
	binary.BigEndian.PutUint16(ip[2:], uint16(head+size))
	binary.BigEndian.PutUint16(ip[6:], field)
	binary.BigEndian.PutUint16(ip[sumOffset4:], 0)
	binary.BigEndian.PutUint16(ip[sumOffset4:], ^checksum.Checksum(ip, 0))
	return dst, next
}

// appendFragmentHeader appends the header of a later fragment: of the options
// only those marked as copied.
func appendFragmentHeader(dst, head []byte) []byte {
	start := len(dst)
	dst = append(dst, head[:IPv4Header]...)
	for i := IPv4Header; i < len(head) && head[i] != optionEnd; {
		if head[i] == optionPadding {
			i++
			continue
		}
		if i+1 >= len(head) || head[i+1] < 2 || i+int(head[i+1]) > len(head) {
			break
		}
		size := int(head[i+1])
		if head[i]&optionCopied != 0 {
			dst = append(dst, head[i:i+size]...)
		}
		i += size
	}
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, optionEnd)
	}
	dst[start] = 0x40 | byte((len(dst)-start)/4)
	return dst
}

// appendFragment6 is AppendFragment for IPv6 (RFC 8200 section 4.5): the fragment
// header goes behind the headers that routers read, which every fragment repeats.
func (m *Meta) appendFragment6(dst, b []byte, mtu, from int) ([]byte, int) {
	start, link, at := len(dst), nextHeader6, IPv6Header
	for b[link] == protoHopByHop || b[link] == protoRouting {
		size := (int(b[at+1]) + 1) * extensionUnit
		if at+size > maxRepeated {
			break // a routing header that leads nowhere more may be fragmented too
		}
		link, at = at, at+size
	}
	dst = append(dst, b[:at]...)
	proto := b[link]
	dst[start+link] = protoFragment
	payload := b[at:m.Len]
	size, field, next := len(payload)-from, uint16(from), 0
	if at+extensionUnit+size > mtu {
		size = (mtu - at - extensionUnit) &^ 7
		next = from + size
		field |= 1
	}
	dst = append(dst, proto, 0, byte(field>>8), byte(field))
	dst = binary.BigEndian.AppendUint32(dst, m.FragID)
	dst = append(dst, payload[from:from+size]...)
	binary.BigEndian.PutUint16(dst[start+length6:], uint16(len(dst)-start-IPv6Header))
	return dst, next
}

// SetID writes the identification of the packet in b: at once into an IPv4
// header; for IPv6, whose whole packets have none, it is kept for AppendFragment.
func (m *Meta) SetID(b []byte, id uint32) {
	m.FragID = id
	if m.Version == 4 {
		m.FragID = uint32(uint16(id))
		apply(b[sumOffset4:], swap16(b[idOffset4:], uint16(id)))
	}
}
