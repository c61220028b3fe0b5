package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
)

// inode is the number by which /proc knows a namespace.
func inode(ns *netns.NS) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ns.Fd(), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// netLink reads the namespace that a link in /proc points to, 0 if it points
// to none, or is gone, or is not ours to read.
func netLink(path string) uint64 {
	s, err := os.Readlink(path)
	if err != nil {
		return 0
	}
	s, ok := strings.CutPrefix(s, "net:[")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func processNet(pid int) uint64 { return netLink(fmt.Sprintf("/proc/%d/ns/net", pid)) }

// processes are the numbers of all processes that can be seen.
func processes() ([]int, error) {
	names, err := entries("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func entries(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// inside are the processes, other than this one, in one of the namespaces.
func inside(inodes map[uint64]string) ([]int, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		_, ok := inodes[processNet(pid)]
		return !ok || pid == os.Getpid()
	}), nil
}

// holders describes who holds one of the namespaces: processes and threads in
// it, descriptors of it, and sockets of this process in it.
func holders(inodes map[uint64]string) []string {
	var out []string
	all, err := processes()
	if err != nil {
		return []string{err.Error()}
	}
	for _, pid := range all {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", pid))
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, path := range append(tasks, fds...) {
			if id, ok := inodes[netLink(path)]; ok {
				out = append(out, fmt.Sprintf("%s (%s)", path, id))
			}
		}
	}
	for fd, ino := range socketNets() {
		if id, ok := inodes[ino]; ok {
			out = append(out, fmt.Sprintf("socket %d of this process (%s)", fd, id))
		}
	}
	slices.Sort(out)
	return out
}

// socketNets are the namespaces of this process' sockets, by descriptor.
func socketNets() map[int]uint64 {
	names, _ := entries("/proc/self/fd")
	out := make(map[int]uint64)
	for _, n := range names {
		fd, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if s, err := os.Readlink("/proc/self/fd/" + n); err != nil || !strings.HasPrefix(s, "socket:") {
			continue
		}
		ns, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGSKNS, 0)
		if errno != 0 {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(int(ns), &st) == nil {
			out[fd] = st.Ino
		}
		unix.Close(int(ns))
	}
	return out
}

// stat is what /proc/<pid>/stat says, as far as anybody here asks.
type stat struct {
	name   string
	state  string // one letter; Z has ended and was not waited for
	parent int
}

// status reads /proc/<pid>/stat: "pid (name) state ppid …".
func status(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	open, shut := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
	if open < 0 || shut < open {
		return stat{}, errors.New("malformed /proc stat line")
	}
	f := strings.Fields(string(b[shut+1:]))
	if len(f) < 2 {
		return stat{}, errors.New("malformed /proc stat line")
	}
	parent, err := strconv.Atoi(f[1])
	return stat{string(b[open+1 : shut]), f[0], parent}, err
}
