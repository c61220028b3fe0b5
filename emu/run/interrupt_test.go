package run_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/emu/keeper"
	"github.com/homeward-lab/homeward/emu/labtest"
	"github.com/homeward-lab/homeward/emu/run"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
)

// interrupter presses Ctrl-C soon after the last flow has begun.
type interrupter struct {
	record.Memory
	waiting atomic.Int32 // flows that have not begun
	cancel  context.CancelFunc
}

func (i *interrupter) Event(e record.Event) {
	i.Memory.Event(e)
	if e.Kind == "flow_start" && i.waiting.Add(-1) == 0 {
		time.AfterFunc(50*time.Millisecond, i.cancel)
	}
}

// Ctrl-C in the middle of three transfers of 200 MB: no socket keeps its
// namespace for what it could not send, and each flow says that it was
// interrupted.
func TestLiveInterrupted(t *testing.T) {
	need.Root(t)
	same := []any{"10.0.1.0/24", "10.0.1.5", "10.0.1.0/24", "10.0.1.5", "10.0.1.0/24", "10.0.1.5"}
	for _, direction := range []string{"down", "up"} {
		t.Run(direction, func(t *testing.T) {
			labtest.Clean(t)
			p := compile(t, fmt.Sprintf(bulk, same...))
			if direction == "up" {
				for i := range p.Flows {
					p.Flows[i].Request, p.Flows[i].Response = p.Flows[i].Response, 0
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sink := &interrupter{cancel: cancel}
			sink.waiting.Store(int32(len(p.Flows)))
			err := run.Run(ctx, p, sink, run.Options{AgentArgs: []string{agentWord}})
			var left *keeper.LeftoverError
			if !errors.Is(err, context.Canceled) || errors.As(err, &left) {
				t.Errorf("got %v, want context.Canceled alone", err)
			}
			r := sink.Records()
			if len(r.Flows) != len(p.Flows) || !r.Run.Partial {
				t.Errorf("%d lines for %d flows, partial: %t", len(r.Flows), len(p.Flows), r.Run.Partial)
			}
			for _, f := range r.Flows {
				if f.Result != record.Failed || f.Reason != "interrupted" || f.BytesDown+f.BytesUp == 0 {
					t.Errorf("%s: %s (%s) after %d and %d bytes, want interrupted in the middle", f.Client, f.Result, f.Reason, f.BytesUp, f.BytesDown)
				}
			}
			t.Logf("down in %d ms", r.Run.Metrics.DownMs)
		})
	}
}
