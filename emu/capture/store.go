package capture

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

// chunkSize is the grain in which old packets give way to new ones.
const chunkSize = 256 << 10

// recordHeader is a record's length without its data: point u32, length u32,
// time i64, direction u8, kept bytes u32.
const recordHeader = 4 + 4 + 8 + 1 + 4

// record is a packet as it is remembered.
type record struct {
	point int
	packet
}

// store remembers the latest packets of all points within a bound.
type store struct {
	mu     sync.Mutex
	max    int // chunks
	chunks []chunk
	lost   uint64
}

// chunk holds records one after another.
type chunk struct {
	bytes   []byte
	records int
}

func newStore(memory int) *store {
	return &store{max: max(2, memory/chunkSize)}
}

// add remembers packets of a point.
func (s *store) add(point int, packets []packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range packets {
		s.room(recordHeader+len(packets[i].data)).append(point, &packets[i])
	}
}

// room is the latest chunk, with space for n more bytes. At the bound it is the
// oldest one emptied.
func (s *store) room(n int) *chunk {
	if k := len(s.chunks); k > 0 {
		if c := &s.chunks[k-1]; cap(c.bytes)-len(c.bytes) >= n {
			return c
		}
	}
	if len(s.chunks) < s.max {
		s.chunks = append(s.chunks, chunk{bytes: make([]byte, 0, chunkSize)})
	} else {
		old := s.chunks[0]
		s.lost += uint64(old.records)
		copy(s.chunks, s.chunks[1:])
		s.chunks[len(s.chunks)-1] = chunk{bytes: old.bytes[:0]}
	}
	return &s.chunks[len(s.chunks)-1]
}

func (c *chunk) append(point int, p *packet) {
	b := binary.NativeEndian.AppendUint32(c.bytes, uint32(point))
	b = binary.NativeEndian.AppendUint32(b, uint32(p.length))
	b = binary.NativeEndian.AppendUint64(b, uint64(p.at))
	leaving := byte(0)
	if p.leaving {
		leaving = 1
	}
	b = append(b, leaving)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(p.data)))
	c.bytes = append(b, p.data...)
	c.records++
}

func (s *store) displaced() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// sorted is a copy of all records in the order of time.
func (s *store) sorted() []record {
	s.mu.Lock()
	var copies [][]byte
	for _, c := range s.chunks {
		copies = append(copies, slices.Clone(c.bytes))
	}
	s.mu.Unlock()
	var out []record
	for _, b := range copies {
		for len(b) > 0 {
			n := recordHeader + int(binary.NativeEndian.Uint32(b[17:]))
			out = append(out, record{
				point: int(binary.NativeEndian.Uint32(b)),
				packet: packet{
					length:  int(binary.NativeEndian.Uint32(b[4:])),
					at:      int64(binary.NativeEndian.Uint64(b[8:])),
					leaving: b[16] == 1,
					data:    b[recordHeader:n],
				},
			})
			b = b[n:]
		}
	}
	slices.SortStableFunc(out, byTime)
	return out
}

func byTime(a, b record) int { return cmp.Compare(a.at, b.at) }
