package spec

import (
	"cmp"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
)

// What a traffic means that does not say so.
const (
	defaultTCPSize  = unit.KiB
	defaultEchoSize = 64 * unit.Bytes(1)
	defaultInterval = unit.Duration(100 * time.Millisecond)
	defaultConnect  = unit.Duration(3 * time.Second)
	defaultTimeout  = unit.Duration(30 * time.Second)
)

// Filled is the traffic with a default for every word that it leaves out. An
// echo is as long as what it answers.
func (t Traffic) Filled() Traffic {
	t.Flows = cmp.Or(t.Flows, 1)
	t.Connect, t.Timeout = cmp.Or(t.Connect, defaultConnect), cmp.Or(t.Timeout, defaultTimeout)
	t.Close = cmp.Or(t.Close, "client")
	if t.TCP != 0 {
		t.Request, t.Response = cmp.Or(t.Request, defaultTCPSize), cmp.Or(t.Response, defaultTCPSize)
		return t
	}
	t.Packets, t.Interval = cmp.Or(t.Packets, 1), cmp.Or(t.Interval, defaultInterval)
	t.Request = cmp.Or(t.Request, defaultEchoSize)
	t.Response = t.Request
	return t
}
