package hub

import (
	"encoding/binary"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// lifeShift puts a server's life above its number.
const lifeShift = 32

// sessionID is a keyed hash: the same in every run of a seed, different for
// every session of every server.
func (h *Hub) sessionID(k *flow.Key, ordinal uint64) (id [16]byte) {
	hash := flow.Hash(h.v.cfg.Seed, k)
	self := uint64(h.v.cfg.Self) | (max(h.v.cfg.Life, 1)-1)<<lifeShift
	binary.BigEndian.PutUint64(id[:8], flow.Combine(hash, ordinal, self<<1))
	binary.BigEndian.PutUint64(id[8:], flow.Combine(hash, ordinal, self<<1|1))
	return id
}

// session describes a flow as of now.
func (h *Hub) session(i flow.Index, f *flow.Flow) *Session {
	s := &Session{
		ID:     h.sessionID(&f.Key, uint64(f.Ordinal)),
		Tenant: f.Key.Tenant, VNet: f.Key.VNet,
		OnRamp: f.OnRamp, Return: f.Return, OffRamp: h.leadsTo(i),
		Tuple:  keyTuple(&f.Key),
		Egress: f.Egress(),
		Start:  f.Start, BytesSent: f.Sent, BytesReceived: f.Received,
		Rules: h.rulesOf(i),
	}
	if r := h.remoteOf(i); r != nil && !r.guest {
		s.Egress, s.EgressServer = r.egress, r.at
	}
	return s
}

func keyTuple(k *flow.Key) Tuple {
	return Tuple{Proto: k.Proto, Src: k.Source(), Dst: k.Destination()}
}

// started reports a new session.
func (h *Hub) started(now vt.Instant, i flow.Index, f *flow.Flow, out *Out) {
	h.count.FlowsStarted++
	s := h.session(i, f)
	out.Events = append(out.Events, Event{Kind: FlowStart, At: now, Tuple: s.Tuple, OnRamp: s.OnRamp, Session: s})
}

// finish reports the end of a session. One that ran out ended when it was due
// to, whenever that was noticed; a reset one when it was last heard of.
func (h *Hub) finish(now vt.Instant, i flow.Index, f *flow.Flow, out *Out) {
	if r := h.remoteOf(i); r != nil && (r.guest || !r.open) {
		if !r.guest { // nobody ever said that it has a port
			h.refusedFlow(now, i, f, drop.EgressSilent, out)
		}
		return
	}
	h.count.FlowsEnded++
	s := h.session(i, f)
	s.Close, s.End = closeReason(f, f.Deadline <= now), min(now, f.Deadline)
	if f.State() == flow.Reset {
		s.End = min(now, max(f.Start, h.flows.Idle(f)))
	}
	out.Events = append(out.Events, Event{Kind: FlowEnd, At: now, Tuple: s.Tuple, OnRamp: s.OnRamp, Session: s})
}

// closeReason is why a session ended, as far as packets tell (SEMANTICS 6.4:
// for TCP only, UNKNOWN for the rest).
func closeReason(f *flow.Flow, expired bool) CloseReason {
	if f.Key.Proto != pkt.ProtoTCP {
		return CloseUnknown
	}
	if byOrigin, ok := f.Closed(); ok {
		if byOrigin {
			return OriginClosed
		}
		return ClientClosed
	}
	if byOrigin, ok := f.WasReset(); ok {
		switch {
		case !byOrigin:
			return ClientError
		case f.Connected():
			return OriginError
		}
		return OriginUnreachable
	}
	switch {
	case !expired:
		return CloseUnknown
	case f.State() == flow.HalfOpen && !f.Connected():
		return OriginUnreachable
	}
	return ClientIdleTimeout
}

// refused reports a session that could not be set up.
func (h *Hub) refused(now vt.Instant, w *work, reason drop.Reason, out *Out) {
	h.refusals++
	s := &Session{
		// The top bit keeps refusals apart from sessions.
		ID:     h.sessionID(&w.key, h.refusals|1<<63),
		Tenant: w.ramp.Tenant, VNet: w.vnet, OnRamp: w.ramp.ID,
		Tuple: keyTuple(&w.key), Start: now, End: now, Refused: reason,
	}
	if w.rules != nil {
		s.Rules = *w.rules
	}
	s.Close = closeOfRefusal(reason)
	out.Events = append(out.Events, Event{Kind: FlowRefused, At: now, Tuple: s.Tuple, OnRamp: s.OnRamp, Reason: reason, Session: s})
}

// closeOfRefusal is why a session that was not set up ended.
func closeOfRefusal(reason drop.Reason) CloseReason {
	switch reason {
	case drop.PortsExhausted, drop.NoEgress:
		return EgressPortAllocationError
	case drop.EgressDown, drop.EgressSilent:
		return OriginUnroutable
	}
	return CloseUnknown
}

// dropped counts a drop and traces it.
func (h *Hub) dropped(now vt.Instant, w *work, reason drop.Reason, out *Out) {
	h.count.Drops[reason]++
	h.traceDrop(now, w, reason, out)
}

func (h *Hub) traceDrop(now vt.Instant, w *work, reason drop.Reason, out *Out) {
	if !h.v.cfg.Trace {
		return
	}
	out.Events = append(out.Events, Event{Kind: Dropped, At: now, Tuple: w.tuple(), OnRamp: w.rampID(), Reason: reason, Why: reason.String()})
}

// traceHandover traces a packet that may open a flow or answer one: of TCP only
// those with SYN.
func (h *Hub) traceHandover(now vt.Instant, w *work, to ident.Server, why string, out *Out) {
	if !h.v.cfg.Trace || w.meta.Kind == pkt.TCP && w.meta.Flags&pkt.SYN == 0 {
		return
	}
	out.Events = append(out.Events, Event{Kind: Handover, At: now, Tuple: w.tuple(), OnRamp: w.rampID(), Peer: to, Why: why})
}

func (h *Hub) traceReturn(now vt.Instant, i flow.Index, f *flow.Flow, r *onRamp, why string, out *Out) {
	if !h.v.cfg.Trace || f.Answered() {
		return
	}
	out.Events = append(out.Events, Event{Kind: Returned, At: now, Tuple: keyTuple(&f.Key), OnRamp: r.ID, ByARR: f.Return != 0, Why: why, Session: h.session(i, f)})
}
