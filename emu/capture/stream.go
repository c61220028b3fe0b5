package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamPause is how often packets are written. A reader sees them this much,
	// and the kernel's blockTimeout, after they passed.
	streamPause = 50 * time.Millisecond
	// streamOrder is how late one point may tell of a packet: what is younger
	// waits, so that packets of all points are in the order of time.
	streamOrder = 2 * blockTimeout
	// streamMemory bounds what waits for a slow reader, bytes. Beyond it packets
	// stay in the rings, and what does not fit there is counted as dropped.
	streamMemory = 16 << 20
)

// Stream says what to write while it happens.
type Stream struct {
	Points []Point
	// Snap is how many bytes of a packet are kept; 0 means all.
	Snap int
	// Filter is a classic BPF program; nil takes every packet.
	Filter []unix.SockFilter
	// Expression is what Filter was compiled from; the file says it.
	Expression string
	// Count of packets after which it ends; 0 means never.
	Count uint64
	// Listening, if not nil, is called when nothing is missed any more.
	Listening func()
	// Follow, if not nil, is told how to add interfaces (Capture.Beside), and
	// returns what ends that.
	Follow func(c *Capture) (cancel func())
}

// Streamed is what a stream wrote, and what the kernel could not queue for it.
type Streamed struct{ Packets, Dropped uint64 }

// Run writes packets to w as they pass, as one pcapng file, until ctx ends (no
// error), as many as Count are written, or a write fails.
func (s Stream) Run(ctx context.Context, lab Spaces, w io.Writer) (Streamed, error) {
	if len(s.Points) == 0 {
		return Streamed{}, errors.New("capture: no point to listen at")
	}
	if s.Snap == 0 {
		s.Snap = maxSnap
	}
	if s.Snap < 0 || s.Snap > maxSnap {
		return Streamed{}, fmt.Errorf("capture: snap length %d: want 1 to %d", s.Snap, maxSnap)
	}
	q := &queue{}
	q.room.L = &q.mu
	c := &Capture{points: s.Points, snap: s.Snap, start: time.Now(), filter: s.Filter, take: q.add}
	if err := c.listen(lab); err != nil {
		q.end()
		return Streamed{}, errors.Join(err, c.Close())
	}
	if s.Follow != nil {
		defer s.Follow(c)()
	}
	done, err := s.write(ctx, c, q, w)
	q.end() // lets go of readers that wait for room
	return done, errors.Join(err, c.Close())
}

// write is the stream's own loop.
func (s Stream) write(ctx context.Context, c *Capture, q *queue, w io.Writer) (done Streamed, err error) {
	out, err := newFile(w, s.Points, s.Snap, s.Expression)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return done, err
	}
	if s.Listening != nil {
		s.Listening()
	}
	ticks := time.NewTicker(streamPause)
	defer ticks.Stop()
	for last := false; !last; {
		horizon := time.Now().Add(-streamOrder)
		select {
		case <-ticks.C:
		case <-ctx.Done():
			last = true
			c.flush()
			horizon = time.Now()
		}
		for _, r := range q.until(horizon.UnixNano()) {
			if s.Count > 0 && done.Packets == s.Count {
				last = true
				break
			}
			if err := writeRecord(out, &r); err != nil {
				return done, err
			}
			done.Packets++
		}
		last = last || s.Count > 0 && done.Packets == s.Count
		if err := out.Flush(); err != nil {
			return done, err
		}
	}
	points, _ := c.Stats()
	for _, p := range points {
		done.Dropped += p.Dropped
	}
	return done, errors.Join(writeStats(out, points, c.start), out.Flush())
}

// queue holds packets of all points until they are written.
type queue struct {
	mu    sync.Mutex
	room  sync.Cond
	held  []record
	bytes int
	ended bool
}

func (q *queue) add(point int, packets []packet) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > streamMemory && !q.ended {
		q.room.Wait()
	}
	for _, p := range packets {
		p.data = slices.Clone(p.data) // the kernel's, until we return
		q.held = append(q.held, record{point, p})
		q.bytes += len(p.data)
	}
}

// until takes the packets up to a moment (ns since 1970), in the order of time.
// Where more is held than waits gladly, it takes all.
func (q *queue) until(moment int64) []record {
	q.mu.Lock()
	defer q.mu.Unlock()
	slices.SortStableFunc(q.held, byTime)
	n := len(q.held)
	if q.bytes <= streamMemory {
		for n = 0; n < len(q.held) && q.held[n].at <= moment; n++ {
		}
	}
	out := slices.Clone(q.held[:n])
	q.held = slices.Delete(q.held, 0, n)
	for i := range out {
		q.bytes -= len(out[i].data)
	}
	q.room.Broadcast()
	return out
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.room.Broadcast()
}
