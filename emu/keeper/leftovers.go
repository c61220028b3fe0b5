package keeper

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Snapshot is what of the machine this process and its descendants have to do
// with: the interfaces of its namespace, the processes, and the network
// namespaces they are in or hold. Two of them prove that nothing stayed behind.
// (A lab names nothing in the file system; what others put there is no evidence.)
type Snapshot struct {
	things map[string]bool
}

// TakeSnapshot looks at the machine now.
func TakeSnapshot() (Snapshot, error) {
	s := Snapshot{make(map[string]bool)}
	links, err := net.Interfaces()
	if err != nil {
		return s, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		s.add("interface %s", l.Name)
	}
	tree, err := descendants(os.Getpid())
	if err != nil {
		return s, err
	}
	for pid, name := range tree {
		if pid != os.Getpid() {
			s.add("process %d (%s)", pid, name)
		}
		tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/ns/net")
		fds, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
		for _, path := range append(tasks, fds...) {
			if ino := netLink(path); ino != 0 {
				s.add("namespace net:[%d]", ino)
			}
		}
	}
	for _, ino := range socketNets() {
		s.add("namespace net:[%d]", ino)
	}
	return s, nil
}

func (s Snapshot) add(format string, a ...any) { s.things[fmt.Sprintf(format, a...)] = true }

// Leftovers are what is there now and was not before, sorted.
func Leftovers(before Snapshot) ([]string, error) {
	now, err := TakeSnapshot()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(now.things, func(k string, _ bool) bool { return before.things[k] })
	return slices.Sorted(maps.Keys(now.things)), nil
}

// descendants are a process and all below it, with their names.
func descendants(root int) (map[int]string, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	stats := make(map[int]stat)
	for _, pid := range all {
		if st, err := status(pid); err == nil { // else it has ended
			stats[pid] = st
		}
	}
	tree := map[int]string{root: stats[root].name}
	for grown := true; grown; {
		grown = false
		for pid, st := range stats {
			if _, below := tree[st.parent]; !below {
				continue
			}
			if _, known := tree[pid]; !known {
				tree[pid] = st.name
				grown = true
			}
		}
	}
	return tree, nil
}
