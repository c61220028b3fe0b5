package load

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homeward-lab/homeward/topologies/spec"
)

func TestImpairmentWords(t *testing.T) {
	im, given, err := ImpairmentWords("impair", []string{"delay=20ms", "loss=1%", "rate=0"})
	if got := fmt.Sprint(im.Words(), given, err); got != "[delay=20ms loss=1%] [delay loss rate] <nil>" {
		t.Errorf("got %s", got)
	}
	for args, want := range map[string]string{
		"delay=20mss":               `impair:1:7: "20mss": want a duration|` + "\n    delay=20mss\n          ^",
		"loss=1% dealy=3ms":         `impair:1:9: unknown word "dealy"|did you mean "delay"?`,
		"loss":                      "impair:1:1: want WORD=VALUE such as delay=20ms",
		"loss=1% delay=":            "impair:1:15: delay without a value",
		"loss=1% loss=2%":           `impair:1:9: "loss" is given twice`,
		"delay=11m":                 "impair:1:7: 11m0s, want at most 10m0s",
		"loss=1% reorder_gap=0":     "impair:1:21: every 0-th packet, want 1 or more",
		"jitter_distribution=gauss": "impair:1:21: want one of",
		"rate={a:1}":                "impair:1:6: want a plain value, not a mapping",
	} {
		_, _, err := ImpairmentWords("impair", strings.Fields(args))
		if err == nil {
			t.Errorf("%s: no error", args)
			continue
		}
		for part := range strings.SplitSeq(want, "|") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %s", args, err, part)
			}
		}
	}
}

func TestFaultWords(t *testing.T) {
	f, err := FaultWords("break", []string{"do=cut", "on=shop.1.wan", "for=3s", "pick=2"}, nil)
	if got := fmt.Sprint(f.Do, " ", f.On, " ", f.For, " ", f.Pick, err); got != "cut shop.1.wan 3s 2 <nil>" {
		t.Errorf("got %s", got)
	}
	if f, err := FaultWords("break", []string{"do=degrade", "on=shop.1.wan"}, &spec.Impairment{Loss: 1}); err != nil || f.Impairment.Loss != 1 {
		t.Errorf("degrade: %+v, %v", f, err)
	}
	for args, want := range map[string]string{
		"do=cutt on=x":                     `break:1:4: want one of cut,|did you mean "cut"?|    do=cutt on=x`,
		"do=blackhole on=x":                "break:1:1: blackhole without direction, want direction: up or down",
		"do=degrade on=x":                  "break:1:1: degrade without impairment",
		"do=cut on=x every=3s":             "break:1:19: every belongs to do: flap",
		"do=mtu on=x mtu=12":               "break:1:17: mtu 12, want ",
		"do=withdraw on=lhr address=there": `break:1:28: address "there", want one such as 198.51.100.1, or tunnel`,
		"do=cut on=x pick=-1":              "break:1:18: pick -1, want 1 or more",
		"do=cut on=x for=soon":             `break:1:17: "soon": want a duration`,
	} {
		_, err := FaultWords("break", strings.Fields(args), nil)
		for part := range strings.SplitSeq(want, "|") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %s", args, err, part)
			}
		}
	}
}
