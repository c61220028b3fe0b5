package fragment

import (
	"encoding/binary"
	"math/bits"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Reassembler holds datagrams in progress. One goroutine calls it. It allocates
// while it grows towards its bounds and never after.
type Reassembler struct {
	limits Limits
	pages  pages
	// datagrams[0] is the sentinel of the queue by deadline; free is a list.
	datagrams []datagram
	free      int32
	live      int
	buckets   []int32
	whole     []byte
	timedOut  uint64
}

// datagram is one in progress, or the mark that one was refused.
type datagram struct {
	key      Key
	deadline vt.Instant
	pages    [datagramPages]int32
	// received and top are bytes of payload: how many, and the end of the
	// furthest. total is 0 until the last fragment is here.
	received, top, total int
	// chain is the next in the bucket, next and prev are the queue's.
	chain, next, prev int32
	headLen, link     uint8
	proto             uint8
	// ecn has one bit for each value of the congestion bits seen.
	ecn uint8
	// refused is why the datagram and all that still comes of it is dropped;
	// Incomplete while it is in progress.
	refused Result
	head    [maxHead]byte
}

// New makes a reassembler with these bounds.
func New(limits Limits) *Reassembler {
	limits = limits.withDefaults()
	return &Reassembler{
		limits:    limits,
		pages:     pages{limit: max(limits.Bytes/pageSize, 1)},
		datagrams: make([]datagram, 1),
		buckets:   make([]int32, 1<<bits.Len(uint(limits.Datagrams-1))),
	}
}

// Add takes the fragment in packet, from its IP header on; what follows the
// length in its header is link padding. key is what KeyOf reads of it; now
// never goes back.
//
// With Complete, whole is the packet as it was before it was fragmented: the
// first fragment's header with the whole's length, without fragment fields or
// fragment header and with IPv4's checksum, IPv4's identification kept and DF
// clear. It belongs to the reassembler and lasts until the next call of Add.
// packet is not kept.
func (r *Reassembler) Add(now vt.Instant, key Key, packet []byte) (whole []byte, result Result) {
	r.expire(now)
	var f fragment
	if result := f.parse(packet); result != Incomplete {
		return nil, result
	}
	if f.version != key.Version {
		return nil, Malformed
	}
	if f.atomic() {
		if tooLong(6, len(f.head), len(f.payload)) {
			return nil, TooLong
		}
		r.start(f.head)
		r.whole = append(r.whole, f.payload...)
		r.finish6(f.link, f.proto)
		return r.whole, Complete
	}
	n := r.find(&key)
	if n == 0 {
		if r.live >= r.limits.Datagrams {
			return nil, Full
		}
		n = r.open(now, &key)
	}
	d := &r.datagrams[n]
	if d.refused != Incomplete {
		return nil, d.refused
	}
	switch result = r.place(d, &f); result {
	case Complete:
		r.build(d)
		r.close(n)
		return r.whole, Complete
	case Incomplete, Duplicate:
	default:
		// The mark stays until the timeout: RFC 5722 section 4 has the
		// fragments not yet received discarded as well.
		r.pages.release(d)
		d.refused = result
	}
	return nil, result
}

// place puts f into d, and says Complete if that was the last piece.
func (r *Reassembler) place(d *datagram, f *fragment) Result {
	switch {
	case d.total != 0 && (f.end() > d.total || !f.more && f.end() != d.total),
		!f.more && f.end() < d.top:
		return Overlap
	case r.pages.touches(d, f):
		if r.pages.holds(d, f) {
			return Duplicate
		}
		return Overlap
	case r.pages.used+d.missing(f) > r.pages.limit:
		return Full
	}
	r.pages.store(d, f)
	d.received += len(f.payload)
	d.top = max(d.top, f.end())
	d.ecn |= 1 << f.ecn
	if !f.more {
		d.total = f.end()
	}
	if f.offset == 0 {
		copy(d.head[:], f.head)
		d.headLen, d.link, d.proto = uint8(len(f.head)), uint8(f.link), f.proto
	}
	switch {
	case tooLong(f.version, int(d.headLen), d.top) && d.headLen != 0:
		return TooLong
	case d.ecn&(1<<marked) != 0 && d.ecn&(1<<notECT) != 0:
		return Malformed
	case d.received == d.total:
		return Complete
	}
	return Incomplete
}

func (r *Reassembler) start(head []byte) {
	if r.whole == nil {
		r.whole = make([]byte, 0, pkt.IPv6Header+maxLength)
	}
	r.whole = append(r.whole[:0], head...)
}

// build writes the whole of d.
func (r *Reassembler) build(d *datagram) {
	r.start(d.head[:d.headLen])
	r.whole = r.pages.appendTo(r.whole, d)
	if d.key.Version == 4 {
		ip := r.whole[:d.headLen]
		if d.ecn&(1<<marked) != 0 {
			ip[1] |= marked // one marked fragment marks the whole (RFC 3168 section 5.3)
		}
		binary.BigEndian.PutUint16(ip[2:], uint16(len(r.whole)))
		// DF too: the sender has shown that it may be fragmented.
		binary.BigEndian.PutUint16(ip[6:], 0)
		binary.BigEndian.PutUint16(ip[10:], 0)
		binary.BigEndian.PutUint16(ip[10:], ^checksum.Checksum(ip, 0))
		return
	}
	if d.ecn&(1<<marked) != 0 {
		r.whole[1] |= marked << 4
	}
	r.finish6(int(d.link), d.proto)
}

// finish6 unlinks the fragment header and writes the length.
func (r *Reassembler) finish6(link int, proto uint8) {
	r.whole[link] = proto
	binary.BigEndian.PutUint16(r.whole[4:], uint16(len(r.whole)-pkt.IPv6Header))
}

// Expire gives up the datagrams whose time has come and returns how many timed
// out since the last call, those that Add met included. Refused ones, whose
// reason was told when it happened, are not counted.
func (r *Reassembler) Expire(now vt.Instant) (timedOut uint64) {
	r.expire(now)
	timedOut, r.timedOut = r.timedOut, 0
	return timedOut
}

func (r *Reassembler) expire(now vt.Instant) {
	for n := r.datagrams[0].next; n != 0 && !now.Before(r.datagrams[n].deadline); n = r.datagrams[0].next {
		if r.datagrams[n].refused == Incomplete {
			r.timedOut++
		}
		r.close(n)
	}
}

// NextWake is when Expire has something to do; vt.Never if nothing is held.
func (r *Reassembler) NextWake() vt.Instant {
	if n := r.datagrams[0].next; n != 0 {
		return r.datagrams[n].deadline
	}
	return vt.Never
}

// Usage is what a reassembler holds.
type Usage struct {
	// Datagrams in progress, or refused and not yet forgotten.
	Datagrams int
	// Bytes of memory for their payload.
	Bytes int
}

// Usage tells how near the bounds are.
func (r *Reassembler) Usage() Usage {
	return Usage{Datagrams: r.live, Bytes: r.pages.used * pageSize}
}

func (r *Reassembler) bucket(k *Key) *int32 {
	h := flow.Combine(r.limits.Seed, k.Hash(r.limits.Seed), uint64(k.ID)|uint64(k.Version)<<32)
	return &r.buckets[h&uint64(len(r.buckets)-1)]
}

func (r *Reassembler) find(k *Key) int32 {
	n := *r.bucket(k)
	for n != 0 && r.datagrams[n].key != *k {
		n = r.datagrams[n].chain
	}
	return n
}

// open adds an empty datagram at the end of the queue: all have one timeout,
// so that the queue is in order of deadlines.
func (r *Reassembler) open(now vt.Instant, k *Key) int32 {
	n := r.free
	if n != 0 {
		r.free = r.datagrams[n].next
	} else {
		n = int32(len(r.datagrams))
		r.datagrams = append(r.datagrams, datagram{})
	}
	r.live++
	head := r.bucket(k)
	last := r.datagrams[0].prev
	r.datagrams[n] = datagram{key: *k, deadline: now.Add(r.limits.Timeout), chain: *head, prev: last}
	*head = n
	r.datagrams[last].next, r.datagrams[0].prev = n, n
	return n
}

func (r *Reassembler) close(n int32) {
	d := &r.datagrams[n]
	r.pages.release(d)
	at := r.bucket(&d.key)
	for *at != n {
		at = &r.datagrams[*at].chain
	}
	*at = d.chain
	r.datagrams[d.prev].next, r.datagrams[d.next].prev = d.next, d.prev
	d.next, r.free = r.free, n
	r.live--
}
