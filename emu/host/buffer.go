package host

import "sync"

// Payload is made, sent, read and checked in chunks: large ones are enough for
// superpackets, small ones let thousands of small flows be open at once.
const (
	smallChunk = 8 << 10
	largeChunk = 64 << 10
)

// buffers are chunks for reuse. The zero value is ready.
type buffers struct{ small, large sync.Pool }

// get returns a buffer for payloads of up to size bytes at a time, and a
// function that takes it back.
func (b *buffers) get(size int64) (buf []byte, put func()) {
	// An HTTP head shares the buffer with the first payload.
	pool, n := &b.small, smallChunk
	if size > smallChunk-1024 {
		pool, n = &b.large, largeChunk
	}
	p, ok := pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, n)
		p = &fresh
	}
	return *p, func() { pool.Put(p) }
}
