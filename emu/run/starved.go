package run

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/homeward-lab/homeward/reports/record"
)

// starvedShare is the part of the traffic's time for which a server may wait for
// a processor. Beyond it what took long, or was lost, says more of the machine
// than of the network: a quiet machine stays below a tenth.
const starvedShare = 0.5

// starving begins to watch how long servers wait for a processor. The function
// returned ends that, and says of which the machine had too little time for.
func (r *runner) starving() (end func()) {
	began := time.Now()
	agents := r.fleet.all()
	before := make([]time.Duration, len(agents))
	for i, a := range agents {
		before[i] = waited(a.Pid())
	}
	return func() {
		took := time.Since(began)
		for i, a := range r.fleet.all() {
			if a != agents[i] {
				continue // a fault has begun it anew
			}
			if text := starved(waited(a.Pid())-before[i], took); text != "" {
				r.event(record.Event{Kind: "saturated", Node: r.plan.Servers[i].Node, Text: text})
			}
		}
	}
}

// starved says that a server waited too long, if it did.
func starved(waited, took time.Duration) string {
	if float64(waited) <= starvedShare*float64(took) {
		return ""
	}
	const exact = 100 * time.Millisecond
	return fmt.Sprintf("it waited %v of %v for a processor: this machine is too busy", waited.Round(exact), took.Round(exact))
}

// waited is how long the busiest thread of a process was ready to run and did
// not, since it began (proc_pid_schedstat(5)); 0 where the kernel does not say.
func waited(pid int) (longest time.Duration) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0 // it has ended
	}
	for _, task := range tasks {
		text, err := os.ReadFile(dir + "/" + task.Name() + "/schedstat")
		if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 { // ran, waited, turns
			if ns, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				longest = max(longest, time.Duration(ns))
			}
		}
	}
	return longest
}
