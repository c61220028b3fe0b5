package load_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const connected = `version: 1
name: connected
datacenters:
  - {id: lhr, egress: [198.51.100.0/31], propagation: 2s}
  - {id: fra, egress: [198.51.100.2/31]}
account: {vnets: [{id: blue}, {id: green}]}
sites:
  - {id: depot, lan: 10.5.0.0/24, hosts: {scale: 10.5.0.9}, onramps: [{id: cross, type: interconnect, vlan: 100}]}
devices:
  - {id: laptop, count: 3, near: {lhr: 2, fra: 1}, user: ada, switch: [{at: 3s, vnet: blue}]}
connectors:
  - {id: office, lan: 10.1.0.0/16, hosts: {files: 10.1.0.1}}
internet:
  - {id: web, address: 203.0.113.9}
traffic:
  - {id: files, from: laptop.*, to: office.files, tcp: 445}
checks:
  - {id: home, expect: files.ok == files.total}
variants:
  words:
    set:
      laptop.*.user: bob
      laptop.2.user: eve
      laptop.3.vnet: green
      laptop.2.switch: [{at: 1s}]
      lhr.propagation: 500ms
      account.collision: snat
      office.source: preserve
      office.files.address: 10.1.0.2
      depot.1.cross.vlan: 7
  fewer: {set: {laptop.count: 2, laptop.near: fra, laptop.country: fr, laptop.mtu: 1400}}
`

// Every word of devices, connectors and interconnects is within reach of a
// variant and of --set, the more specific one last.
func TestResolveConnected(t *testing.T) {
	d, err := load.Bytes("connected.yaml", []byte(connected))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		variant, set, want string
	}{
		{"base", "", "laptop.1 lhr  ada  0 [{3s blue}]; laptop.2 lhr  ada  0 [{3s blue}]; laptop.3 fra  ada  0 [{3s blue}]; translate gw 10.1.0.2 files 10.1.0.1; reject-second another_address; 2s; vlan 100"},
		{"words", "", "laptop.1 lhr  bob  0 [{3s blue}]; laptop.2 lhr  eve  0 [{1s }]; laptop.3 fra  bob green 0 [{3s blue}]; preserve gw 10.1.0.1 files 10.1.0.2; snat another_address; 500ms; vlan 7"},
		{"words", "laptop.2.user=joe", "laptop.1 lhr  bob  0 [{3s blue}]; laptop.2 lhr  joe  0 [{1s }]; laptop.3 fra  bob green 0 [{3s blue}]; preserve gw 10.1.0.1 files 10.1.0.2; snat another_address; 500ms; vlan 7"},
		{"fewer", "", "laptop.1 fra fr ada  1400 [{3s blue}]; laptop.2 fra fr ada  1400 [{3s blue}]; translate gw 10.1.0.2 files 10.1.0.1; reject-second another_address; 2s; vlan 100"},
	} {
		var sets []spec.Setting
		if tt.set != "" {
			one, err := load.ParseSet(tt.set)
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, one)
		}
		s, err := d.Resolve(tt.variant, sets)
		if err != nil {
			t.Errorf("%s: %v", tt.variant, err)
			continue
		}
		var b strings.Builder
		for _, o := range s.Devices {
			fmt.Fprintf(&b, "%s.%d %s %s %s %s %d %v; ", o.ID, o.Instance, o.Near[0].Code, o.Country, o.User, o.VNet, o.MTU, o.Switch)
		}
		c := s.Connectors[0]
		fmt.Fprintf(&b, "%s gw %s files %s; %s %s; %s; vlan %d", c.Source, c.Gateway, c.Hosts["files"].Address, s.Account.Collision, s.Account.OnExhaustion, s.Datacenters[0].Propagation, s.Sites[0].OnRamps[0].VLAN)
		if got := b.String(); got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.variant, tt.set, got, tt.want)
		}
	}
	// A device that is written out still has its line.
	s, err := d.Resolve("words", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"devices[0].near": "10:28", "devices[2].vnet": "24:22", "devices[1].switch[0].at": "25:30", "connectors[0].lan": "12:23"} {
		m := d.MistakeIn(s, path, "odd")
		if got := fmt.Sprintf("%d:%d", m.Line, m.Col); got != want {
			t.Errorf("MistakeIn(%q) = %s, want %s", path, got, want)
		}
	}
}
