package control

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// RuntimeEnv names the environment variable with the one directory in which
// labs are looked for, in place of the usual ones.
const RuntimeEnv = "HOMEWARD_RUNTIME_DIR"

const (
	socketSuffix = ".sock"
	logSuffix    = ".log"
)

// longestAddress is what fits a socket's address (linux/un.h), its end included.
const longestAddress = 107

var name = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`) })

// CheckName refuses what cannot be a lab's name.
func CheckName(n string) error {
	if !name().MatchString(n) {
		return Usagef("%q cannot be the name of a lab: want lower-case letters, digits, '_', '-' and '.', at most 64, a letter or digit first", n)
	}
	return nil
}

// dirs are where this user's labs may be, the preferred one first. A lab that
// was brought up by sudo is found from a root shell too, although one has an
// XDG_RUNTIME_DIR and the other has none.
func dirs() []string {
	if d := os.Getenv(RuntimeEnv); d != "" {
		return []string{d}
	}
	var all []string
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		all = append(all, filepath.Join(d, "homeward"))
	}
	if user() == 0 {
		all = append(all, rootsDir)
	}
	return append(all, filepath.Join(os.TempDir(), fmt.Sprintf("homeward-%d", user())))
}

// rootsDir is where labs are that root brought up.
const rootsDir = "/run/homeward"

// RootHas says whether there may be labs of root's that this user cannot see.
func RootHas() bool {
	if user() == 0 || os.Getenv(RuntimeEnv) != "" {
		return false
	}
	_, err := os.Stat(rootsDir)
	return err == nil
}

// user is this process' user as the machine knows it: in a user namespace, where
// one is called root, the number outside. Keepers are inside, commands may not be.
func user() int {
	own := os.Geteuid()
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return own
	}
	for line := range strings.Lines(string(text)) { // user_namespaces(7)
		var inside, outside, n int
		if _, err := fmt.Sscan(line, &inside, &outside, &n); err == nil && own >= inside && own-inside < n {
			return outside + own - inside
		}
	}
	return own
}

// mostTries to make a directory that the last lab takes along as it ends: enough for
// labs that end and begin at once.
const mostTries = 10

// private makes a directory if need be and says whether it is this user's
// alone: a socket in another's directory could be anybody's.
func private(dir string) (err error) {
	for range mostTries {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err = ours(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

func ours(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "look at", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no directory", dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, and this is user %d", dir, st.Uid, os.Geteuid())
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%s is open to others: want mode 0700", dir)
	}
	return nil
}

// own is the directory for new labs.
func own() (string, error) {
	var errs []error
	for _, d := range dirs() {
		err := private(d)
		if err == nil {
			return d, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no directory for the control socket: %w", errors.Join(errs...))
}

// within calls f with a name of the directory that is short enough to be part
// of a socket's address.
func within(dir string, f func(dir string) error) error {
	if len(dir)+1+64+len(socketSuffix) <= longestAddress {
		return f(dir)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
}

// locked runs f while no other process makes or removes sockets in the directory.
func locked(dir string, f func() error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	locked, err := d.Stat()
	if err != nil {
		return err
	}
	// Who waited may have waited for one who took the directory away.
	if named, err := os.Stat(dir); err != nil {
		return err
	} else if !os.SameFile(locked, named) {
		return &fs.PathError{Op: "lock", Path: dir, Err: fs.ErrNotExist}
	}
	return f()
}

// TakenError says that there is a lab of this name.
type TakenError struct{ Name string }

// Error says what can be done.
func (e *TakenError) Error() string {
	return fmt.Sprintf("a lab named %s is up already: choose another name with --name, or take it down with homeward down %[1]s", e.Name)
}

// Claim is a lab's place: its socket, and a file for what its keeper says last.
type Claim struct {
	*net.UnixListener
	Log  *os.File
	name string
	dir  string
}

// Listen claims the name. A socket that a dead keeper left is taken over; a
// living one is a *TakenError.
func Listen(name string) (*Claim, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	for _, d := range dirs() { // also where new labs do not go
		if ours(d) == nil && alive(&Lab{name, d}) {
			return nil, &TakenError{name}
		}
	}
	for tries := 0; ; tries++ {
		dir, err := own()
		if err != nil {
			return nil, err
		}
		c := &Claim{name: name, dir: dir}
		err = locked(dir, func() error {
			if alive(&Lab{name, dir}) {
				return &TakenError{name}
			}
			if err := remove(dir, name); err != nil {
				return err
			}
			return c.listen()
		})
		// The last lab that ended meanwhile took the directory along.
		if tries == mostTries || !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
}

func (c *Claim) listen() error {
	err := within(c.dir, func(dir string) (err error) {
		c.UnixListener, err = net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/" + c.name + socketSuffix, Net: "unix"})
		return err
	})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	c.SetUnlinkOnClose(false) // its name may be a descriptor's
	err = os.Chmod(filepath.Join(c.dir, c.name+socketSuffix), 0o600)
	if err == nil {
		c.Log, err = os.OpenFile(filepath.Join(c.dir, c.name+logSuffix), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("control socket: %w", err), c.UnixListener.Close(), remove(c.dir, c.name))
	}
	return nil
}

// Close gives the name free. Whoever finds nobody listening finds no file either.
func (c *Claim) Close() error {
	err := locked(c.dir, func() error {
		defer leave(c.dir)
		return remove(c.dir, c.name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody removed the whole directory
	}
	return errors.Join(err, c.UnixListener.Close(), c.Log.Close())
}

// leave removes the directory after its last lab, unless the user chose it.
func leave(dir string) {
	if os.Getenv(RuntimeEnv) == "" {
		_ = os.Remove(dir) // which fails while there is another lab
	}
}

// remove takes the socket away last: without it the lab is gone, and so must be
// all else of it.
func remove(dir, name string) error {
	var errs []error
	for _, suffix := range []string{logSuffix, socketSuffix} {
		if err := os.Remove(filepath.Join(dir, name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// alive says whether somebody listens.
func alive(l *Lab) bool {
	c, err := l.dial()
	if err != nil {
		return !errors.Is(err, ErrKeeperGone)
	}
	c.close()
	return true
}

// Gone is a lab whose keeper died without taking its socket along.
type Gone struct {
	Name string
	// Words are the last that its keeper said, if any.
	Words string
}

// Labs are this user's labs, by name. What dead keepers left is removed, and
// told.
func Labs() (labs []*Lab, gone []Gone, err error) {
	for _, dir := range dirs() {
		if bad := ours(dir); errors.Is(bad, fs.ErrNotExist) {
			continue
		} else if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		sockets, _ := filepath.Glob(filepath.Join(dir, "*"+socketSuffix))
		for _, path := range sockets {
			l := &Lab{strings.TrimSuffix(filepath.Base(path), socketSuffix), dir}
			if alive(l) {
				labs = append(labs, l)
				continue
			}
			g, bad := sweep(l)
			if err = errors.Join(err, bad); g != nil {
				gone = append(gone, *g)
			}
		}
	}
	slices.SortFunc(labs, func(a, b *Lab) int { return cmp.Compare(a.Name, b.Name) })
	return labs, gone, err
}

// sweep removes what a dead keeper left, unless the name has a new one by now.
func sweep(l *Lab) (g *Gone, err error) {
	err = locked(l.dir, func() error {
		if alive(l) {
			return nil
		}
		words, _ := os.ReadFile(filepath.Join(l.dir, l.Name+logSuffix))
		defer leave(l.dir)
		g = &Gone{l.Name, strings.TrimSpace(string(words[max(0, len(words)-lastWords):]))}
		return remove(l.dir, l.Name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // another has swept
	}
	return g, err
}

// lastWords is how much of a dead keeper's log is told, bytes.
const lastWords = 2 << 10
