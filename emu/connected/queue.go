package connected

// queueMost is how many packets wait for a server's answer: enough for the
// first packets of a burst of connections, which would else begin with a
// timeout, and too few to be worth keeping for long.
const queueMost = 64

// queue holds finished packets until the tunnel is accepted. The newest is
// refused when it is full: the first ones are the SYNs.
type queue struct {
	size    int // of the longest packet
	packets [][]byte
	free    [][]byte
}

// put keeps a copy of the packet and reports whether there was room.
func (q *queue) put(packet []byte) bool {
	if len(q.packets) == queueMost || len(packet) > q.size {
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
