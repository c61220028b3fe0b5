package run

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/homeward-lab/homeward/emu/netns"
	"github.com/homeward-lab/homeward/internal/need"
	"github.com/homeward-lab/homeward/reports/record"
	"github.com/homeward-lab/homeward/topologies/load/loadtest"
)

// small is as little of a lab as has everything that can break.
const small = `version: 1
name: small
datacenters: [{id: lhr, servers: 1, egress: [198.51.100.0/30]}]
sites:
  - {id: shop, count: 2, near: {lhr: 1}, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
internet: [{id: web, address: 203.0.113.9, near: lhr, serve: [http, echo]}]
traffic: [{id: same, from: shop.*.till, to: web, tcp: 443}]
`

// setLink raises or lowers an interface.
func setLink(ns *netns.NS, name string, change func(netlink.Link) error) error {
	return ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return change(l)
	})
}

// What does not work is named, before traffic and after it, and nothing is named
// in a lab that works.
func TestLiveSound(t *testing.T) {
	need.Root(t)
	breaks := []struct {
		name          string
		do            func(r *runner) error
		before, after string // words of the errors; empty means that it is none
	}{
		{"nothing", func(*runner) error { return nil }, "", ""},
		{
			"a link is down", func(r *runner) error { return setLink(r.lab.NS("shop.2.router"), "wan0", netlink.LinkSetDown) },
			"shop.2.router: interface wan0 is down", "",
		},
		{
			"a link is gone", func(r *runner) error { return setLink(r.lab.NS("shop.1.router"), "lan0", netlink.LinkDel) },
			"shop.1.router: there is no interface lan0", "the tap on shop.1.till: network is down",
		},
		{
			"a server is killed", func(r *runner) error {
				err := unix.Kill(r.fleet.all()[0].Pid(), unix.SIGKILL)
				<-r.fleet.all()[0].Done()
				return err
			},
			"agent lhr.1", "",
		},
		{
			// The closer after an origin's, the last, is that of the faults.
			"an origin has closed", func(r *runner) error { return r.closers[len(r.closers)-2]() },
			"web: nobody listens for echo at port 7", "web: nobody listens for echo at port 7",
		},
		{
			"a tap was blind for a moment", func(r *runner) error {
				err := setLink(r.lab.NS("shop.1.till"), "eth0", netlink.LinkSetDown)
				if err == nil {
					err = setLink(r.lab.NS("shop.1.till"), "eth0", netlink.LinkSetUp)
				}
				return err
			},
			"the tap on shop.1.till: network is down", "the tap on shop.1.till: network is down",
		},
	}
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) {
			for stage, want := range map[string]string{"before": b.before, "after": b.after} {
				r := newRunner(loadtest.Plan(t, small, "base"), &record.Memory{}, Options{AgentArgs: []string{"serve-as-agent"}})
				if err := r.up(t.Context()); err != nil {
					t.Fatal(err, r.down())
				}
				err := b.do(r)
				var said error
				if stage == "before" {
					said = r.sound(t.Context())
				} else {
					said = r.outlived()
				}
				if err != nil {
					t.Fatal(err, r.down())
				}
				if (want == "") != (said == nil) || want != "" && !strings.Contains(fmt.Sprint(said), want) {
					t.Errorf("%s traffic: %v, want %q", stage, said, want)
				}
				if err := r.down(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
