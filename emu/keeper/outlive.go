package keeper

import (
	"fmt"
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/emu/rtnl"
)

// A keeper that is killed cannot look whether everything is gone. Somebody who
// outlives it can, in a namespace in which the keeper was started and has numbered
// those of its lab.

// Watch numbers all namespaces of the lab in the namespace of the calling
// process, which is to outlive the lab.
func (l *Lab) Watch() error {
	conn, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &witness{conn: conn}
	for i, id := range l.order {
		if err := w.watch(l.spaces[id], i); err != nil {
			return err
		}
	}
	return nil
}

// AliveIn is how many namespaces that were numbered in space still exist; many
// may be told as fewer, never as none.
func AliveIn(space *netns.NS) (int, error) {
	w, err := witnessIn(space)
	if err != nil {
		return 0, err
	}
	defer w.conn.Close()
	left, err := w.alive()
	return len(left), err
}

// Gone waits until none of them is left that anybody could find.
func Gone(space *netns.NS, patience time.Duration) error {
	w, err := witnessIn(space)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	left, err := w.drained(patience)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d namespaces still exist after %v", len(left), patience)
	}
	return err
}

// Settled waits until the kernel has cleaned up behind namespaces that are gone.
func Settled(space *netns.NS) error {
	w, err := witnessIn(space)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	return w.settled(0)
}
