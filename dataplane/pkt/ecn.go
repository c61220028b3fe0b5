package pkt

// ECN is what an IP header says of congestion, the two low bits of the IPv4 TOS
// field or the IPv6 traffic class (RFC 3168 section 5).
type ECN uint8

const (
	// NotECT: the ends do not understand marks.
	NotECT ECN = iota
	// ECT1 and ECT0: they do. TCP sends ECT0.
	ECT1
	ECT0
	// CE: a queue on the way had the packet wait too long.
	CE
	ecnMask = 3
)

// ecnShift6 is where the bits are in the second byte of IPv6: the traffic class
// straddles two.
const ecnShift6 = 4

// ECNOf reads the bits of an IP packet, which begins with a whole IP header.
func ECNOf(b []byte) ECN {
	if b[0]>>4 == 6 {
		return ECN(b[1] >> ecnShift6 & ecnMask)
	}
	return ECN(b[1] & ecnMask)
}

// SetECN writes the bits, and the IPv4 header's checksum by difference.
func SetECN(b []byte, e ECN) {
	if b[0]>>4 == 6 {
		b[1] = b[1]&^(ecnMask<<ecnShift6) | byte(e)<<ecnShift6
		return
	}
	old := uint16(b[1])
	b[1] = b[1]&^ecnMask | byte(e)
	// The version is in both words, and adds nothing to the difference.
	apply(b[sumOffset4:], delta(old, uint16(b[1])))
}

// Mark has a packet say that it met congestion, and reports whether it does: one
// whose ends do not understand marks stays as it is, and so does what is no IP.
func Mark(b []byte) bool {
	if !HasHeader(b) {
		return false
	}
	switch ECNOf(b) {
	case NotECT:
		return false
	case CE:
	default:
		SetECN(b, CE)
	}
	return true
}

// HasHeader reports whether b begins with a whole IP header, options left aside.
func HasHeader(b []byte) bool {
	return len(b) >= IPv4Header && b[0]>>4 == 4 || len(b) >= IPv6Header && b[0]>>4 == 6
}
