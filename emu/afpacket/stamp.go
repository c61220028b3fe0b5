package afpacket

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stampMessage is the control message with the kernel's time of a frame's arrival, by
// the wall clock (socket(7), SO_TIMESTAMPNS).
type stampMessage struct {
	hdr unix.Cmsghdr
	at  unix.Timespec
}

// Stamp has the kernel tell when frames came, of each batch of the first, which has
// waited longest. The others cost nothing. The kernel begins to stamp a little after it
// was asked to: of frames until then it tells that they did not wait.
func (r *Receiver) Stamp() error {
	for _, s := range r.sockets {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return fmt.Errorf("SO_TIMESTAMPNS: %w", err)
		}
	}
	r.stamped = true
	return nil
}

// askStamp gives the next batch's first frame room for its stamp, which the kernel
// has taken.
func (r *Receiver) askStamp() {
	m := &r.msgs[0].hdr
	r.stamp.hdr = unix.Cmsghdr{}
	m.Control = (*byte)(unsafe.Pointer(&r.stamp))
	m.SetControllen(int(unsafe.Sizeof(r.stamp)))
}

// stampTrust bounds how long ago a stamp can say that a frame came: beyond it, the
// wall clock was set.
const stampTrust = 10 * time.Second

// Waited is how long the first frame of the last batch, which was not empty, has
// waited until now; 0 if nobody knows.
func (r *Receiver) Waited(now time.Time) time.Duration {
	if !r.stamped || r.stamp.hdr.Level != unix.SOL_SOCKET || r.stamp.hdr.Type != unix.SO_TIMESTAMPNS {
		return 0
	}
	d := time.Duration(now.UnixNano() - r.stamp.at.Nano())
	if d < 0 || d > stampTrust {
		return 0
	}
	return d
}
