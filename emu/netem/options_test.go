package netem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/homeward-lab/homeward/dataplane/impair"
	"github.com/homeward-lab/homeward/dataplane/unit"
)

// What a file says becomes these numbers, and nothing else.
func TestTranslate(t *testing.T) {
	const all = math.MaxUint32
	for _, tt := range []struct {
		name string
		c    impair.Config
		want Options
	}{
		{"nothing", impair.Config{}, Options{}},
		{"delay", impair.Config{Delay: 50 * time.Millisecond}, Options{Latency: 50 * time.Millisecond}},
		{"delay below a microsecond", impair.Config{Delay: 1500 * time.Nanosecond}, Options{Latency: 1500}},
		{"loss", impair.Config{Loss: 0.25}, Options{Loss: 1 << 30}},
		{"all lost", impair.Config{Loss: 1}, Options{Loss: all}},
		{"all lost in bursts", impair.Config{Loss: 1, LossBurst: 5}, Options{Loss: all}},
		// A tenth of all packets, four in a row: of 36 that pass one is before a burst.
		{"bursts", impair.Config{Loss: 0.1, LossBurst: 4}, Options{Burst: Burst{Begins: all / 36, Ends: 1 << 30}}},
		{"duplicates", impair.Config{Duplicate: 0.5}, Options{Duplicate: 1 << 31}},
		{"damage", impair.Config{Corrupt: 0.5}, Options{Corrupt: 1 << 31}},
		{"reorder", impair.Config{Delay: 10 * time.Millisecond, Reorder: 0.25}, Options{Latency: 10 * time.Millisecond, Reorder: 1 << 30, Gap: 1}},
		{"every fifth overtakes", impair.Config{Delay: 10 * time.Millisecond, Reorder: 1, ReorderGap: 5}, Options{Latency: 10 * time.Millisecond, Reorder: all, Gap: 5}},
		// 100 ms of 12 Mbit/s are 100 full packets; 50 ms under way are 50 more.
		{"rate", impair.Config{Rate: 12 * unit.Mbit, Delay: 50 * time.Millisecond}, Options{Latency: 50 * time.Millisecond, Rate: 1_500_000, Overhead: -14, Limit: 150}},
		{"rate and queue", impair.Config{Rate: 12 * unit.Mbit, Queue: 3001}, Options{Rate: 1_500_000, Overhead: -14, Limit: 3}},
		{"fast", impair.Config{Rate: 40 * unit.Gbit, Queue: 15000}, Options{Rate: 5_000_000_000, Overhead: -14, Limit: 10}},
	} {
		want := tt.want
		want.Seed = 7
		if want.Limit == 0 {
			want.Limit = unlimitedQueue
		}
		got, err := Translate(tt.c, 7)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Jitter is a table of the file's own distribution, and packets stay in order.
func TestTranslateJitter(t *testing.T) {
	for _, tt := range []struct {
		d               impair.Distribution
		least, quarter  int16
		deviation, most float64
	}{
		{"", -8190, -4095, 1 / math.Sqrt(3), 8190},
		{impair.Uniform, -8190, -4095, 1 / math.Sqrt(3), 8190},
		{impair.Normal, -30051, -5522, 1, 30051}, // the quantiles of 1/8192 and 1/4
	} {
		o, err := Translate(impair.Config{Delay: time.Second, Jitter: time.Millisecond, Distribution: tt.d}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if o.Jitter != time.Millisecond || o.Rate != orderly || o.Overhead != 0 || len(o.Table) != tableSize {
			t.Errorf("%q: jitter %v, rate %d with %d, table of %d", tt.d, o.Jitter, o.Rate, o.Overhead, len(o.Table))
		}
		var sum, squares float64
		for i, v := range o.Table {
			x := float64(v) / tableScale
			sum, squares = sum+x, squares+x*x
			if i > 0 && v < o.Table[i-1] {
				t.Fatalf("%q: quantile %d is less than the one before", tt.d, i)
			}
		}
		if near := func(a, b int16, by float64) bool { return math.Abs(float64(a)-float64(b)) <= by }; !near(o.Table[0], tt.least, 10) ||
			!near(o.Table[tableSize/4], tt.quarter, 4) || !near(o.Table[tableSize-1], int16(tt.most), 10) {
			t.Errorf("%q: from %d over %d to %d, want %d, %d, %v", tt.d, o.Table[0], o.Table[tableSize/4], o.Table[tableSize-1], tt.least, tt.quarter, tt.most)
		}
		if mean, deviation := sum/tableSize, math.Sqrt(squares/tableSize); math.Abs(mean) > 1e-4 || math.Abs(deviation-tt.deviation) > 2e-3 {
			t.Errorf("%q: mean %v, deviation %v of the jitter, want 0 and %v", tt.d, mean, deviation, tt.deviation)
		}
	}
}

// What netem would do otherwise is refused by its name in the file.
func TestRefused(t *testing.T) {
	trace, err := impair.ReadTrace(strings.NewReader("1\n2\n"))
	if err != nil {
		t.Fatal(err)
	}
	jitter := impair.Config{Delay: time.Second, Jitter: time.Millisecond}
	with := func(change func(c *impair.Config)) impair.Config {
		c := jitter
		change(&c)
		return c
	}
	for want, c := range map[string]impair.Config{
		"trace":                      {Trace: trace},
		"jitter_distribution pareto": with(func(c *impair.Config) { c.Distribution = impair.Pareto }),
		"jitter_correlation":         with(func(c *impair.Config) { c.Correlation = 0.5 }),
		"jitter with rate":           with(func(c *impair.Config) { c.Rate = unit.Mbit }),
		"reorder with rate":          {Delay: time.Second, Reorder: 0.5, Rate: unit.Mbit},
		"reorder_gap":                {Delay: time.Second, Reorder: 0.5, ReorderGap: 3},
		"duplicate with loss":        {Duplicate: 0.5, Loss: 0.5},
		"ce_threshold":               {Rate: unit.Mbit, CEThreshold: time.Millisecond},
	} {
		_, err := Translate(c, 0)
		if refused, ok := errors.AsType[*RefusedError](err); !ok || len(refused.Why) != 1 || !strings.HasPrefix(refused.Why[0], want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := Translate(impair.Config{Loss: 2}, 0); !errors.Is(err, impair.ErrConfig) {
		t.Errorf("a loss of 200%%: %v", err)
	}
	if err := Refused(jitter); err != nil {
		t.Errorf("plain jitter: %v", err)
	}
}

// The bytes are those of linux/pkt_sched.h, as tc(8) sends them.
func TestAttribute(t *testing.T) {
	o := Options{
		Limit: 1000, Latency: time.Millisecond, Jitter: 2, Table: []int16{-1, 2}, Loss: 1, Duplicate: 2, Corrupt: 3, Reorder: 4,
		Burst: Burst{5, 6}, Gap: 7, Rate: 1 << 32, Overhead: -14, Seed: 9,
	}
	var want []byte
	for _, part := range []any{
		[]uint16{168, 2},
		[]uint32{0, 1000, 1, 7, 2, 0},      // struct tc_netem_qopt
		[]uint16{16, 1}, []uint32{0, 0, 0}, // correlations
		[]uint16{12, 3}, []uint32{4, 0}, // reorder
		[]uint16{12, 4}, []uint32{3, 0}, // corrupt
		[]uint16{24, 5, 20, 2}, []uint32{5, 6, 0, 0}, // loss: Gilbert-Elliott
		[]uint16{20, 6}, []int32{-1, -14, 0, 0}, // rate, as far as 32 bits hold it
		[]uint16{12, 8}, uint64(1 << 32), // rate
		[]uint16{12, 10}, int64(time.Millisecond), // latency
		[]uint16{12, 11}, int64(2), // jitter
		[]uint16{12, 14}, uint64(9), // seed
		[]uint16{8, 2}, []int16{-1, 2}, // distribution
	} {
		var err error
		if want, err = binary.Append(want, binary.NativeEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.attribute().Serialize(); !bytes.Equal(got, want) {
		t.Errorf("attribute is\n%x, want\n%x", got, want)
	}
}
