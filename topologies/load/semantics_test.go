package load_test

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// refusal is what is said of the connected scenario with a setting, empty if
// nothing is.
func refusal(t *testing.T, path, value string) string {
	t.Helper()
	d, err := load.Bytes("connected.yaml", []byte(connected))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Resolve(spec.Base, []spec.Setting{{Path: path, Value: value}}); err != nil {
		return err.Error()
	}
	return ""
}

// TestVN2: the same prefix twice in one virtual network is error 1014, written
// or implied; in another network, or as a part of it, it is legal. SEMANTICS VN-2.
func TestVN2(t *testing.T) {
	const lan = "connectors"
	for _, tt := range []struct{ value, want string }{
		{"[{id: office, lan: 10.1.0.0/16, hosts: {files: 10.1.0.1}}, {id: depot2, lan: 10.1.0.0/16}]", "error 1014"},
		{"[{id: office, lan: 10.1.0.0/16, hosts: {files: 10.1.0.1}}, {id: depot2, lan: 10.1.0.0/16, vnet: default}]", "error 1014"},
		{"[{id: office, lan: 10.1.0.0/16, hosts: {files: 10.1.0.1}}, {id: depot2, lan: 10.1.0.0/16, vnet: blue}]", ""},
		{"[{id: office, lan: 10.1.0.0/16, hosts: {files: 10.1.0.1}}, {id: depot2, lan: 10.1.0.0/17}]", ""},
	} {
		if got := refusal(t, lan, tt.value); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.value, got, tt.want)
		}
	}
	for value, want := range map[string]string{
		"[{prefix: 10.8.0.0/16, via: office}, {prefix: 10.8.0.0/16, via: office}]":             "error 1014",
		"[{prefix: 10.8.0.0/16, via: office}, {prefix: 10.8.0.0/17, via: office}]":             "",
		"[{prefix: 10.8.0.0/16, via: office}, {prefix: 10.8.0.0/16, via: office, vnet: blue}]": "",
	} {
		if got := refusal(t, "routes", value); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("routes %s: got %q, want %q", value, got, want)
		}
	}
}

// TestVN6: a virtual network cannot be taken away while anything is in it, and
// can be afterwards. SEMANTICS VN-6.
func TestVN6(t *testing.T) {
	if got := refusal(t, "account.vnets", "[{id: green}]"); !strings.Contains(got, `virtual network "blue" is taken away and still named here`) {
		t.Errorf("without blue: got %q, want a refusal", got)
	}
	if got := refusal(t, "account.vnets", "[{id: blue}]"); got != "" {
		t.Errorf("without green, in which nothing is: got %q", got)
	}
}

// TestARR9: automatic return routing under legacy routing is refused where it
// stands in the file. SEMANTICS ARR-9.
func TestARR9(t *testing.T) {
	if got := refusal(t, "account.routing", "legacy"); got != "" {
		t.Errorf("legacy without ARR: got %q", got)
	}
	d, err := load.Bytes("connected.yaml", []byte(strings.Replace(connected, "vlan: 100}", "vlan: 100, arr: true}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Resolve(spec.Base, []spec.Setting{{Path: "account.routing", Value: "legacy"}})
	if err == nil || !strings.HasPrefix(err.Error(), "connected.yaml:8:") || !strings.Contains(err.Error(), "needs routing: unified") {
		t.Errorf("got %v, want a refusal in line 8", err)
	}
}
