package conform

import (
	"bytes"
	"slices"

	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// Hub is a Server made of a hub alone: the law.
type Hub struct {
	*hub.Hub
	out hub.Out
}

// NewHub returns the hub of w.
func NewHub(w *World) (*Hub, error) {
	h, err := hub.New(w.Config)
	if err != nil {
		return nil, err
	}
	return &Hub{Hub: h}, nil
}

// Handle is that of Server.
func (h *Hub) Handle(now vt.Instant, p []byte, off pkt.Offload) (Result, error) {
	before := CountOf(h.Counters())
	h.out.Reset()
	h.HandlePacket(now, &hub.Packet{Data: bytes.Clone(p), Offload: off, Internal: true}, &h.out)
	r := Result{Count: CountOf(h.Counters()).Minus(before)}
	for i := range h.out.Send {
		s := &h.out.Send[i]
		r.Sent = append(r.Sent, Sent{Data: s.Encap.Append(nil, s.Data), Offload: s.Offload})
	}
	r.Events = slices.Clone(h.out.Events)
	return r, nil
}

// Sessions is that of Server.
func (h *Hub) Sessions() []hub.Session { return slices.Collect(h.Hub.Sessions()) }
