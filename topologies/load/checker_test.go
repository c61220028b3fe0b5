package load_test

import (
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/load"
	"github.com/homeward-lab/homeward/topologies/spec"
)

// What a Checker finds stands among the file's other mistakes, once, and where
// it belongs; variants that change what it looks at are looked at too.
func TestCheckerFindsWithTheRest(t *testing.T) {
	tooMany := func(s *spec.Scenario, variants []string) []load.Finding {
		if len(variants) != 5 || variants[0] != spec.Base {
			t.Errorf("variants %v, want base and four others", variants)
		}
		if s.Traffic[0].Flows > 2 {
			return []load.Finding{{Path: "traffic.same.flows", Msg: "more than two"}}
		}
		return []load.Finding{{Path: "checks[0].expect", Msg: "not to my taste"}}
	}
	text := strings.Replace(small, "arr: true}", "arr: true, mtu: 1}", 1)
	_, err := load.Bytes("small.yaml", []byte(text), load.WithChecker(tooMany))
	if err == nil {
		t.Fatal("no mistake found")
	}
	got := err.Error()
	for _, want := range []string{"small.yaml:13:52: mtu 1,", "small.yaml:19:24: not to my taste", ": in variant nearer: more than two"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("want %q once in\n%s", want, got)
		}
	}
}

// Where traffic is missing because it could not be read, expressions that
// speak of it are not mistakes of their own.
func TestCheckerWaitsForTraffic(t *testing.T) {
	asked := false
	text := strings.Replace(small, "{id: same,", "{idd: same,", 1)
	_, err := load.Bytes("small.yaml", []byte(text), load.WithChecker(func(*spec.Scenario, []string) []load.Finding {
		asked = true
		return nil
	}))
	if err == nil || asked {
		t.Errorf("got %v, asked %v; want a mistake, and no question", err, asked)
	}
}
