package pump_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/homeward-lab/homeward/dataplane/unit"
	"github.com/homeward-lab/homeward/topologies/spec"
)

const ms = unit.Duration(time.Millisecond)

func fixed(d unit.Duration) spec.Impairment { return spec.Impairment{Delay: spec.Delay{Fixed: d}} }

var rtt = regexp.MustCompile(`min/avg/max/mdev = ([\d.]+)/([\d.]+)/`)

// rtts are ping's least and mean time, ms.
func rtts(t *testing.T, out string) (least, mean float64) {
	t.Helper()
	m := rtt.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no times in\n%s", out)
	}
	least, _ = strconv.ParseFloat(m[1], 64)
	mean, _ = strconv.ParseFloat(m[2], 64)
	return least, mean
}

// A ping over 20 ms each way takes 40 ms, and not a bit less.
func TestLiveDelay(t *testing.T) {
	l := up(t, twoHosts(fixed(20*ms)))
	out := l.run(t, "left", "ping", "-n", "-q", "-c", "50", "-i", "0.02", right)
	least, mean := rtts(t, out)
	if least < 40 || mean > 42 {
		t.Errorf("at least %v ms, %v on the mean, want 40 to 42\n%s", least, mean, out)
	}
	counts, err := l.pump.Counts()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		t.Logf("%+v", c)
	}
	time.Sleep(20 * time.Millisecond)
	for _, m := range l.meter.Measured() {
		t.Logf("%+v", m)
	}
}
