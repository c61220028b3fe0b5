// Package tail keeps the last part of what a process says: where its error is.
package tail

import "sync"

// Tail keeps the last bytes that were written to it. It is safe for concurrent use.
type Tail struct {
	max int

	mu  sync.Mutex
	buf []byte
}

// New keeps max bytes.
func New(max int) *Tail { return &Tail{max: max} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String is what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
