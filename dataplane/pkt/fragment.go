package pkt

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

const (
	moreFragments = 0x2000
	optionCopied  = 0x80 // RFC 791: this option goes into every fragment
)

// AppendFragment appends the next fragment of the IPv4 packet b for a link of
// mtu bytes, starting at payload offset from, and returns where the one after
// starts, or 0 after the last (RFC 791 section 3.2). The packet has DF clear,
// its checksum is complete, and mtu holds at least its header and eight bytes.
func (m *Meta) AppendFragment(dst, b []byte, mtu, from int) ([]byte, int) {
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
