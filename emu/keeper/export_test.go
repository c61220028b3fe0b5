package keeper

import (
	"time"

	"github.com/homeward-lab/homeward/emu/netns"
)

// Inode is the number of a namespace in /proc.
func Inode(space *netns.NS) (uint64, error) { return inode(space) }

// SetPatience shortens the wait for a lab's end.
func SetPatience(l *Lab, d time.Duration) { l.patience = d }

// HastenGoodbyes is what Close does to connections that nobody holds.
func HastenGoodbyes(space *netns.NS) error {
	return netns.Tour(func(t *netns.Thread) error { hastenGoodbyes(t, space); return nil })
}
