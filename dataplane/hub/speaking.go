package hub

import (
	"errors"
	"fmt"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/tunnel"
	"github.com/homeward-lab/homeward/dataplane/vt"
)

// A customer's router speaks BGP through its tunnel with the network's address
// inside, which the datacenter's edge has (SEMANTICS 2.7). Servers carry that: they
// keep nothing of it, it is no flow, and nobody's session record.

// bgpPort is TCP's for BGP (RFC 4271 section 8).
const bgpPort = 179

func (o *OnRamp) checkSpeaking() error {
	switch {
	case !o.BGP:
		return nil
	case o.Kind != tunnel.GRE && o.Kind != tunnel.Interconnect:
		return fmt.Errorf("BGP is spoken with routers, over %s and %s", tunnel.GRE, tunnel.Interconnect)
	case !o.Address.IsValid() || !o.Peer.IsValid() || o.Address.Is4() != o.Peer.Is4():
		return errors.New("want an address of ours and of the peer's inside the tunnel, to speak BGP between")
	}
	return nil
}

// speaks reports whether w, which came by an on-ramp, is the customer's router's
// word to the network's BGP speaker.
func (w *work) speaks() bool {
	r, m := w.ramp, &w.meta
	return r.BGP && m.Kind == pkt.TCP && m.Dst == r.Address && m.Src == r.Peer && (m.DstPort == bgpPort || m.SrcPort == bgpPort)
}

// speak sends it on to the edge, as it is.
func (h *Hub) speak(w *work, out *Out) {
	h.count.Speaking++
	out.send(w.data, w.off)
}

// spoken takes what the datacenter's speaker says into the tunnel.
func (h *Hub) spoken(now vt.Instant, w *work, out *Out) {
	r, m := w.ramp, &w.meta
	if m.Kind != pkt.TCP || m.Src != r.Address || m.DstPort != bgpPort && m.SrcPort != bgpPort {
		w.ramp = nil
		h.dropped(now, w, drop.NotForUs, out)
		return
	}
	h.count.Speaking++
	h.sendInto(w, r, &r.exit, out)
}
