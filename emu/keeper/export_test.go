package keeper

import (
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
)

// Watch numbers all namespaces of a lab in the namespace of the calling
// process, which is to outlive the lab.
func Watch(l *Lab) error {
	conn, err := dial()
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

// AliveIn are the numbers in space of namespaces that still exist.
func AliveIn(space *netns.NS) ([]int, error) {
	w, err := witnessIn(space)
	if err != nil {
		return nil, err
	}
	defer w.conn.Close()
	return w.alive()
}

// Inode is the number of a namespace in /proc.
func Inode(space *netns.NS) (uint64, error) { return inode(space) }

// SetPatience shortens the wait for a lab's end.
func SetPatience(l *Lab, d time.Duration) { l.patience = d }

// HastenGoodbyes is what Close does to connections that nobody holds.
func HastenGoodbyes(space *netns.NS) { hastenGoodbyes(space) }
