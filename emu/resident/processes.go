package resident

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/control"
	"github.com/homeward-lab/homeward/emu/run"
)

// ownProcesses gives the first process of a namespace the /proc that belongs to
// it. Mounts that the machine makes later are still seen; none of ours is seen
// outside.
func ownProcesses() error {
	if os.Getpid() != 1 {
		return nil // a test's keeper, or one that was started by hand
	}
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
	if err == nil {
		err = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return control.Lackf("a lab that stays needs a /proc of its own, and mounting it failed (%v): run as root, in a container with CAP_SYS_ADMIN", err)
	}
	return nil
}

// orphanPause gathers the ends of many processes into one look.
const orphanPause = 50 * time.Millisecond

// reapOrphans waits for processes whose parents have died: they become the
// children of the first process.
func reapOrphans(lab *run.Lab) (stop func()) {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGCHLD)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-ends:
				time.Sleep(orphanPause)
				lab.ReapOrphans()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ends)
		close(done)
	}
}
