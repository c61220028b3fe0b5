// Package fragment puts fragmented IPv4 and IPv6 packets together again, in
// bounded memory (RFC 791 section 3.2, RFC 815, RFC 8200 section 4.5).
//
// It decides nothing about a packet: who sent it, which server is its home and
// where the whole goes are told or asked elsewhere. Its law, checked against a
// list in the tests: a whole leaves only when every byte of it came in exactly
// one fragment, or in exact copies of it; a datagram of which two fragments
// overlap or contradict each other never leaves (RFC 5722), so that nobody can
// show a policy one packet and a host another.
package fragment

import (
	"time"

	"github.com/homeward-lab/homeward/dataplane/drop"
)

// Limits bound a reassembler. A field that is zero or less takes its default.
type Limits struct {
	// Datagrams is how many are in progress at once: 1024 by default.
	Datagrams int
	// Bytes is the memory for payload: 4 MiB by default. It is given out in
	// pages of 2 KiB, so that small fragments far apart cost what they occupy.
	Bytes int
	// Timeout is how long a datagram may take from its first fragment to
	// arrive: 30 s by default. (RFC 8200 allows 60 s, RFC 791 suggests 15.)
	Timeout time.Duration
	// Seed keys the table, so that who does not know it cannot aim at a bucket.
	Seed uint64
}

// Defaults of Limits.
const (
	DefaultDatagrams = 1024
	DefaultBytes     = 4 << 20
	DefaultTimeout   = 30 * time.Second
)

func (l Limits) withDefaults() Limits {
	if l.Datagrams <= 0 {
		l.Datagrams = DefaultDatagrams
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Timeout <= 0 {
		l.Timeout = DefaultTimeout
	}
	return l
}

// Result is what became of a fragment.
type Result uint8

const (
	// Incomplete: kept, more is to come.
	Incomplete Result = iota
	// Complete: the whole packet is returned.
	Complete
	// Duplicate: an exact copy of a fragment that is here; ignored (RFC 8200
	// section 4.5). Its datagram goes on.
	Duplicate
	// Overlap: the fragment shares bytes with another one, or contradicts it
	// about where the datagram ends. The whole datagram is dropped, with what
	// still comes of it until its timeout (RFC 5722 section 4).
	Overlap
	// TooLong: the whole would be longer than 65,535 bytes, or has more than
	// 128 bytes of header before the fragmented part.
	TooLong
	// Tiny: the first fragment does not show the transport header, or this one
	// would hide part of it (RFC 1858 section 3, RFC 7112 section 5).
	Tiny
	// Full: a bound is reached. Datagrams in progress are not evicted for new
	// ones; a datagram that itself finds no page is dropped, because it can
	// never complete.
	Full
	// Malformed: no fragment, headers that lie about lengths or checksum, a
	// length that no fragment can have, or fragments with and without
	// congestion marks of which no honest whole can be made (RFC 3168 section
	// 5.3).
	Malformed
	results
)

var resultNames = [results]string{"incomplete", "complete", "duplicate", "overlap", "too_long", "tiny", "full", "malformed"}

// String is the metric label: lower case, words joined by underscores.
func (r Result) String() string {
	if r < results {
		return resultNames[r]
	}
	return "result?"
}

// Reason is the drop reason of the fragment: None while its bytes live on in
// the reassembler or in the whole.
func (r Result) Reason() drop.Reason {
	switch r {
	case Incomplete, Complete:
		return drop.None
	case Malformed, TooLong, Tiny:
		return drop.Malformed
	case Overlap:
		return drop.Overlap
	case Full:
		return drop.ReassemblyFull
	default:
		return drop.Fragment
	}
}
