package check

import "testing"

// TestGuide: each measure is told once, those of a traffic as those of all, and
// names that differ in their last word are one.
func TestGuide(t *testing.T) {
	e := env()
	e.Datacenters = []string{"lhr"}
	e.Countries = []string{"aa", "bb", "cc", "dd", "ee", "ff"}
	got := map[string]Measure{}
	for _, m := range Guide(e) {
		if _, twice := got[m.Name]; twice {
			t.Errorf("%s is told twice", m.Name)
		}
		got[m.Name] = m
	}
	for name, want := range map[string]Measure{
		"all.ok":                            {"all.ok", "int", "whose client got the whole of its own answer"},
		"all.from.lhr":                      {"all.from.lhr", "int", "left from this datacenter"},
		"all.as.{aa,bb,cc,dd,ee,…}":         {"all.as.{aa,bb,cc,dd,ee,…}", "int", "left by an address of this country"},
		"all.rtt_ms.{max,mean,p50,p90,p99}": {"all.rtt_ms.{max,mean,p50,p90,p99}", "float", "round trip, in ms"},
		"drops.no_flow":                     {"drops.no_flow", "int", "a reply that nobody asked for"},
		"all.consistent":                    {"all.consistent", "bool", "no flow's replies were seen on two nodes"},
	} {
		if got[name] != want {
			t.Errorf("%s: got %+v, want %+v", name, got[name], want)
		}
	}
	if _, ok := got["same.ok"]; ok {
		t.Error("measures of one traffic are told")
	}
}
