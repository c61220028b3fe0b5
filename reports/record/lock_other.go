//go:build !unix

package record

import (
	"errors"
	"io/fs"
	"os"
)

// takeLock holds path by being the one that made it. A killed process leaves
// it behind, and then the directory has to be removed by hand.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrInUse
	}
	return f, err
}

// dropLock closes first: an open file cannot be removed everywhere.
func dropLock(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
