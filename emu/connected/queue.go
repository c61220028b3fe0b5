package connected

import "github.com/homeward-lab/homeward/dataplane/connected"

// queue holds finished packets until the tunnel is accepted.
type queue struct {
	size    int // of the longest packet
	packets [][]byte
	free    [][]byte
}

// put keeps a copy of the packet and reports whether there was room.
func (q *queue) put(packet []byte) bool {
	if len(q.packets) == connected.Waiting || len(packet) > q.size {
		return false
	}
	var b []byte
	if n := len(q.free); n > 0 {
		b, q.free = q.free[n-1], q.free[:n-1]
	} else {
		b = make([]byte, 0, q.size)
	}
	q.packets = append(q.packets, append(b[:0], packet...))
	return true
}

// drain hands all packets to f, oldest first.
func (q *queue) drain(f func(packet []byte)) {
	for _, p := range q.packets {
		f(p)
		q.free = append(q.free, p)
	}
	q.packets = q.packets[:0]
}
