package load_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const small = `version: 1
name: small
params: {size: 1}
datacenters:
  - {id: lhr, servers: 2, egress: [198.51.100.0/30]}
  - {id: cdg, servers: 2, egress: [198.51.100.4/30]}
sites:
  - id: shop
    count: 3
    near: {lhr: 2, cdg: 1}
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5, first: 10.0.1.1}
    onramps: [{id: wan, type: gre, arr: true}, {id: lte, type: gre, key: 7}]
internet:
  - {id: web, address: 203.0.113.9, count: 2}
traffic:
  - {id: same, from: shop.*.till, to: web.*, tcp: 443, request: "${size}KiB"}
checks:
  - {id: home, expect: same.ok == same.total}
variants:
  order:
    set:
      shop.2.wan.arr: true
      shop.*.wan.arr: false
      "*.*.wan.arr": true
  merged: {set: {shop.3.wan: {arr: false, mtu: 1400}, account: {flow_key: tuple}, links.access.delay: geo}}
  larger: {set: {shop.count: 5, shop.5.near: cdg, web.count: 1, web.address: 203.0.113.20, routes: [{prefix: 10.0.1.0/24, via: shop.*.lte}]}}
  nearer: {set: {shop.near: [cdg, lhr], same.flows: 3, traffic.same.close: server}}
`

// arrs are the wan's flags of the shops, and so on: what a scenario came to.
func show(s *spec.Scenario) string {
	var b strings.Builder
	for _, o := range s.Sites {
		fmt.Fprintf(&b, "%s.%d near %s gw %s wan %v %d; ", o.ID, o.Instance, o.Near[0].Code, o.Gateway, o.OnRamps[0].ARR, o.OnRamps[0].MTU)
	}
	for _, h := range s.Internet {
		fmt.Fprintf(&b, "%s.%d %s; ", h.ID, h.Instance, h.Address)
	}
	t := s.Traffic[0]
	fmt.Fprintf(&b, "flows %d request %s close %s; key %s; routes %d; access %v", t.Flows, t.Request, t.Close, s.Account.FlowKey, len(s.Routes), s.Links["access"].Delay.Geo)
	return b.String()
}

func TestResolve(t *testing.T) {
	d, err := load.Bytes("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	const web = "web.1 203.0.113.9; web.2 203.0.113.10; "
	const rest = "flows 1 request 1KiB close client; key onramp; routes 0; access false"
	shop := func(n int, near string, arr bool, mtu int) string {
		return fmt.Sprintf("shop.%d near %s gw 10.0.1.2 wan %v %d; ", n, near, arr, mtu)
	}
	three := func(a, b, c bool) string {
		return shop(1, "lhr", a, 1476) + shop(2, "lhr", b, 1476) + shop(3, "cdg", c, 1476)
	}
	tests := []struct {
		variant string
		sets    []string
		want    string
	}{
		{"base", nil, three(true, true, true) + web + rest},
		{"", nil, three(true, true, true) + web + rest},
		// The more specific wins, whatever the order.
		{"order", nil, three(false, true, false) + web + rest},
		// A set from outside wins over the variant's.
		{"order", []string{"shop.*.wan.arr=true"}, three(true, true, true) + web + rest},
		{"order", []string{"shop.1.wan.arr=true", "shop.*.wan.arr=false"}, three(true, false, false) + web + rest},
		// Equally specific: the later one.
		{"base", []string{"shop.2.wan.arr=false", "shop.2.wan.arr=true"}, three(true, true, true) + web + rest},
		{"merged", nil, shop(1, "lhr", true, 1476) + shop(2, "lhr", true, 1476) + shop(3, "cdg", false, 1400) + web +
			"flows 1 request 1KiB close client; key tuple; routes 0; access true"},
		{"larger", nil, three(true, true, true) + shop(4, "lhr", true, 1476) + shop(5, "cdg", true, 1476) +
			"web.1 203.0.113.20; flows 1 request 1KiB close client; key onramp; routes 1; access false"},
		{"nearer", nil, shop(1, "cdg", true, 1476) + shop(2, "lhr", true, 1476) + shop(3, "cdg", true, 1476) + web +
			"flows 3 request 1KiB close server; key onramp; routes 0; access false"},
		{"base", []string{"params.size=4", "routes=[{prefix: 10.0.1.0/24}]"}, three(true, true, true) + web +
			"flows 1 request 4KiB close client; key onramp; routes 1; access false"},
	}
	before := fmt.Sprintf("%+v", d.Spec)
	for _, tt := range tests {
		var sets []spec.Setting
		for _, text := range tt.sets {
			s, err := load.ParseSet(text)
			if err != nil {
				t.Fatal(err)
			}
			sets = append(sets, s)
		}
		s, err := d.Resolve(tt.variant, sets)
		if err != nil {
			t.Errorf("%s %v: %v", tt.variant, tt.sets, err)
			continue
		}
		if got := show(s); got != tt.want {
			t.Errorf("%s %v:\n got %s\nwant %s", tt.variant, tt.sets, got, tt.want)
		}
	}
	if after := fmt.Sprintf("%+v", d.Spec); after != before {
		t.Errorf("resolving changed the document:\n%s\n%s", before, after)
	}
	if got := fmt.Sprint(d.Variants()); got != "[base order merged larger nearer]" {
		t.Errorf("variants %s", got)
	}
}

func TestResolveErrors(t *testing.T) {
	d, err := load.Bytes("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		variant string
		set     spec.Setting
		want    string
	}{
		{"ordr", spec.Setting{Path: "seed", Value: "1"}, `no variant "ordr", want one of base, order, merged, larger, nearer; did you mean "order"?`},
		{"base", spec.Setting{Path: "shop.*.wan.arr", Value: "flase"}, "--set:1:16: want true or false, not \"flase\"\n    shop.*.wan.arr=flase\n                   ^"},
		{"base", spec.Setting{Path: "shop.*.wan.ar", Value: "true"}, `--set:1:1: shop.*.wan.ar selects nothing: no "ar", want one of id, type, arr, key, vlan, mtu, health; did you mean "arr"?`},
		{"base", spec.Setting{Path: "shop..wan", Value: "true"}, "--set:1:1: not a selector"},
		{"base", spec.Setting{Path: "seed", Value: "[1"}, "--set:1:6: the value is not YAML"},
		{"base", spec.Setting{Path: "params.sise", Value: "3"}, `no "sise", want one of size; did you mean "size"?`},
		{"base", spec.Setting{Path: "lhr.servers", Value: "2000"}, "--set:1:13: servers 2000, want 1 to 1000"},
		{"base", spec.Setting{Path: "shop.2.lan", Value: "10.0.2.0/24"}, "host till has 10.0.1.5, which is outside its lan 10.0.2.0/24"},
		{"base", spec.Setting{Path: "name", Value: "x"}, "name cannot be set"},
		{"base", spec.Setting{Path: "sites", Value: "[]"}, `"shop.*.till" selects nothing`},
	}
	for _, tt := range tests {
		_, err := d.Resolve(tt.variant, []spec.Setting{tt.set})
		var errs load.Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v:\n got %v\nwant %s", tt.variant, tt.set, err, tt.want)
		}
	}
}

func TestAt(t *testing.T) {
	d, err := load.Bytes("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"shop.1.wan.arr", "13:41"},
		{"shop.*.till", "12:19"},
		{"shop.lan", "11:10"},
		{"sites[2].onramps[1].key", "13:74"},
		{"sites[0].near", "10:5"},
		{"internet[1].address", "15:24"},
		{"traffic.same.flows", "17:5"},
		{"traffic[0].tcp", "17:51"},
		{"same.tcp", "17:51"},
		{"checks.home.expect", "19:24"},
		{"links.access.delay", "1:1"},
		{"datacenters.cdg.egress[0]", "6:36"},
		{"variants.merged", "26:3"},
		{"", "1:1"},
	}
	for _, tt := range tests {
		m := d.Mistake(tt.path, "odd")
		if got := fmt.Sprintf("%d:%d", m.Line, m.Col); got != tt.want {
			t.Errorf("a mistake at %q is at %s, want %s", tt.path, got, tt.want)
		}
	}
	if m := d.Mistake("shop.1.wan.arr", "no such thing"); m.Error() != "small.yaml:13:41: no such thing\n"+
		"        onramps: [{id: wan, type: gre, arr: true}, {id: lte, type: gre, key: 7}]\n"+
		"                                            ^" {
		t.Errorf("got %v", m)
	}
	s, err := d.Resolve("larger", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"sites[4].near": "27:46", "routes[0].via": "27:128", "sites[4].lan": "11:10", "internet[0].address": "27:78"} {
		m := d.MistakeIn(s, path, "odd")
		if got := fmt.Sprintf("%d:%d", m.Line, m.Col); got != want {
			t.Errorf("MistakeIn(%q) = %s, want %s", path, got, want)
		}
	}
}

func TestInclude(t *testing.T) {
	d, err := load.File("testdata/include/main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Resolve("cold", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.Sites {
		got = append(got, fmt.Sprintf("%s near %s arr %v", o.ID, o.Near[0].Code, o.OnRamps[0].ARR))
	}
	for _, dc := range s.Datacenters {
		got = append(got, dc.ID+" at "+dc.Place)
	}
	for _, r := range s.Routes {
		got = append(got, "via "+r.Via)
	}
	for _, tr := range s.Traffic {
		got = append(got, tr.ID+" from "+tr.From+" to "+tr.To)
	}
	got = append(got, s.Faults[0].ID+" on "+s.Faults[0].On, s.Checks[1].ID+" after "+s.Checks[1].After+": "+s.Checks[1].Expect)
	want := []string{
		"north_shop near north_cdg arr true", "south_shop near south_cdg arr false",
		"lhr at lhr", "north_cdg at cdg", "south_cdg at cdg",
		"via north_shop.*.wan", "via south_shop.*.wan",
		"all from *.*.till to web", "north_own from north_shop.*.till to north_shop.1.till", "south_own from south_shop.*.till to south_shop.1.till",
		"north_cut on north_shop.1.wan",
		"north_home after north_cut: north_own.ok == 1 and north_shop.own == 40ms and 'own' != vs.north_own.ok",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
	if m := d.Mistake("south_shop.1.wan.type", "odd"); m.File != filepath.Join("testdata", "include", "branch.yaml") || m.Line != 6 {
		t.Errorf("got %v", m)
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if _, err := load.File(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want a file that does not exist", err)
	}
	if _, err := load.File(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v, want a directory", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, make([]byte, 4<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load.File(large); err == nil || !strings.Contains(err.Error(), "want at most 4194304") {
		t.Errorf("got %v, want a file that is too large", err)
	}
}

// TestAliasBomb: a short file whose aliases stand for a million hosts ends at
// the bound of values.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nname: bomb\ndatacenters: [{id: lhr}]\nsites:\n  - id: first\n    lan: 10.0.0.0/16\n    onramps: [{id: wan, type: gre}]\n    hosts: &hosts {")
	for i := range 1000 {
		fmt.Fprintf(&b, "h%d: 10.0.%d.%d, ", i, 1+i/200, 1+i%200)
	}
	b.WriteString("}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {id: s%d, lan: 10.0.0.0/16, onramps: [{id: wan, type: gre}], hosts: *hosts}\n", i)
	}
	_, err := load.Bytes("bomb.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "more than 500000 values") {
		t.Errorf("got %.300v, want a bound", err)
	}
}
