package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// suffix of notes, and the beginning of the names of those that are made.
	suffix = ".json"
	fresh  = "new-"
)

// open makes the note's file, locked.
func (c *Uplink) open() error {
	if err := os.MkdirAll(c.options.State, 0o700); err != nil {
		return err
	}
	// Under a name that Sweep does not look at until the lock is taken.
	f, err := os.CreateTemp(c.options.State, fresh)
	if err != nil {
		return err
	}
	c.file = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return c.abandon(err)
	}
	if err := c.write(); err != nil {
		return c.abandon(err)
	}
	c.path = filepath.Join(c.options.State, c.note.Container+suffix)
	if err := os.Rename(f.Name(), c.path); err != nil {
		return c.abandon(err)
	}
	return nil
}

func (c *Uplink) abandon(err error) error {
	err = errors.Join(err, forget(c.file.Name()), c.file.Close())
	c.file = nil
	return err
}

// forget removes a note, and the folder if it was the last.
func forget(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(path)) // there are others
	return nil
}

// write writes the note in place, because a lock is a file's own and not its
// name's, and at once.
func (c *Uplink) write() error {
	text, err := json.Marshal(c.note)
	if err != nil {
		return err
	}
	if _, err := c.file.WriteAt(text, 0); err != nil {
		return err
	}
	return c.file.Truncate(int64(len(text)))
}

// Sweep takes back the connections of processes that are gone, and returns how
// many there were. What cannot be taken back stays noted, and is an error.
func Sweep(ctx context.Context, o Options) (swept int, err error) {
	o = o.withDefaults()
	files, err := filepath.Glob(filepath.Join(o.State, "*"+suffix))
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, path := range files {
		if ctx.Err() != nil {
			break
		}
		gone, err := o.sweep(ctx, path)
		if err != nil {
			errs = append(errs, fmt.Errorf("take back what %s notes: %w", path, err))
		} else if gone {
			swept++
		}
	}
	return swept, errors.Join(errs...)
}

// sweep takes back one connection, unless somebody owns it.
func (o Options) sweep(ctx context.Context, path string) (gone bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // somebody else was faster
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var n note
	if err := json.NewDecoder(f).Decode(&n); err != nil {
		return false, err
	}
	if err := n.del(ctx, "", o); err != nil {
		return false, err
	}
	return true, forget(path)
}
