package load_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/homeward-lab/homeward/topologies"
	"github.com/homeward-lab/homeward/topologies/load"
)

// everyWord uses the words and short forms that the shipped files do not.
const everyWord = `
version: 1
name: every_word
needs: [root]
params: {servers: 2, port: 53}
timers: {scale: 0.5, udp: 300s}
bounds: {flows: 1000}
datacenters:
  - {id: lhr, servers: "${servers}", egress: [{prefix: 198.51.100.0/30, slices: {1: 1, 2: 2}, country: GB}, 198.51.100.9]}
  - {id: second, place: cdg, region: WEUR, maintenance: true}
transit: [{id: isp, asn: 64500, near: [lhr, fra]}]
announce: [{prefix: 198.51.100.0/24, from: [lhr], to: [isp], prepend: 1}]
accounts:
  - id: acme
    flow_key: tuple
    dedicated: [{ipv4: 192.0.2.1, datacenter: lhr}]
    vnets: [{id: red, default: true}]
    routes: [{prefix: 10.0.0.0/8, via: office, vnet: red}, {prefix: 10.0.0.0/8, via: shop.1.wan, source: bgp, communities: ["13335:60150"], prepend: 2}]
    policies:
      firewall: [{id: a, name: No telnet, match: {protocol: [tcp], port: [23], source_country: [GB], country: [US], onramp: [gre, device], vnet: [red], user: [ada]}, action: block}]
      egress: [{id: a, match: {source: [10.0.1.5, 10.0.2.0/24], port: [443]}, action: default}]
sites:
  - id: shop
    near: lhr
    lan: 10.0.1.0/24
    hosts: {till: 10.0.1.5, desk: {address: 10.0.1.6, run: [sleep, "1"]}}
    onramps: [{id: wan, type: gre, key: 7, health: {type: reply}}, {id: lte, type: gre}]
    group: {primary: wan, backups: [lte], repin_after: 200ms, predictive: false}
devices: [{id: phone, count: 2, country: gb}]
connectors: [{id: office, lan: 10.9.0.0/16, hosts: {db: 10.9.0.2}}]
internet: [{id: web, address: 203.0.113.9, count: 2, serve: [echo], allow: [192.0.2.1]}]
links: {access: {delay: 4ms, jitter: 1ms, loss: 0.1%, rate: 500Mbit, queue: 64KiB}, backbone: {delay: geo, corrupt: 0.001}}
impair: [{on: shop.1.wan, direction: up, loss: 1%}]
traffic: [{id: ask, from: shop.*.*, to: web.*, udp: "${port}", rate: 2.5, start: 1s}]
population: {users: 1_000_000, ases: 2000, countries: {GB: 2}, sample: 3, transit: 2, peers: 30%, noise: 5%}
workload:
  - {id: mixed, from: phone.*, to: web.1, rate: 10, mix: {tcp: 0.9, dns: 0.1}, size: 20kB, holding: 3s, speed: 10Mbit, close: server}
  - id: people
    from: population
    to: internet
    rate: 0.1
    size: lognormal(median=20kB, sigma=2, most=1GB)
    holding: exponential(mean=20s)
    popularity: zipf(1.1, 500)
    retries: 3
    backoff: 2s
    diurnal: 60%
    peak: 21
    clock: 12.5
    crowds: [{at: 1m, for: 2m, times: 3, country: GB, to: 1}]
    for: 5m
faults: [{id: cut, at: 1s, do: cut, on: shop.1.lte, for: 3s}]
checks: [{id: back, eventually: ask.ok > 0, within: 2s, after: cut, level: warning}]
variants: {more: {set: {params.port: 54, shop.count: 2}}, same: }
`

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := load.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("scenario.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("scenario.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is a YAML file as an editor sees it through the schema: JSON.
func instance(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(stringKeys(v))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stringKeys makes mappings with numbers as keys what JSON can hold.
func stringKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := map[string]any{}
		for k, x := range v {
			name, _ := json.Marshal(k)
			out[strings.Trim(string(name), `"`)] = stringKeys(x)
		}
		return out
	case map[string]any:
		for k, x := range v {
			v[k] = stringKeys(x)
		}
	case []any:
		for i, x := range v {
			v[i] = stringKeys(x)
		}
	}
	return v
}

func TestSchemaAccepts(t *testing.T) {
	schema := compileSchema(t)
	texts := map[string]string{"every word": everyWord}
	shipped, err := topologies.List()
	if err != nil || len(shipped) == 0 {
		t.Fatalf("%d shipped, %v", len(shipped), err)
	}
	for _, s := range shipped {
		data, err := topologies.FS.ReadFile(s.File)
		if err != nil {
			t.Fatal(err)
		}
		texts[s.Name] = string(data)
	}
	for name, text := range texts {
		if _, err := load.Bytes(name, []byte(text)); err != nil {
			t.Errorf("%s: load: %v", name, err)
		}
		if err := schema.Validate(instance(t, text)); err != nil {
			t.Errorf("%s: schema: %v", name, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	for _, change := range [][2]string{
		{"sites:", "sties:"}, {"onramps:", "onramp:"}, {"udp: \"${port}\"", "upd: 53"}, {"type: gre,", "type: gree,"}, {"flow_key: tuple", "flow_key: tupel"},
		{"udp: 300s", "udp: 300"}, {"lan: 10.0.1.0/24", "lan: somewhere"}, {"rate: 500Mbit", "rate: 500MB"}, {"loss: 0.1%", "loss: much"},
		{"count: 2, serve", "count: two, serve"}, {"set: {params", "sett: {params"}, {"till: 10.0.1.5", "till: {addres: 10.0.1.5}"}, {"version: 1\n", ""},
	} {
		text := strings.Replace(everyWord, change[0], change[1], 1)
		if text == everyWord {
			t.Fatalf("%q is not in the file", change[0])
		}
		if err := schema.Validate(instance(t, text)); err == nil {
			t.Errorf("%s instead of %s is accepted", change[1], change[0])
		}
	}
}

// TestSchemaDescribes: every top-level word is explained, and so are the fields of sites.
func TestSchemaDescribes(t *testing.T) {
	text, err := load.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]struct {
				Description string `json:"description"`
			} `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for def, words := range map[string][]string{
		"Scenario": {"version", "name", "title", "seed", "datacenters", "sites", "traffic", "checks", "variants", "account"},
		"Site":     {"count", "near", "lan", "gateway", "hosts", "onramps"},
		"OnRamp":   {"arr", "mtu"},
	} {
		for _, w := range words {
			if schema.Defs[def].Properties[w].Description == "" {
				t.Errorf("%s.%s has no description", def, w)
			}
		}
	}
}
