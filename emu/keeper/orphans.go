package keeper

import "golang.org/x/sys/unix"

// ReapOrphans waits for the children of this process that have ended and that
// Spawn did not start: where this process is the first of its process namespace,
// orphans become its children. Nobody else may start children at the same time.
func (l *Lab) ReapOrphans() {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := map[int]bool{}
	for _, c := range l.children {
		own[c.pid] = true
	}
	all, err := processes()
	if err != nil {
		return // the next end of a process is another chance
	}
	for _, pid := range all {
		if st, err := status(pid); err == nil && st.state == "Z" && st.parent == unix.Getpid() && !own[pid] {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}
