package bpf

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/flow"
	"github.com/homeward-lab/homeward/dataplane/hub"
	"github.com/homeward-lab/homeward/dataplane/hub/hubtest"
	"github.com/homeward-lab/homeward/dataplane/pkt"
	"github.com/homeward-lab/homeward/dataplane/vt"
	"github.com/homeward-lab/homeward/internal/need"
)

var (
	testMAC     = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	testGateway = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// A flow that is installed is carried both ways.
func TestCarries(t *testing.T) {
	need.BPF(t)
	config := hubtest.Options{Datacenters: 1, Servers: 1, ARR: hubtest.All, Edit: func(c *hub.Config) { c.Trace = false }}.Config()
	d, err := NewDataplane(Spec{Config: config, MAC: testMAC, Gateway: testGateway})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { d.Close() })
	client, web := netip.MustParseAddrPort("10.0.1.5:40000"), netip.MustParseAddrPort("203.0.113.9:443")
	out := hubtest.IP{Src: client, Dst: web, Payload: []byte("abc")}
	var m pkt.Meta
	m.Parse(out.UDP())
	f := &Flow{
		Key: flow.ForwardKey(1, 1, 1, &m), Egress: netip.MustParseAddrPort("198.51.101.1:2049"), OnRamp: 1,
		Timeout: time.Minute, Progress: flow.Progress{Deadline: vt.Never},
	}
	if err := d.Install(f); err != nil {
		t.Fatal(err)
	}
	frame := ethernet(testMAC, testGateway, etherIPv4, hubtest.GRE(netip.MustParseAddr("198.18.0.1"), hubtest.Tunnel, nil, out.UDP()))
	verdict, got, _ := run(t, d.objects.FastPath, frame, 0)
	if v := hubtest.Decode(got[14:]); verdict != redirect || v.Src != f.Egress || v.Dst != web {
		t.Errorf("verdict %d, %+v", int32(verdict), v)
	}
	if c, ok := d.Look(f); !ok || c.Progress.Sent != 3 || c.Up != 1 {
		t.Errorf("look: %+v %v", c, ok)
	}
	back := hubtest.IP{Src: web, Dst: f.Egress, Payload: []byte("abcd")}
	verdict, got, _ = run(t, d.objects.FastPath, ethernet(testMAC, testGateway, etherIPv4, back.UDP()), 0)
	if v := hubtest.Decode(got[14+24:]); verdict != redirect || v.Src != web || v.Dst != client {
		t.Errorf("verdict %d, %+v", int32(verdict), v)
	}
	tally, err := d.Tally()
	if err != nil || tally[Forwarded] != 1 || tally[Returned] != 1 {
		t.Errorf("tally %v, %v", tally.Map(), err)
	}
}
