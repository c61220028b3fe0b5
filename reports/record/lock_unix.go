//go:build unix

package record

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// takeLock holds path with flock, which the kernel gives free when the process
// dies, however it dies. The file's text is the holder's process id.
func takeLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			defer f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, inUse(path)
			}
			return nil, err
		}
		// The holder before us may have removed the file between our open and
		// our lock; then we hold a file that nobody else can find.
		held, err1 := f.Stat()
		found, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, found) {
			err := errors.Join(f.Truncate(0), writePid(f))
			if err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		}
		f.Close()
	}
}

func writePid(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// inUse names the holder where its lock says who it is.
func inUse(path string) error {
	text, err := os.ReadFile(path)
	if pid, errPid := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && errPid == nil {
		return &inUseError{pid: pid}
	}
	return ErrInUse
}

// inUseError is ErrInUse with the holder's process id.
type inUseError struct{ pid int }

func (e *inUseError) Error() string {
	return ErrInUse.Error() + " (process " + strconv.Itoa(e.pid) + ")"
}
func (e *inUseError) Unwrap() error { return ErrInUse }

// dropLock removes the file while it is still held, so that no other process
// can take a lock that is about to vanish.
func dropLock(f *os.File) error { return errors.Join(os.Remove(f.Name()), f.Close()) }
