package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/hub"
)

// Look is what a server is at one moment: its totals so far and its live
// sessions.
type Look struct {
	Question int `json:"question"`
	Final
	Sessions []hub.Session `json:"sessions"`
}

// Look asks the child. When it returns without an error, every event that came
// before is delivered: what clients saw has its server's account. When ctx ends
// first, a server that merely pauses is left alone.
func (a *Agent) Look(ctx context.Context) (Look, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if err := json.NewEncoder(a.stdin).Encode(command{Look: a.asked}); err != nil {
		return Look{}, fmt.Errorf("agent %s: look: %w", a.node, errors.Join(err, a.Err()))
	}
	for {
		select {
		case l := <-a.looks:
			if l.Question == a.asked { // else an answer that came too late for its question
				return l, nil
			}
		case <-a.done:
			return Look{}, fmt.Errorf("agent %s: look: %w", a.node, errors.Join(errEnded, a.exit))
		case <-ctx.Done():
			return Look{}, fmt.Errorf("agent %s: look: %w", a.node, ctx.Err())
		}
	}
}

// answer keeps the latest answer alone: whoever asked may have gone. It is
// called by one goroutine.
func (a *Agent) answer(l Look) {
	select {
	case <-a.looks:
	default:
	}
	a.looks <- l
}

// Log is the end of what the child has said on stderr.
func (a *Agent) Log() string { return a.stderr.String() }
