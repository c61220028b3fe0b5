package agent

import (
	"cmp"
	"fmt"

	"github.com/homeward-lab/homeward/bpf"
	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/ident"
	"github.com/homeward-lab/homeward/emu/afpacket"
)

// fastPath is the kernel's part of a server as the hub knows it (hub.Fast).
type fastPath struct {
	*bpf.Dataplane
	refused, lost uint64
}

// NewFast is a kernel's part as a hub knows it.
func NewFast(d *bpf.Dataplane) hub.Fast { return &fastPath{Dataplane: d} }

// openFast puts the kernel's part at the uplink. The hub gets what that leaves
// to it.
func (u *uplink) openFast(h *header, ifindex int) error {
	if h.IO == IOPlain || h.IO == IOXDP {
		return fmt.Errorf("dataplane %s wants io %s, got %s", EBPF, IOVnet, h.IO)
	}
	d, err := bpf.NewDataplane(bpf.Spec{
		Config: h.Server.Config, MAC: h.UplinkMAC, Gateway: h.GatewayMAC, Own: u.own, Base: h.Base, Peer: h.Peer,
		Flows: cmp.Or(h.Server.Config.Bounds.Flows, min(h.Flows, bpf.DefaultFlows)), Kernel: h.Kernel,
	})
	if err != nil {
		return err
	}
	u.fast = &fastPath{Dataplane: d}
	// The sockets come first: what arrives in between is the hub's, not nobody's.
	if u.sockets, err = afpacket.ListenBehind(ifindex); err != nil {
		return err
	}
	// One that received IPv4 would send nothing else.
	if u.sender, err = afpacket.Dial(ifindex); err != nil {
		return err
	}
	if u.pusher, err = bpf.AttachServer(bpf.ServerOptions{Interface: ifindex, Encaps: encaps(&h.Server.Config), Fast: d}); err != nil {
		return err
	}
	u.hello = Hello{IO: IOVnet, Features: []string{"flows carried by eBPF at tcx ingress", "AF_PACKET with virtio headers", "GRE pushed by mark in tcx egress"}}
	return nil
}

// configure puts a configuration in force in the kernel; the hub has ended those
// flows that do not live under it.
func (u *uplink) configure(c *hub.Config) error {
	if u.fast == nil {
		return nil
	}
	return u.fast.Configure(*c)
}

// hold takes the kernel's part away from the uplink, or puts it back.
func (u *uplink) hold(on bool) error {
	if u.fast == nil {
		return nil
	}
	return u.pusher.Hold(on)
}

func carry(f *hub.FastFlow) *bpf.Flow {
	return &bpf.Flow{Key: f.Key, Egress: f.Egress, OnRamp: f.OnRamp, Timeout: f.Timeout, Progress: f.Progress}
}

// Install implements hub.Fast. What cannot be carried stays with the hub, and is
// counted.
func (p *fastPath) Install(f hub.FastFlow) bool {
	if err := p.Dataplane.Install(carry(&f)); err != nil {
		p.refused++
		return false
	}
	return true
}

// Look implements hub.Fast.
func (p *fastPath) Look(f hub.FastFlow) (hub.Account, bool) {
	return p.account(p.Dataplane.Look(carry(&f)))
}

// Remove implements hub.Fast.
func (p *fastPath) Remove(f hub.FastFlow) (hub.Account, bool) {
	return p.account(p.Dataplane.Remove(carry(&f)))
}

func (p *fastPath) account(c bpf.Carried, ok bool) (hub.Account, bool) {
	if !ok {
		p.lost++
	}
	return hub.Account{Progress: c.Progress, Seen: c.Seen}, ok
}

// Ask implements hub.Fast.
func (p *fastPath) Ask(id ident.OnRamp, ask bool) {
	if p.Dataplane.Ask(id, ask) != nil {
		p.lost++
	}
}

// AskServer implements hub.Fast.
func (p *fastPath) AskServer(id ident.Server, ask bool) {
	if p.Dataplane.AskServer(id, ask) != nil {
		p.lost++
	}
}

// Pass implements hub.Fast. A connection that cannot be passed on stays with the hub.
func (p *fastPath) Pass(key flow.Key, to ident.Server) {
	if p.Dataplane.Pass(&key, to) != nil {
		p.refused++
	}
}

// PassNone implements hub.Fast.
func (p *fastPath) PassNone() {
	if p.Dataplane.PassNone() != nil {
		p.lost++
	}
}

// count adds what the kernel did to what the hub did: together they are the
// server's.
func (p *fastPath) count(c *hub.Counters) {
	t, err := p.Tally()
	if err != nil {
		p.lost++
		return
	}
	c.Forwarded += t[bpf.Forwarded]
	c.Returned += t[bpf.Returned]
	c.HandedOver += t[bpf.HandedOver]
	c.Packets += t[bpf.Forwarded] + t[bpf.Returned] + t[bpf.HandedOver]
	for reason, n := range t.Drops() {
		c.Drops[reason] += n
		c.Packets += n
	}
}

// addTo adds the counts of the kernel's part by name.
func (p *fastPath) addTo(all map[string]uint64) {
	all["ebpf_install_refused"], all["ebpf_lost"] = p.refused, p.lost
	t, err := p.Tally()
	if err != nil {
		all["ebpf_lost"]++
		return
	}
	for name, n := range t.Map() {
		all["ebpf_"+name] = n
	}
}
