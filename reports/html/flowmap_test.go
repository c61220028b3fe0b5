package html

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/reports/record"
)

// abroad is a run of a user in London and an origin in Tokyo, whose reply lands in
// Tokyo and belongs to a server in London.
func abroad(from ...string) *record.Records {
	edge := func(dc string, lat, lon float64) record.TopologyNode {
		return record.TopologyNode{ID: dc + ".edge", Kind: "edge", Datacenter: dc, Lat: lat, Lon: lon}
	}
	return &record.Records{
		Run: record.Run{
			Variant: "base", Engine: "sim",
			Blocks: map[string]record.Block{"198.51.100.0": {Prefix: "198.51.100.0/24", From: from}},
			Topology: record.Topology{Nodes: []record.TopologyNode{
				edge("lhr", 51.5, -0.4), edge("nrt", 35.8, 140.4),
				{ID: "shop.1.till", Kind: "host", Site: "shop.1", Datacenter: "lhr", Lat: 53.4, Lon: -2.2},
				{ID: "web", Kind: "origin", Datacenter: "nrt", Lat: 35.8, Lon: 140.4},
			}},
			Metrics: record.Metrics{
				Backbone: []record.Backbone{{From: "lhr", To: "nrt"}, {From: "nrt", To: "lhr", Packets: 3, Bytes: 300}},
				Servers:  map[string]map[string]int64{"lhr.1": {"packets": 8, "handed_over": 0}, "nrt.1": {"packets": 2, "handed_over": 2}},
			},
		},
		Flows: []record.Flow{
			{Client: "shop.1.till", Server: "web", IngressDC: "lhr", EgressDC: "lhr", EgressIP: "198.51.100.0", Result: record.OK, RTTNs: 5, StartNs: 1, EndNs: 9},
			{Client: "shop.1.till", Server: "web", IngressDC: "lhr", EgressDC: "lhr", EgressIP: "198.51.100.0", Result: record.Lost, RTTNs: 7, StartNs: 1, EndNs: 9},
		},
		Events: []record.Event{{Kind: "lost", Node: "lhr.1", AtNs: 4}},
	}
}

// A reply that lands where its address is not, because everybody announces it, has
// a hop more than one whose address its own datacenter announces alone.
func TestAtlasMarksDetours(t *testing.T) {
	for _, c := range []struct {
		from   []string
		text   string
		detour bool
	}{
		{[]string{"lhr", "nrt"}, "shop → lhr → web → nrt ⇢ lhr → shop", true},
		{[]string{"lhr"}, "shop → lhr → web → lhr → shop", false},
	} {
		a, err := newAtlas(abroad(c.from...))
		if err != nil || a == nil || len(a.Story) != 1 {
			t.Fatalf("%v: %+v, want one way", err, a)
		}
		if got := a.Story[0]; got.Text != c.text || got.Flows != 2 || got.Detour != c.detour {
			t.Errorf("announced from %v: %+v, want %s", c.from, got, c.text)
		}
		svg, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(a.Image), "data:image/svg+xml;base64,"))
		if err != nil || strings.Contains(string(svg), "stroke-dasharray") != c.detour {
			t.Errorf("announced from %v: %v, want dashes only for a detour", c.from, err)
		}
	}
}

func TestCosts(t *testing.T) {
	all := costs([]*record.Records{abroad("lhr", "nrt"), abroad("lhr")})
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	c := all[0]
	if c.Used != 1 || c.Announced != 256 || c.Forwarded() != "20.0 %" || c.Away() != "0.0 %" || c.Bytes != 300 || len(c.Pairs) != 1 || c.RTTNs != 5 || c.ExtraNs != 0 {
		t.Errorf("%+v", c)
	}
	if c.Died != "lhr.1" || c.Open != 2 || c.Broken != 1 || strings.Join(c.Reach, " ") != "lhr" {
		t.Errorf("the death of a server: %+v", c)
	}
}
