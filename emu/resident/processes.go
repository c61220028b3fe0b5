package resident

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/run"
)

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
