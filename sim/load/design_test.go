package load_test

import "testing"

const branches = `
version: 1
name: branches
datacenters: [{id: lhr, servers: 4, egress: [198.51.100.0/30]}]
sites:
  - {id: shop, count: 20, near: lhr, lan: 10.0.1.0/24, hosts: {till: 10.0.1.5}, onramps: [{id: wan, type: gre, arr: true}]}
  - {id: office, near: lhr, lan: 10.0.2.0/24, hosts: {desk: 10.0.2.5}, onramps: [{id: wan, type: gre, arr: true}]}
`

// TestDesigns: where twenty of twenty-one sites share a prefix, plain routes bring
// home one reply in twenty and those of the site that is alone; the others bring all
// home, and ARR alone does so without an object for each site besides its on-ramp.
func TestDesigns(t *testing.T) {
	o := outcome(t, branches, 1)
	if got, want := value(t, o, "misdelivered.routes"), 19.0/21; got < want-0.06 || got > want+0.06 {
		t.Errorf("routes: %.3f misdelivered, want %.3f", got, want)
	}
	for _, tt := range []struct {
		design                       string
		misdelivered, flows, oneMore float64
	}{{"vrf_per_site", 0, 1, 3}, {"nat_per_site", 0, 2, 3}, {"arr", 0, 1, 1}} {
		if m, f, one := value(t, o, "misdelivered."+tt.design), value(t, o, "flow_state."+tt.design), value(t, o, "one_more."+tt.design); m != tt.misdelivered || f > tt.flows || f < tt.flows*0.95 || one != tt.oneMore {
			t.Errorf("%s: %v misdelivered, %v entries for a flow, %v objects for a site; want %+v", tt.design, m, f, one, tt)
		}
	}
	if a, b := value(t, o, "objects.arr"), value(t, o, "objects.vrf_per_site"); a != 21 || b != 63 {
		t.Errorf("%v and %v objects, want 21 and 63", a, b)
	}
	if x := value(t, o, "restart_lost.arr"); x < 0.2 || x > 0.4 {
		t.Errorf("a restart of one of four servers loses %v of flows", x)
	}
}
