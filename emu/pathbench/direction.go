package pathbench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is measured of a way that has flows is a packet of either direction, as many
// of one as of the other: one out of the tunnel to the Internet, translated, and one
// from the Internet back into the tunnel. Of plain routing both are the same: as
// many bytes of a packet, without any tunnel.

// repeat has a packet measured.
func (r *room) repeat(packet []byte) error {
	s, err := newSource(r.index, append(slices.Clone(r.frame), packet...))
	if err != nil {
		return err
	}
	r.sources = append(r.sources, s)
	r.closers = append(r.closers, s.close)
	return nil
}

// measure notes what a packet of each source takes, which share the length, and
// the mean of those.
func (r *room) measure(length time.Duration) error {
	sum := 0.0
	for i, s := range r.sources {
		ns, err := r.cost(s, length/time.Duration(len(r.sources)))
		if err != nil {
			return err
		}
		r.each[i] = append(r.each[i], ns)
		sum += ns
	}
	r.ns = append(r.ns, sum/float64(len(r.sources)))
	return nil
}

// cost floods for so long and returns the processor time, ns, for each packet that
// came out: the sender's, in which the kernel forwards, and the servers'.
//
// What is in userspace gets no more than it can take: what it loses would be counted
// to what it does. How much that is, a first flood tells.
func (r *room) cost(s *source, length time.Duration) (float64, error) {
	every := time.Duration(0)
	if r.way.userspace {
		const share = 4 // of the time, for the first; and of what it tells, as leisure
		first, err := r.flood(s, length/share, 0)
		if err != nil {
			return 0, err
		}
		every = time.Duration(together * first.servers * (share + 1) / share)
	}
	got, err := r.flood(s, length, every)
	return got.source + got.servers, err
}

// spent is processor time for each packet that came out, ns.
type spent struct{ source, servers float64 }

// flood sends for so long, batches so far apart.
func (r *room) flood(s *source, length, every time.Duration) (spent, error) {
	before, err := r.delivered()
	if err != nil {
		return spent{}, err
	}
	servers, err := r.agentsTime()
	if err != nil {
		return spent{}, err
	}
	source, err := r.send(s, length, every)
	if err != nil {
		return spent{}, err
	}
	after, err := r.settled(before)
	if err != nil {
		return spent{}, err
	}
	later, err := r.agentsTime()
	if err != nil {
		return spent{}, err
	}
	n := float64(after - before)
	if n < enough {
		return spent{}, fmt.Errorf("only %.0f packets came out", n)
	}
	return spent{float64(source) / n, float64(later-servers) / n}, nil
}

// enough packets say something.
const enough = 1000

// settled is how many packets have come back when no more do. On a busy machine a
// server may have had no processor yet.
func (r *room) settled(before uint64) (n uint64, err error) {
	const look, looks = 30 * time.Millisecond, 50
	last := before
	for range looks {
		time.Sleep(look)
		if n, err = r.delivered(); err != nil || n == last && n >= before+enough {
			return n, err
		}
		last = n
	}
	return n, nil
}

// send is flood's sending, from a thread of its own, whose processor time it
// returns, ns, less what it waited.
func (r *room) send(s *source, length, every time.Duration) (took time.Duration, err error) {
	const frames = 1 << 18
	n := frames
	if every > 0 {
		n = min(n, int(length/every+1)*together)
	}
	err = r.lab.NS("lhr.edge").Do(func() error { // Do keeps to one thread
		began := threadTime()
		for end := time.Now().Add(length); time.Now().Before(end); {
			waited, err := s.send(n, every)
			if err != nil {
				return err
			}
			took -= waited
		}
		took += time.Duration(threadTime() - began)
		return nil
	})
	return took, err
}

func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // cannot fail: the clock exists
	return ts.Nano()
}

// delivered is how many packets have come back to the edge.
func (r *room) delivered() (n uint64, err error) {
	err = r.lab.NS("lhr.edge").Do(func() error {
		l, err := netlink.LinkByName(r.edge)
		if err == nil {
			n = l.Attrs().Statistics.RxPackets
		}
		return err
	})
	return n, err
}

// agentsTime is the processor time of all servers' processes, ns, or of the thread
// that is in their place.
func (r *room) agentsTime() (total int64, err error) {
	places := []string{}
	for _, pid := range r.lab.Pids() {
		places = append(places, fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	}
	if r.thread != nil {
		places = append(places, fmt.Sprintf("/proc/self/task/%d/schedstat", r.thread.Load()))
	}
	for _, place := range places {
		tasks, err := filepath.Glob(place)
		if err != nil {
			return 0, err
		}
		for _, file := range tasks {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread is gone, and so is what it did: nothing here
			}
			f := strings.Fields(string(text)) // on the processor, waiting, times
			if len(f) < 1 {
				return 0, fmt.Errorf("%s: %q", file, text)
			}
			ns, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			total += ns
		}
	}
	return total, nil
}
