package tunnel

import "github.com/homeward-lab/homeward/dataplane/pkt"

// Unwrapped has the packet that comes out of a tunnel say what its outer header
// said of congestion, by the table of RFC 6040 section 4.2:
//
//	           | outer
//	inner      | Not-ECT   ECT(0)    ECT(1)    CE
//	-----------+----------------------------------------
//	Not-ECT    | Not-ECT   Not-ECT   Not-ECT   drop
//	ECT(0)     | ECT(0)    ECT(0)    ECT(1)    CE
//	ECT(1)     | ECT(1)    ECT(1)    ECT(1)    CE
//	CE         | CE        CE        CE        CE
//
// It is false for the one that has to be dropped: what it carries understands no
// mark, and the queue that marked it would have dropped it. inner is an IP packet
// with its whole header, or is left as it is.
//
// The other half, that the outer header begins with the inner one's bits (normal
// mode, section 4.1), is AppendHeader's.
func Unwrapped(outer pkt.ECN, inner []byte) bool {
	if outer == pkt.NotECT || outer == pkt.ECT0 {
		return true // nearly all: nothing happened on the way
	}
	return unwrapped(outer, inner)
}

//go:noinline
func unwrapped(outer pkt.ECN, inner []byte) bool {
	if !pkt.HasHeader(inner) {
		return true
	}
	was := pkt.ECNOf(inner)
	switch {
	case was == pkt.CE:
	case was == pkt.NotECT:
		return outer != pkt.CE
	case was != outer:
		pkt.SetECN(inner, outer)
	}
	return true
}

// ECNOf is what the outer header of a packet begins with: of what is no IP packet,
// such as the context of a connected tunnel, not-ECT.
func ECNOf(inner []byte) pkt.ECN {
	if !pkt.HasHeader(inner) {
		return pkt.NotECT
	}
	return pkt.ECNOf(inner)
}
