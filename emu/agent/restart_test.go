package agent

import (
	"io"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/homeward-lab/homeward/dataplane/drop"
	"github.com/homeward-lab/homeward/emu/branch"
	"github.com/homeward-lab/homeward/internal/need"
)

// attached is how many programs are at a server's uplink.
func (l *lab) attached(t *testing.T) (n int) {
	t.Helper()
	s := l.plan.Servers[0]
	err := l.NS(s.Node).Do(func() error {
		up, err := netlink.LinkByName(s.Interface)
		if err != nil {
			return err
		}
		for _, at := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
			r, err := link.QueryPrograms(link.QueryOptions{Target: up.Attrs().Index, Attach: at})
			if err != nil {
				return err
			}
			n += len(r.Programs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What a server's kernel carried is gone with a server that is killed in the middle
// of traffic: nothing is attached any more, its flows are nobody's for the one that
// starts anew, in either direction, while that one serves new flows at once, by its
// own kernel's part; again and again.
func TestKilledWhileItCarries(t *testing.T) {
	need.BPF(t)
	l := raise(t, "hub", nil, IOVnet, branch.IOKernel)
	o := l.options(t, IOVnet)
	o.Dataplane = EBPF
	go func() { // whom nobody reads waits
		for range l.events {
		}
	}()
	if _, err := l.agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for life := range 3 {
		a, err := Start(l.spawn("hub"), l.plan.Servers[0], o)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.attached(t); got != 2 {
			t.Fatalf("life %d: %d programs at the uplink, want 2", life, got)
		}
		client, server := l.connect(t, "host", hostAddr, "origin", originAddr)
		if _, err := transfer(client, server, 1<<20); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		open, far := l.connect(t, "host", hostAddr, "origin", originAddr)
		go func() { // until it is closed
			for buf := make([]byte, 1<<16); ; {
				if _, err := open.Write(buf); err != nil {
					return
				}
			}
		}()
		if _, err := io.ReadFull(far, make([]byte, 1<<20)); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		look, err := a.Look(t.Context())
		if err != nil || look.IO["ebpf_forwarded"] == 0 {
			t.Fatalf("life %d: %v, %v, want flows carried", life, look.IO, err)
		}
		a.Kill()
		if got := l.attached(t); got != 0 {
			t.Fatalf("life %d: %d programs are left of a killed server", life, got)
		}
		next, err := Start(l.spawn("hub"), l.plan.Servers[0], o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write([]byte("still there?")); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			look, err := next.Look(t.Context())
			if err != nil || look.Counters.Flows != 0 || look.IO["ebpf_forwarded"] != 0 {
				t.Fatalf("life %d: the next one has %d flows and carried %d packets, %v", life, look.Counters.Flows, look.IO["ebpf_forwarded"], err)
			}
			if look.Drops[drop.Orphan.String()] > 0 && look.Drops[drop.NoFlow.String()] > 0 {
				break // the connection's packets came from both ends, and were nobody's
			}
			if time.Now().After(end) {
				t.Fatalf("life %d: of the open connection did not come what should: drops %v", life, look.Drops)
			}
		}
		serves(t, l, next)
		open.SetLinger(0)
		open.Close()
		if _, err := next.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// serves has a new connection's data carried through the server, by its kernel.
func serves(t *testing.T, l *lab, a *Agent) {
	t.Helper()
	client, server := l.connect(t, "host", hostAddr, "origin", originAddr)
	if _, err := transfer(client, server, 1<<20); err != nil {
		t.Fatalf("a new connection beside the dead one: %v", err)
	}
	look, err := a.Look(t.Context())
	if err != nil || look.IO["ebpf_forwarded"] == 0 || look.Counters.FlowsStarted != 1 {
		t.Errorf("%d flows started and %d packets carried by the kernel, %v; want 1 and some", look.Counters.FlowsStarted, look.IO["ebpf_forwarded"], err)
	}
}
